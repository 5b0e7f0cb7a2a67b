import { Button, Select, TextInput } from '@mantine/core'
import { useDebouncedValue, useMediaQuery } from '@mantine/hooks'
import { useInfiniteQuery, useMutation, useQuery } from '@tanstack/react-query'
import { useEffect, useMemo, useState } from 'react'
import { Link, useSearchParams } from 'wouter'
import { calls, type DeviceFilter } from '../../api/calls'
import { may, useRole } from '../../api/session'
import type { DeviceRow } from '../../api/types'
import { count, dateTime, plural, since } from '../../lib/format'
import { deviceState } from '../../lib/states'
import { IconPlus, IconSearch, IconUpload } from '../../ui/icons'
import { ProblemNote } from '../../ui/Note'
import { Empty, Page } from '../../ui/Page'
import { StateOf } from '../../ui/State'
import { type Column, VirtualTable } from '../../ui/VirtualTable'
import type { ChosenDevices } from './choice'
import { ChosenBar } from './Chosen'

const facts: Column<DeviceRow>[] = [
  { key: 'name', title: 'Name', width: 'minmax(160px, 2fr)', sort: 'name', cell: (d) => <Link href={`/devices/${d.id}/live`}>{d.name}</Link> },
  { key: 'kind', title: 'Kind', width: '84px', cell: (d) => <span className="dim">{d.kind === 'pycom' ? 'Pycom' : 'MQTT'}</span> },
  { key: 'state', title: 'State', width: '130px', cell: (d) => <StateOf shown={deviceState(d)} /> },
  { key: 'seen', title: 'Last seen', width: '130px', sort: 'last_seen', cell: (d) => d.last_seen ? <time dateTime={d.last_seen} title={dateTime(d.last_seen)}>{since(d.last_seen)}</time> : <span className="dim">–</span> },
  { key: 'rate', title: 'Signals/h', width: '90px', sort: 'signals_last_hour', right: true, cell: (d) => count(d.signals_last_hour) },
  { key: 'waiting', title: 'Waiting', width: '80px', sort: 'waiting', right: true, cell: (d) => count(d.waiting) },
  { key: 'in', title: 'Integrations', width: 'minmax(120px, 1.4fr)', cell: (d) => <span className="dim">{d.integration_names.join(', ') || '–'}</span> },
]

