import { useQuery } from '@tanstack/react-query'
import { calls } from '../../api/calls'
import type { Connection, Device } from '../../api/types'
import { dateTime, duration } from '../../lib/format'
import { ProblemNote, sentence } from '../../ui/Note'
import { Card, Empty } from '../../ui/Page'
import { StateOf, type Shown } from '../../ui/State'
import { Waiting } from '../../ui/Waiting'

const outcomes: Record<string, Shown> = { open: { tone: 'green', word: 'Connected' }, ended: { tone: 'grey', word: 'Ended' }, refused: { tone: 'red', word: 'Refused' } }

/** When it came and went, from where, and why. */
export default function DeviceConnections({ device }: { device: Device }) {
  const asked = useQuery({ queryKey: ['connections', device.id], queryFn: () => calls.connections(device.id) })
  if (asked.isPending) return <Waiting />
  if (!asked.data) return <ProblemNote error={asked.error} />
  return (
    <Card title="Connections">
      {asked.data.items.length === 0 ? <Empty>{device.name} has not connected since this list is kept.</Empty> : (
        <div className="table-scroll" tabIndex={0} role="region" aria-label="Connections">
          <table className="plain">
            <thead><tr><th>From</th><th>State</th><th>For</th><th>Why it ended</th><th>Address</th><th>Protocol</th><th className="num">Keep-alive</th></tr></thead>
            <tbody>{asked.data.items.map((one) => <Row key={one.id} one={one} />)}</tbody>
          </table>
          <p className="dim small" style={{ marginTop: 8 }}>The last 100 are kept.</p>
        </div>
      )}
    </Card>
  )
}

function Row({ one }: { one: Connection }) {
  return (
    <tr>
      <td className="nowrap">{dateTime(one.connected_at)}</td>
      <td><StateOf shown={outcomes[one.outcome] ?? { tone: 'grey', word: one.outcome }} /></td>
      <td className="nowrap">{one.duration_ms === null ? '–' : duration(one.duration_ms)}</td>
      <td>{one.outcome === 'open' ? <span className="dim">–</span> : sentence(one.words ?? one.reason ?? '')}</td>
      <td><code>{one.peer}</code></td>
      <td className="nowrap">{one.protocol ?? '–'}</td>
      <td className="num">{one.keep_alive_s === null ? '–' : `${one.keep_alive_s} s`}</td>
    </tr>
  )
}
