import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import { may, useRole } from '../../api/session'
import { count, plural } from '../../lib/format'
import { integrationState } from '../../lib/states'
import { Ago } from '../../ui/Ago'
import { IconPlus } from '../../ui/icons'
import { ProblemNote, sentence } from '../../ui/Note'
import { Card, Empty, Page } from '../../ui/Page'
import { StateOf } from '../../ui/State'
import { Waiting } from '../../ui/Waiting'
import { rate } from '../overview/Overview'

export default function Integrations() {
  const operator = may(useRole(), 'operator')
  const list = useQuery({ queryKey: ['integrations'], queryFn: () => calls.integrations({ limit: 200 }) })
  const drafts = useQuery({ queryKey: ['drafts'], queryFn: calls.drafts, enabled: operator })
  if (list.isPending) return <Waiting />
  const add = <Button component={Link} href="/integrations/new" leftSection={<IconPlus size={16} aria-hidden />}>New integration</Button>
  return (
    <Page title="Integrations" sub={list.data && list.data.items.length > 0 ? plural(list.data.items.length, 'integration') : undefined} actions={list.data && list.data.items.length > 0 && add}>
      <ProblemNote error={list.error} />
      {drafts.data?.items.map((draft) => (
        <div key={draft.id} className="card row-wide">
          <span>An integration begun <Ago at={draft.updated_at} />{draft.login ? <>, logged in to {draft.login.hub}</> : ''}</span>
          <Button component={Link} href={`/integrations/new?draft=${draft.id}`} variant="default" size="xs">Go on with it</Button>
        </div>
      ))}
      {list.data && (list.data.items.length === 0
        ? <div className="card"><Empty action={operator ? add : undefined}>Signals stay on this server until {operator ? 'you add' : 'an operator adds'} a destination.</Empty></div>
        : (
          <Card>
            <div className="table-scroll" tabIndex={0} role="region" aria-label="Integrations">
              <table className="plain">
                <thead><tr><th>Name</th><th>Service</th><th>Hub</th><th>State</th><th className="num">Devices</th><th className="num">Rate</th><th className="num">Waiting</th><th>Last error</th></tr></thead>
                <tbody>
                  {list.data.items.map((one) => (
                    <tr key={one.id}>
                      <td><Link href={`/integrations/${one.id}`}>{one.name}</Link></td>
                      <td>Microsoft Azure</td>
                      <td className="dim">{one.hub}</td>
                      <td><StateOf shown={integrationState(one.state)} /></td>
                      <td className="num">{count(one.device_count)}</td>
                      <td className="num">{rate(one.rate_per_s)}</td>
                      <td className="num">{count(one.waiting)}</td>
                      <td className="dim">{one.cause ? sentence(one.cause.message) : one.last_error ? sentence(one.last_error) : '–'}</td>
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
