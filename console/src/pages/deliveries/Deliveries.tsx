import { Button, Select, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { useLocation, useSearchParams } from 'wouter'
import { calls, type SignalFilter } from '../../api/calls'
import { IconRefresh } from '../../ui/icons'
import { ProblemNote } from '../../ui/Note'
import { Card, Empty, Page } from '../../ui/Page'
import { SignalTable } from '../../ui/SignalTable'
import { Waiting } from '../../ui/Waiting'

const times = [{ value: '1', label: 'Last hour' }, { value: '24', label: 'Last 24 hours' }, { value: '168', label: 'Last 7 days' }]
const names = ['device', 'integration', 'state', 'hours'] as const

/** Signals of the past and what became of each, newest first. */
export default function Deliveries() {
  const [search, setSearch] = useSearchParams()
  const [, go] = useLocation()
  const [device, setDevice] = useState(search.get('device') ?? '')
  const [asked] = useDebouncedValue(device.trim(), 300)
  const integrations = useQuery({ queryKey: ['integrations', 'names'], queryFn: () => calls.integrations({ limit: 100 }) })
  const set = (name: string, value: string | null) => setSearch((before) => {
    const after = new URLSearchParams(before)
    if (value) after.set(name, value)
    else after.delete(name)
    return after
  }, { replace: true })
  useEffect(() => { if (asked !== (search.get('device') ?? '')) set('device', asked) })
  const chosen = Object.fromEntries(names.map((name) => [name, search.get(name) ?? undefined]))
  const list = useInfiniteQuery({
    queryKey: ['deliveries', chosen],
    queryFn: ({ pageParam }) => {
      const filter: SignalFilter = { limit: 50 }
      if (chosen.device) filter.device = chosen.device
      if (chosen.integration) filter.integration = chosen.integration
      if (chosen.state) filter.state = chosen.state
      if (chosen.hours) filter.since = new Date(Date.now() - Number(chosen.hours) * 3_600_000).toISOString()
      if (pageParam) filter.before = Number(pageParam)
      return calls.signals(filter)
    },
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
    retry: false,
  })
  const rows = list.data?.pages.flatMap((page) => page.items) ?? []
  const filtered = names.some((name) => chosen[name])
  return (
    <Page title="Deliveries" sub="What came, and what became of it" actions={<Button variant="default" leftSection={<IconRefresh size={16} aria-hidden />} loading={list.isRefetching} onClick={() => void list.refetch()}>Refresh</Button>}>
      <div className="row" role="search">
        <TextInput aria-label="Device" placeholder="Device, name or id" value={device} onChange={(e) => setDevice(e.currentTarget.value)} w={200} />
        <Select aria-label="Integration" placeholder="Any integration" clearable value={chosen.integration ?? null} onChange={(v) => set('integration', v)} data={integrations.data?.items.map((one) => one.name) ?? []} w={180} />
        <Select aria-label="State" placeholder="Any state" clearable value={chosen.state ?? null} onChange={(v) => set('state', v)} data={[{ value: 'accepted', label: 'Accepted' }, { value: 'waiting', label: 'Waiting' }, { value: 'dead_letter', label: 'Dead letter' }]} w={150} />
        <Select aria-label="Time" placeholder="Any time" clearable value={chosen.hours ?? null} onChange={(v) => set('hours', v)} data={times} w={160} />
      </div>
      <ProblemNote error={list.error} />
      {list.isPending ? <Waiting /> : list.data && (
        <Card>
          {rows.length === 0 && !list.hasNextPage
            ? <Empty action={filtered && <Button variant="default" onClick={() => { setDevice(''); setSearch({}) }}>Clear filters</Button>}>{filtered ? 'Nothing matches. Widen the time or clear filters.' : 'No signal came yet.'}</Empty>
            : <SignalTable label="Signals and their deliveries" withDevice withDate signals={rows} onChoose={(one) => go(`/deliveries/${one.device_id}/${one.offset}`)} />}
          {list.hasNextPage && <Button mt={12} variant="default" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>{rows.length === 0 ? 'Nothing yet; search further back' : 'Older'}</Button>}
        </Card>
      )}
    </Page>
  )
}
