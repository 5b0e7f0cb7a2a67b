import { Button, SegmentedControl } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useThrottledValue } from '@mantine/hooks'
import { lazy, Suspense, useMemo, useState } from 'react'
import { calls } from '../../api/calls'
import type { Device, Signal } from '../../api/types'
import { count } from '../../lib/format'
import { fromBase64, numberOf } from '../../lib/payload'
import { IconDownload, IconPlayerPause, IconPlayerPlay } from '../../ui/icons'
import { save } from '../../ui/Copy'
import { Ago } from '../../ui/Ago'
import { Card, Empty } from '../../ui/Page'
import { SignalTable } from '../../ui/SignalTable'
import { SnippetBox } from '../../ui/Snippets'
import { State } from '../../ui/State'
import { TraceCard } from '../../ui/TraceCard'
import { useSignals } from './useSignals'

const Chart = lazy(() => import('../../ui/Chart'))
/** Rows shown; the chart has more. */
const ROWS = 50

/** Chart, rows and trace of a device, moving as it publishes. */
export function DeviceLive({ device }: { device: Device }) {
  const [paused, setPaused] = useState(false)
  const [chosen, setChosen] = useState<number>()
  const { signals, heldBack, open } = useSignals({ device: device.id }, paused)
  const series = useQuery({ queryKey: ['series', device.id], queryFn: () => calls.series(device.id) })
  const names = useMemo(() => new Map((series.data?.items ?? []).filter((one) => one.name).map((one) => [one.key, one.name!])), [series.data])
  const units = useMemo(() => new Map((series.data?.items ?? []).map((one) => [one.key, one.unit])), [series.data])
  // Without a choice the trace follows the newest, but no faster than it can be read.
  const newest = useThrottledValue(signals.at(-1)?.offset, 2_000)
  const shown = signals.find((one) => one.offset === (chosen ?? newest))
  const offset = chosen ?? newest

  if (signals.length === 0) return <Silent device={device} open={open} />
  return (
    <div className="split">
      <div className="stack">
        <LiveChart signals={signals} names={names} units={units} side={
          <>
            {paused ? <State tone="grey">{heldBack > 0 ? `Paused, ${count(heldBack)} held back` : 'Paused'}</State> : open ? <State tone="blue">Live</State> : <State tone="amber">Connecting…</State>}
            <Button size="xs" variant="default" leftSection={paused ? <IconPlayerPlay size={14} aria-hidden /> : <IconPlayerPause size={14} aria-hidden />} onClick={() => setPaused(!paused)}>{paused ? 'Go on' : 'Pause'}</Button>
          </>} />
        <Card title="Signals as they come" side={<Button size="xs" variant="default" leftSection={<IconDownload size={14} aria-hidden />} onClick={() => save(`${device.name}.json`, JSON.stringify(signals, null, 2))}>Export</Button>}>
          <SignalTable label="Signals as they come" signals={signals.slice(-ROWS).reverse()} chosen={offset} names={names} onChoose={(one) => setChosen(one.offset === chosen ? undefined : one.offset)} flash />
        </Card>
      </div>
      {offset !== undefined && <section className="card" aria-label="Trace"><TraceCard device={device.id} offset={offset} deliveries={shown?.deliveries.map((one) => one.state).join() ?? ''} /></section>}
    </div>
  )
}

function LiveChart({ signals, names, units, side }: { signals: Signal[]; names: Map<string, string>; units: Map<string, string | null>; side: React.ReactNode }) {
  const numbers = useMemo(() => signals.map((signal) => ({ signal, value: numberOf(signal.value, fromBase64(signal.body_base64)) })), [signals])
  const keys = useMemo(() => [...new Set(numbers.filter((one) => one.value !== undefined && one.signal.key !== null).map((one) => one.signal.key!))], [numbers])
  const [wanted, want] = useState<string>()
  const key = wanted !== undefined && keys.includes(wanted) ? wanted : keys[0]
  const data = useMemo<[number[], (number | null)[]]>(() => {
    const mine = numbers.filter((one) => one.signal.key === key)
    return [mine.map((one) => new Date(one.signal.received_at).getTime()), mine.map((one) => one.value ?? null)]
  }, [numbers, key])
  const name = key === undefined ? 'Chart' : (names.get(key) ?? (/^\d+$/.test(key) ? `Signal ${key}` : key))
  const line = useMemo(() => [{ name, unit: key === undefined ? null : units.get(key) ?? null }], [name, key, units])
  if (key === undefined) return <Card title="Chart" side={side}><p className="dim">No numbers among the last signals; the table shows them as text and bytes.</p></Card>
  return (
    <Card title={name} side={side}>
      {keys.length > 1 && <div className="table-scroll"><SegmentedControl size="xs" aria-label="Signal in the chart" value={key} onChange={want} data={keys.slice(0, 12).map((one) => ({ value: one, label: names.get(one) ?? one }))} /></div>}
      <Suspense fallback={<div style={{ height: 220 }} />}><Chart label={name} lines={line} data={data} /></Suspense>
    </Card>
  )
}

/** Never an empty box: what is missing, and what to do. */
function Silent({ device, open }: { device: Device; open: boolean }) {
  const seen = device.connected || device.last_seen !== null
  return (
    <Card title={seen ? 'No signal yet' : `${device.name} has not connected yet`}>
      <div className="stack">
        {device.state === 'refused' && <State tone="red">Refused {count(device.refused_last_hour)} times in the last hour: wrong credential</State>}
        {seen ? <Empty>{device.connected ? 'Connected' : <>Seen <Ago at={device.last_seen} /></>}, nothing published yet. It may publish on <code>{device.topics[0] ?? `devices/${device.id}/signals/…`}</code>.</Empty> : null}
        <SnippetBox device={device} />
        <div role="status"><State tone={open ? 'blue' : 'amber'}>{open ? 'Waiting for its first signal…' : 'Connecting…'}</State></div>
      </div>
    </Card>
  )
}
