import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import type { Hub } from '../../api/types'
import { count, share } from '../../lib/format'
import { ProblemNote } from '../../ui/Note'
import { Card, Empty, Page } from '../../ui/Page'
import { type Shown, StateOf } from '../../ui/State'
import { Waiting } from '../../ui/Waiting'

export function hubState(hub: Hub): Shown {
  if (hub.away_since) return { tone: 'amber', word: 'Away' }
  if (hub.holding) return { tone: 'amber', word: 'Held' }
  if (hub.throttled) return { tone: 'amber', word: 'Throttled' }
  return hub.connections > 0 ? { tone: 'green', word: 'Connected' } : { tone: 'grey', word: 'No connection' }
}

export default function Hubs() {
  const list = useQuery({ queryKey: ['hubs'], queryFn: calls.hubs })
  if (list.isPending) return <Waiting />
  return (
    <Page title="Hubs" sub="The IoT hubs that your integrations send to">
      <ProblemNote error={list.error} />
      {list.data && (list.data.items.length === 0 ? <div className="card"><Empty>No hub yet. It comes with the first <Link href="/integrations/new">integration</Link>.</Empty></div> : (
        <Card>
          <div className="table-scroll" tabIndex={0} role="region" aria-label="Hubs">
            <table className="plain">
              <thead><tr><th>Hub</th><th>State</th><th>Integrations</th><th className="num">Connections</th><th className="num">Links</th><th className="num">Messages today</th><th className="num">Of the quota</th></tr></thead>
              <tbody>
                {list.data.items.map((hub) => (
                  <tr key={hub.host_name}>
                    <td><Link href={`/hubs/${encodeURIComponent(hub.host_name)}`} className="mono">{hub.host_name}</Link></td>
                    <td><StateOf shown={hubState(hub)} /></td>
                    <td className="dim">{hub.integrations.join(', ')}</td>
                    <td className="num">{count(hub.connections)}</td>
                    <td className="num">{count(hub.links)}</td>
                    <td className="num">{count(hub.used_today.messages)}</td>
                    <td className="num">{hub.used_today.quota ? share(hub.used_today.quota.used_percent) : '–'}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </Card>
      ))}
    </Page>
  )
}
