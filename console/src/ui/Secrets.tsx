import type { Credentials } from '../api/types'
import { CopyButton } from './Copy'
import { Note } from './Note'

/** Credentials in the one moment when they can be seen. */
export function Secrets({ made }: { made: Credentials }) {
  const lines: [string, string][] = made.kind === 'pycom'
    ? [['Token (device_id)', made.token ?? ''], ...(made.username ? [['User name', made.username] as [string, string]] : [])]
    : [['Device id', made.id], ['User name', made.username ?? made.id], ['Password', made.password ?? '']]
  return (
    <div className="stack">
      <dl className="facts secrets">
        {lines.map(([name, text]) => (
          <div key={name} style={{ display: 'contents' }}>
            <dt>{name}</dt>
            <dd className="row" style={{ flexWrap: 'nowrap' }}><code data-testid={name}>{text}</code><CopyButton text={text} label={name.toLowerCase()} /></dd>
          </div>
        ))}
      </dl>
      <Note tone="amber" title="Copy it now">Hubward keeps only a hash of it. If it is lost, rotate: the device then gets a new one.</Note>
    </div>
  )
}
