import { Link } from 'wouter'
import type { Signal } from '../api/types'
import { exact, dateTime, value } from '../lib/format'
import { fromBase64, hex, text } from '../lib/payload'
import { deliveryState } from '../lib/states'
import { State, StateOf } from './State'

interface Props {
  label: string
  signals: Signal[]
  chosen?: number | undefined
  onChoose: (signal: Signal) => void
  /** Names of signals of this device, by key. */
  names?: Map<string, string>
  withDevice?: boolean
  withDate?: boolean
  flash?: boolean
}

/** Signals, newest first: value and bytes, and how far each is. The time opens its trace. */
export function SignalTable({ label, signals, chosen, onChoose, names, withDevice, withDate, flash }: Props) {
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label={label}>
      <table className="plain">
        <thead><tr><th>Received</th>{withDevice && <th>Device</th>}<th>Signal</th><th>Value</th><th>Bytes</th><th>Delivery</th></tr></thead>
        <tbody>
          {signals.map((signal) => (
            <tr key={signal.offset} className={[chosen === signal.offset ? 'chosen' : '', flash ? 'flash' : ''].join(' ').trim() || undefined}>
              <td className="nowrap"><button type="button" className="link-button mono" aria-label={`Trace of ${withDate ? dateTime(signal.received_at) : exact(signal.received_at)}`} aria-pressed={chosen === signal.offset} title={dateTime(signal.received_at)} onClick={() => onChoose(signal)}>{withDate ? dateTime(signal.received_at) : exact(signal.received_at)}</button></td>
              {withDevice && <td><Link href={`/devices/${signal.device_id}/live`}>{signal.device}</Link></td>}
              <td>{names?.get(signal.key ?? '') ?? <code>{signal.key ?? signal.topic}</code>}{signal.test && <> <State tone="blue">Test</State></>}</td>
              <td><Value signal={signal} /></td>
              <td className="nowrap"><code>{hex(fromBase64(signal.body_base64), 6)}</code></td>
              <td className="nowrap"><Deliveries signal={signal} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** Rounded, with the full digits on demand. */
export function Value({ signal }: { signal: Signal }) {
  const words = signal.value ?? signal.text ?? text(fromBase64(signal.body_base64))
  if (words === undefined || words === null) return <span className="dim">{signal.size} bytes</span>
  const full = typeof words === 'string' ? words : JSON.stringify(words)
  const number = typeof words === 'string' && words.trim() !== '' && words.length < 24 ? Number(words) : words
  const shown = value(typeof number === 'number' && Number.isFinite(number) ? number : words)
  return <span className="mono" title={full}>{shown.length > 40 ? `${shown.slice(0, 40)}…` : shown}</span>
}

export function Deliveries({ signal }: { signal: Signal }) {
  if (signal.deliveries.length === 0) return <span className="dim">stays here</span>
  return <span className="row" style={{ gap: 4 }}>{signal.deliveries.map((one) => <span key={one.integration} title={one.integration}><StateOf shown={deliveryState(one.state)} /></span>)}</span>
}