/** All devices; filters stand in the address, so that a list can be kept and sent. */
export default function Devices() {
  const [search, setSearch] = useSearchParams()
  const [words, setWords] = useState(search.get('q') ?? '')
  const [q] = useDebouncedValue(words, 200)
  const operator = may(useRole(), 'operator')
  const set = (name: string, value: string | null) => setSearch((before) => {
    const after = new URLSearchParams(before)
    if (value) after.set(name, value)
    else after.delete(name)
    return after
  }, { replace: true })
  useEffect(() => { if (q !== (search.get('q') ?? '')) set('q', q) })

  const filter: DeviceFilter = Object.fromEntries(['q', 'state', 'kind', 'integration', 'sort', 'order'].map((name) => [name, search.get(name) ?? undefined]))
  const list = useInfiniteQuery({
    queryKey: ['devices', filter],
    queryFn: ({ pageParam }) => calls.devices({ ...filter, limit: 200, ...(pageParam ? { cursor: pageParam } : {}) }),
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
    placeholderData: (before) => before,
  })
  const integrations = useQuery({ queryKey: ['integrations', 'names'], queryFn: () => calls.integrations({ limit: 100 }) })
  const rows = list.data?.pages.flatMap((page) => page.items) ?? []
  const total = list.data?.pages[0]?.total ?? rows.length
  const filtered = Boolean(filter.q || filter.state || filter.kind || filter.integration)
  const [chosen, choose] = useState<ChosenDevices>(new Map())
  const all = useMutation({ mutationFn: () => everyFound(filter), onSuccess: choose })
  const narrow = useMediaQuery('(max-width: 600px)')
  const columns = useMemo<Column<DeviceRow>[]>(() => {
    const toggle = (d: DeviceRow) => choose((before) => {
      const after = new Map(before)
      if (!after.delete(d.id)) after.set(d.id, d.name)
      return after
    })
    const pick: Column<DeviceRow> = { key: 'pick', title: <span className="hidden-label">Choose</span>, width: '26px', cell: (d) => <label className="pick"><input type="checkbox" aria-label={`Choose ${d.name}`} checked={chosen.has(d.id)} onChange={() => toggle(d)} /></label> }
    // A phone shows the name and the state; the rest is a swipe away.
    const order = narrow ? [...facts.filter((one) => one.key !== 'kind'), ...facts.filter((one) => one.key === 'kind')] : facts
    return operator ? [pick, ...order] : order
  }, [chosen, operator, narrow])
  const sort = { by: filter.sort ?? 'name', descending: filter.order === 'desc' }
  return (
    <Page title="Devices" sub={list.data ? plural(total, filtered ? 'device found' : 'device', filtered ? 'devices found' : 'devices') : undefined} actions={
      <>
        <Button component={Link} href="/devices/import" variant="default" leftSection={<IconUpload size={16} aria-hidden />}>Import CSV</Button>
        <Button component={Link} href="/devices/new" leftSection={<IconPlus size={16} aria-hidden />}>Add device</Button>
      </>}>
      <div className="row" role="search">
        <TextInput aria-label="Search devices" placeholder="Name or id" leftSection={<IconSearch size={16} aria-hidden />} value={words} onChange={(e) => setWords(e.currentTarget.value)} style={{ flex: '1 1 220px', maxWidth: 360 }} />
        <Select aria-label="State" placeholder="Any state" clearable value={filter.state ?? null} onChange={(v) => set('state', v)} data={[{ value: 'connected', label: 'Connected' }, { value: 'late', label: 'Late' }, { value: 'idle', label: 'Idle' }, { value: 'never_seen', label: 'Never seen' }, { value: 'refused', label: 'Refused' }]} w={150} />
        <Select aria-label="Kind" placeholder="Any kind" clearable value={filter.kind ?? null} onChange={(v) => set('kind', v)} data={[{ value: 'mqtt', label: 'MQTT' }, { value: 'pycom', label: 'Pycom' }]} w={130} />
        <Select aria-label="Integration" placeholder="Any integration" clearable value={filter.integration ?? null} onChange={(v) => set('integration', v)} data={integrations.data?.items.map((one) => one.name) ?? []} w={180} />
      </div>
      <ProblemNote error={list.error ?? all.error} />
      <ChosenBar chosen={chosen} total={total} all={all.isPending} onAll={() => all.mutate()} onClear={() => choose(new Map())} />
      {list.data && rows.length === 0 ? (
        <div className="card">
          {filtered ? <Empty action={<Button variant="default" onClick={() => { setWords(''); setSearch({}) }}>Clear filters</Button>}>Nothing matches.</Empty>
            : <Empty action={operator && <Button component={Link} href="/devices/new">Add device</Button>}>{operator ? 'No devices yet. Add one, or import a CSV with your Pycom tokens.' : 'No devices yet. Ask an operator to add one.'}</Empty>}
        </div>
      ) : (
        <VirtualTable label="Devices" columns={columns} rows={rows} total={total} rowKey={(d) => d.id} sort={sort} minWidth={narrow ? 820 : 900}
          onSort={(by) => setSearch((before) => {
            const after = new URLSearchParams(before)
            after.set('order', sort.by === by && !sort.descending ? 'desc' : 'asc')
            after.set('sort', by)
            return after
          }, { replace: true })}
          onEnd={() => { if (list.hasNextPage && !list.isFetchingNextPage) void list.fetchNextPage() }} />
      )}
    </Page>
  )
}

async function everyFound(filter: DeviceFilter): Promise<ChosenDevices> {
  const found: ChosenDevices = new Map()
  let cursor: string | undefined
  do {
    const page = await calls.devices({ ...filter, limit: 1000, ...(cursor ? { cursor } : {}) })
    for (const one of page.items) found.set(one.id, one.name)
    cursor = page.next ?? undefined
  } while (cursor)
  return found
}
