import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense, useMemo } from 'react'
import { calls } from '../../api/calls'
import type { Integration } from '../../api/types'
import { Card } from '../../ui/Page'

const Chart = lazy(() => import('../../ui/Chart'))
const LINE = [{ name: 'Delivered' }]

/** What the hub accepted, minute by minute. The present minute still grows; it is asked for when it is over, too. */
export function RateChart({ it }: { it: Integration }) {
  const asked = useQuery({ queryKey: ['delivered', it.id], queryFn: () => calls.delivered(it.id), refetchInterval: 60_000 })
  const minutes = asked.data?.items
  const data = useMemo<[number[], number[]]>(() => [(minutes ?? []).map((one) => new Date(one.at).getTime()), (minutes ?? []).map((one) => one.delivered)], [minutes])
  if (!minutes || minutes.length === 0) return null
  return (
    <Card title="Delivered per minute" side={<span className="dim small">the last hour{minutes.length < 61 ? ', since the start' : ''}</span>}>
      <Suspense fallback={<div style={{ height: 180 }} />}><Chart label="Delivered per minute" lines={LINE} data={data} kind="bar" height={150} zero /></Suspense>
    </Card>
  )
}
