import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense, useMemo } from 'react'
import { calls } from '../../api/calls'
import type { Integration } from '../../api/types'
import { Card } from '../../ui/Page'

const Chart = lazy(() => import('../../ui/Chart'))
const LINE = [{ name: 'Delivered' }]

/** What the hub accepted, minute by minute. Changes are told; the clock goes on without any, so each minute asks once. */
export function RateChart({ it }: { it: Integration }) {
  const asked = useQuery({ queryKey: ['delivered', it.id], queryFn: () => calls.delivered(it.id), refetchInterval: 60_000 })
  const minutes = asked.data?.items
  const data = useMemo(() => hour(minutes ?? []), [minutes])
  if (!minutes || minutes.length === 0) return null
  return (
    <Card title="Delivered per minute" side={<span className="dim small">{minutes.length < 61 ? 'since the start' : 'the last hour'}</span>}>
      <Suspense fallback={<div style={{ height: 180 }} />}><Chart label="Delivered per minute" lines={LINE} data={data} kind="bar" height={150} zero /></Suspense>
    </Card>
  )
}

/** Of a short time a quarter of an hour at least; minutes before the start are a gap, not zero. */
function hour(minutes: { at: string; delivered: number }[]): [number[], (number | null)[]] {
  const known = new Map(minutes.map((one) => [new Date(one.at).getTime(), one.delivered]))
  const last = Math.max(...known.keys())
  const many = Math.max(minutes.length, 16)
  const times = Array.from({ length: many }, (_, n) => last - (many - 1 - n) * 60_000)
  return [times, times.map((at) => known.get(at) ?? null)]
}
