import { Button } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { calls } from '../../api/calls'
import { dateTime } from '../../lib/format'
import { Ago } from '../../ui/Ago'
import { ProblemNote } from '../../ui/Note'
import { Card } from '../../ui/Page'
import { State } from '../../ui/State'
import { Waiting } from '../../ui/Waiting'

/** Who is logged in where; an administrator sees everybody's. */
export default function Sessions() {
  const queries = useQueryClient()
  const list = useQuery({ queryKey: ['sessions'], queryFn: calls.sessions })
  const end = useMutation({ mutationFn: (id: string) => calls.endSession(id), onSettled: () => void queries.invalidateQueries({ queryKey: ['sessions'] }) })
  if (list.isPending) return <Waiting />
  return (
    <Card title="Sessions">
      <ProblemNote error={list.error ?? end.error} />
      <div className="table-scroll" tabIndex={0} role="region" aria-label="Sessions">
        <table className="plain">
          <thead><tr><th>User</th><th>Address</th><th>Browser</th><th>Last used</th><th>Ends</th><th><span className="hidden-label">Actions</span></th></tr></thead>
          <tbody>
            {list.data?.items.map((one) => (
              <tr key={one.id}>
                <td>{one.user}</td>
                <td><code>{one.remote}</code></td>
                <td className="dim">{browser(one.user_agent)}</td>
                <td><Ago at={one.last_used_at} /></td>
                <td>{dateTime(one.expires_at)}</td>
                <td className="num">{one.current ? <State tone="green">This one</State> : <Button size="xs" variant="default" onClick={() => end.mutate(one.id)}>End</Button>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  )
}

/** "Firefox on Linux" of what a browser says of itself. */
function browser(agent: string | null): string {
  if (!agent) return '–'
  const name = /Firefox/.test(agent) ? 'Firefox' : /Edg\//.test(agent) ? 'Edge' : /Chrom/.test(agent) ? 'Chrome' : /Safari/.test(agent) ? 'Safari' : agent.slice(0, 30)
  const system = /Android/.test(agent) ? 'Android' : /iPhone|iPad/.test(agent) ? 'iOS' : /Windows/.test(agent) ? 'Windows' : /Mac OS/.test(agent) ? 'macOS' : /Linux/.test(agent) ? 'Linux' : ''
  return system ? `${name} on ${system}` : name
}
