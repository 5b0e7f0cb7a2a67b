import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { calls } from '../api/calls'
import type { SignalTrace, Station } from '../api/types'
import { count, duration, exact } from '../lib/format'
import { dump, fromBase64, text } from '../lib/payload'
import { CopyBlock } from './Copy'
import { ProblemNote, sentence } from './Note'
import { Waiting } from './Waiting'

const words: Record<string, [string, string]> = {
  received: ['', 'Received from the device'],
  durable: ['', 'Durable on disk'],
  waiting: ['amber', 'Waits'],
  sent: ['', 'First sent'],
  accepted: ['', 'Accepted by the hub'],
  dead_letter: ['red', 'Dead letter'],
  expired: ['grey', 'Expired'],
  discarded: ['grey', 'Discarded'],
}

/** One signal's way, from stored facts, and its bytes. */
export function TraceCard({ device, offset, deliveries = '', page }: { device: string; offset: number; deliveries?: string; page?: boolean }) {
  // What is known of its deliveries is part of the key: news is a reason to ask again.
  const asked = useQuery({ queryKey: ['signal', device, offset, deliveries], queryFn: () => calls.signal(device, offset), placeholderData: (before) => before })
  if (asked.isPending) return <Waiting />
  if (!asked.data) return <ProblemNote error={asked.error} />
  const it = asked.data
  return (
    <div className={page ? 'split even' : 'stack'}>
      <div className="stack-s">
        <h2>Trace</h2>
        <p className="dim small">offset {count(it.offset)} · <code>{it.topic}</code></p>
        <Stations it={it} />
        {!page && <Link href={`/deliveries/${it.device_id}/${it.offset}`}>Open as a page</Link>}
      </div>
      <div className="stack-s">
        <h3>Body, {it.size} {it.size === 1 ? 'byte' : 'bytes'}</h3>
        <Body base64={it.body_base64} />
      </div>
    </div>
  )
}

function Stations({ it }: { it: SignalTrace }) {
  return <ol className="trace">{it.trace.map((station, n) => <StationLine key={n} station={station} start={it.received_at} qos={it.qos} />)}</ol>
}

function StationLine({ station, start, qos }: { station: Station; start: string; qos: number }) {
  const [tone, word] = words[station.station] ?? ['grey', station.station]
  const first = station.station === 'received'
  const when = station.at === null ? undefined : first ? exact(station.at) : `+ ${duration(new Date(station.at).getTime() - new Date(start).getTime())}`
  const sent = station.attempts !== null && station.attempts > 1 && station.station !== 'sent' ? `sent ${count(station.attempts)} times` : undefined
  const unknown = when === undefined && ['accepted', 'dead_letter'].includes(station.station) ? 'times are kept of the latest 100,000' : undefined
  const facts = [when, sent, unknown, first ? `MQTT QoS ${qos}` : undefined, station.detail && !['received', 'durable'].includes(station.station) ? sentence(station.detail) : undefined].filter(Boolean)
  return (
    <li className={tone || undefined}>
      <strong>{word}{station.integration && `: ${station.integration}`}</strong>
      <span className="dim">{facts.join(' · ')}</span>
      {station.message_id && <div className="dim small">message-id <code>{station.message_id}</code></div>}
    </li>
  )
}

/** Bytes as text, if they are that, and as hex. */
export function Body({ base64 }: { base64: string }) {
  const body = fromBase64(base64)
  const words = text(body)
  return (
    <>
      {words !== undefined && words !== '' && <CopyBlock text={words.length > 4096 ? `${words.slice(0, 4096)}…` : words} label="body as text" />}
      <div className="code hex"><pre tabIndex={0} role="region" aria-label="body as hex">{body.length === 0 ? '(empty)' : dump(body)}</pre></div>
    </>
  )
}
