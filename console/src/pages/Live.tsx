import { Button, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useState } from 'react'
import { useSearchParams } from 'wouter'
import { count } from '../lib/format'
import { IconPlayerPause, IconPlayerPlay, IconSearch } from '../ui/icons'
import { Ago } from '../ui/Ago'
import { Card, Empty, Page } from '../ui/Page'
import { SignalTable } from '../ui/SignalTable'
import { State } from '../ui/State'
import { TraceCard } from '../ui/TraceCard'
import { useSignals } from './device/useSignals'

/** Rows on the page; above that rate not each one can be read anyway. */
const ROWS = 50

/** All signals of all devices, as they come. */
export default function Live() {
  const [search, setSearch] = useSearchParams()
  const [words, setWords] = useState(search.get('q') ?? '')
  const [topic, setTopic] = useState(search.get('topic') ?? '')
  const [filters] = useDebouncedValue({ q: words.trim(), topic: topic.trim() }, 300)
  const key = JSON.stringify(filters)
  return (
    <Page title="Live" sub="Signals of all devices, as they come">
      <div className="row" role="search">
        <TextInput aria-label="Text" placeholder="Text in topic or payload" leftSection={<IconSearch size={16} aria-hidden />} value={words} onChange={(e) => setWords(e.currentTarget.value)} onBlur={() => setSearch(used(filters), { replace: true })} style={{ flex: '1 1 200px', maxWidth: 320 }} />
        <TextInput aria-label="Topic filter" placeholder="Topic filter, devices/+/signals/#" value={topic} onChange={(e) => setTopic(e.currentTarget.value)} onBlur={() => setSearch(used(filters), { replace: true })} classNames={{ input: 'mono' }} style={{ flex: '1 1 200px', maxWidth: 320 }} />
      </div>
      {/* Another filter is another feed. */}
      <Rows key={key} filters={used(filters)} />
    </Page>
  )
}

const used = (filters: Record<string, string>) => Object.fromEntries(Object.entries(filters).filter(([, text]) => text))

function Rows({ filters }: { filters: Record<string, string> }) {
  const [paused, setPaused] = useState(false)
  const [chosen, setChosen] = useState<number>()
  const { signals, heldBack, open } = useSignals(filters, paused, 50)
  const last = signals.at(-1)
  const picked = signals.find((one) => one.offset === chosen)
  const side = (
    <>
      {paused ? <State tone="grey">{heldBack > 0 ? `Paused, ${count(heldBack)} held back` : 'Paused'}</State> : open ? <State tone="blue">Live</State> : <State tone="amber">Connecting…</State>}
      <Button size="xs" variant="default" leftSection={paused ? <IconPlayerPlay size={14} aria-hidden /> : <IconPlayerPause size={14} aria-hidden />} onClick={() => setPaused(!paused)}>{paused ? 'Go on' : 'Pause'}</Button>
    </>
  )
  const table = (
    <Card title="Signals" side={side}>
      {signals.length === 0 ? <Empty>{Object.keys(filters).length > 0 ? 'Nothing that matches yet.' : 'Waiting for the first signal.'}</Empty>
        : <SignalTable label="Signals" withDevice signals={signals.slice(-ROWS).reverse()} chosen={chosen} onChoose={(one) => setChosen(one.offset === chosen ? undefined : one.offset)} flash />}
      {signals.length > ROWS && <p className="dim small">{ROWS} of {count(signals.length)} shown. The last one came <Ago at={last?.received_at} />.</p>}
    </Card>
  )
  if (!picked) return table
  return <div className="split">{table}<section className="card" aria-label="Trace"><TraceCard device={picked.device_id} offset={picked.offset} deliveries={picked.deliveries.map((one) => one.state).join()} /></section></div>
}
