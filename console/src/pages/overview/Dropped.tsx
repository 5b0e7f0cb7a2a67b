import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import type { ClientName } from '../../api/types'
import { count } from '../../lib/format'
import { Ago } from '../../ui/Ago'
import { sentence } from '../../ui/Note'
import { Card } from '../../ui/Page'

/** What the MQTT broker dropped, by reason. Where nothing was, nothing is shown. */
export function Dropped() {
  const dropped = useQuery({ queryKey: ['dropped'], queryFn: calls.dropped })
  if (!dropped.data || dropped.data.items.length === 0) return null
  return (
    <Card title="Dropped messages">
      <p className="dim">Since the server started, <Ago at={dropped.data.since} />.</p>
      <div className="table-scroll" tabIndex={0} role="region" aria-label="Dropped messages">
        <table className="plain">
          <thead><tr><th>What, and what to do</th><th className="num">Number</th><th>Last</th><th>Whose was the last</th></tr></thead>
          <tbody>
            {dropped.data.items.map((one) => (
              <tr key={one.reason}>
                <td style={{ minWidth: 220 }}>{sentence(one.what)}<div className="small dim">{sentence(one.remedy)}</div></td>
                <td className="num">{count(one.count)}</td>
                <td><Ago at={one.last_at} /></td>
                <td><Whose client={one.last_owner} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  )
}

function Whose({ client }: { client: ClientName | null }) {
  if (client?.device_id) return <Link href={`/devices/${client.device_id}`}>{client.device}</Link>
  return client?.app ? <>App {client.app}</> : <span className="dim">nobody can say</span>
}
