import { Button, SegmentedControl, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { lazy, Suspense, useMemo, useState } from 'react'
import { Link, useSearchParams } from 'wouter'
import { calls } from '../../api/calls'
import { useRefetch } from '../../api/changes'
import type { Device, Point, Series } from '../../api/types'
import { count, value } from '../../lib/format'
import { Ago } from '../../ui/Ago'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { ProblemNote } from '../../ui/Note'
import { Card, Empty, RoleButton } from '../../ui/Page'
import { SignalTable } from '../../ui/SignalTable'
import { State } from '../../ui/State'
import { Waiting } from '../../ui/Waiting'

const Chart = lazy(() => import('../../ui/Chart'))
const spans = [{ value: '1', label: '1 h' }, { value: '24', label: '24 h' }, { value: '168', label: '7 days' }, { value: '720', label: '30 days' }]
/** One look asks the server for at most this many pieces of history. */
const PIECES = 20

/** What the device sends, signal by signal: define a name and a unit, look at its history. */
export default function DeviceSignals({ device }: { device: Device }) {
  const series = useQuery({ queryKey: ['series', device.id], queryFn: () => calls.series(device.id) })
  useRefetch({ device: device.id, types: 'signal' }, ['series', device.id])
  const [search, setSearch] = useSearchParams()
  const [defining, define] = useState<Series>()
  if (series.isPending) return <Waiting />
  if (!series.data) return <ProblemNote error={series.error} />
  const items = series.data.items
  const chosen = items.find((one) => one.key === search.get('signal')) ?? items[0]
  if (!chosen) return <Card title="Signals"><Empty action={<Button component={Link} href={`/devices/${device.id}/live`} variant="default">How to send one</Button>}>Nothing came from {device.name} yet.</Empty></Card>
  return (
    <>
      <Card title="Signals">
        <div className="table-scroll">
          <table className="plain">
            <thead><tr><th>Signal</th><th>Name</th><th>Last value</th><th>When</th><th className="num">Count</th><th><span className="hidden-label">Define</span></th></tr></thead>
            <tbody>
              {items.map((one) => (
                <tr key={one.key} className={one.key === chosen.key ? 'chosen' : undefined}>
                  <td><button type="button" className="link-button mono" aria-pressed={one.key === chosen.key} onClick={() => setSearch({ signal: one.key }, { replace: true })}>{one.key}</button></td>
                  <td>{one.defined ? one.name : <State tone="grey" dashed>Undefined</State>}</td>
                  <td><span className="mono" title={one.last ? String(one.last.value) : undefined}>{one.last ? value(one.last.value) : '–'}</span> {one.unit}</td>
                  <td><Ago at={one.last?.at} /></td>
                  <td className="num">{count(one.count)}</td>
                  <td className="num"><RoleButton role="operator" size="xs" variant="default" onClick={() => define(one)}>{one.defined ? 'Change' : 'Define'}</RoleButton></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Card>
      <History key={chosen.key} device={device} series={chosen} />
      <Dialog open={defining !== undefined} onClose={() => define(undefined)} title={`Define signal ${defining?.key ?? ''}`}>
        {defining && <Define device={device} series={defining} onDone={() => define(undefined)} />}
      </Dialog>
    </>
  )
}

function Define({ device, series, onDone }: { device: Device; series: Series; onDone: () => void }) {
  const [name, setName] = useState(series.name ?? '')
  const [unit, setUnit] = useState(series.unit ?? '')
  const queries = useQueryClient()
  const done = () => {
    void queries.invalidateQueries({ queryKey: ['series', device.id] })
    onDone()
  }
  const keep = useMutation({ mutationFn: () => calls.defineSeries(device.id, series.key, { name: name.trim(), ...(unit.trim() ? { unit: unit.trim() } : {}) }), onSuccess: done })
  const drop = useMutation({ mutationFn: () => calls.undefineSeries(device.id, series.key), onSuccess: done })
  return (
    <form className="stack" onSubmit={(e) => { e.preventDefault(); if (name.trim()) keep.mutate() }}>
      <TextInput label="Name" description="Such as Temperature. It is shown in this console only." value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
      <TextInput label="Unit" description="Such as °C; may stay empty." value={unit} onChange={(e) => setUnit(e.currentTarget.value)} />
      <ProblemNote error={keep.error ?? drop.error} />
      <DialogFoot>
        {series.defined && <Button variant="default" loading={drop.isPending} onClick={() => drop.mutate()}>Make it undefined</Button>}
        <Button type="submit" loading={keep.isPending}>Save</Button>
      </DialogFoot>
    </form>
  )
}

function History({ device, series }: { device: Device; series: Series }) {
  const [span, setSpan] = useState('24')
  const [kind, setKind] = useState<'line' | 'bar' | 'value'>('line')
  const points = useQuery({ queryKey: ['points', device.id, series.key, span, series.last?.offset], queryFn: () => history(device.id, series.key, Number(span)), placeholderData: (before) => before })
  const rows = useQuery({ queryKey: ['signals', device.id, series.key, series.last?.offset], queryFn: () => calls.deviceSignals(device.id, { signal: series.key, limit: 20 }), placeholderData: (before) => before })
  const data = useMemo(() => withGaps(points.data ?? []), [points.data])
  const name = series.name ?? (series.number === null ? series.key : `Signal ${series.key}`)
  const line = useMemo(() => [{ name, unit: series.unit }], [name, series.unit])
  const [chosen, choose] = useState<number>()
  return (
    <Card title={name} side={
      <>
        <SegmentedControl size="xs" aria-label="Show as" value={kind} onChange={(v) => setKind(v as typeof kind)} data={[{ value: 'line', label: 'Line' }, { value: 'bar', label: 'Bars' }, { value: 'value', label: 'Last value' }]} />
        {kind !== 'value' && <SegmentedControl size="xs" aria-label="Time" value={span} onChange={setSpan} data={spans} />}
      </>}>
      <div className="stack">
        <ProblemNote error={points.error} />
        {kind === 'value' ? <LastValue series={series} /> : !series.numeric ? <p className="dim">It sends no numbers; the table has what it sent.</p>
          : <Suspense fallback={<div style={{ height: 240 }} />}><Chart label={name} lines={line} data={data} kind={kind} height={220} /></Suspense>}
        {rows.data && <SignalTable label={`Last signals of ${name}`} withDate signals={rows.data.items} chosen={chosen} onChoose={(one) => choose(one.offset)} names={new Map([[series.key, name]])} />}
        {chosen !== undefined && <Link href={`/deliveries/${device.id}/${chosen}`}>Open its trace</Link>}
      </div>
    </Card>
  )
}

function LastValue({ series }: { series: Series }) {
  return (
    <div>
      <div style={{ fontSize: 44, fontWeight: 650, lineHeight: 1.2 }}>{series.last ? value(series.last.value) : '–'} <span className="dim" style={{ fontSize: 22 }}>{series.unit}</span></div>
      <div className="dim"><Ago at={series.last?.at} /></div>
    </div>
  )
}

/** The points of the last hours; the server looks at a bounded piece each time and says where to go on. */
async function history(device: string, key: string, hours: number): Promise<Point[]> {
  const to = new Date()
  const from = new Date(to.getTime() - hours * 3_600_000)
  const all: Point[] = []
  let before: number | undefined
  for (let piece = 0; piece < PIECES; piece += 1) {
    const part = await calls.points(device, key, { from: from.toISOString(), to: to.toISOString(), points: 600, ...(before === undefined ? {} : { before }) })
    all.unshift(...part.points)
    if (part.next === null) break
    before = part.next
  }
  return all
}

/** A pause of more than five usual steps stays a gap in the line. */
function withGaps(points: Point[]): [number[], (number | null)[]] {
  const steps = points.slice(1).map((point, n) => Date.parse(point.at) - Date.parse(points[n]!.at)).sort((a, b) => a - b)
  const usual = steps[Math.floor(steps.length / 2)] ?? 0
  const times: number[] = []
  const values: (number | null)[] = []
  for (const point of points) {
    const at = Date.parse(point.at)
    const before = times.at(-1)
    if (before !== undefined && steps.length > 5 && at - before > 5 * usual + 1000) {
      times.push(before + 1)
      values.push(null)
    }
    times.push(at)
    values.push(point.value)
  }
  return [times, values]
}
