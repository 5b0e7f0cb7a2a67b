import { Button } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import { useEvents } from '../../api/events'
import type { Integration, Overview as OverviewFacts } from '../../api/types'
import { bytes, count } from '../../lib/format'
import { integrationState } from '../../lib/states'
import { Ago } from '../../ui/Ago'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Card, Empty, Page, Tile } from '../../ui/Page'
import { StateOf } from '../../ui/State'
import { Waiting } from '../../ui/Waiting'
import { Checklist, stepsDone } from './Checklist'
import { Dropped } from './Dropped'

const HIDDEN = 'hubward-checklist-hidden'

export default function Overview() {
  const queries = useQueryClient()
  const overview = useQuery({ queryKey: ['overview'], queryFn: calls.overview })
  const about = useQuery({ queryKey: ['about'], queryFn: calls.about, staleTime: Infinity })
  const [hidden, setHidden] = useState(() => localStorage.getItem(HIDDEN) === 'yes')
  const facts = overview.data
  const done = facts ? stepsDone(facts.first) : 0
  // The list ticks as things happen; once it is through, the slower look of the shell is enough.
  useEvents({ types: 'connection,signal,delivery,change' }, () => void queries.invalidateQueries({ queryKey: ['overview'] }), facts !== undefined && done < 5)
  if (overview.isPending) return <Waiting />
  if (!facts) return <ProblemNote error={overview.error} />

  const shown = !hidden && done < 5
  const hide = (to: boolean) => {
    localStorage.setItem(HIDDEN, to ? 'yes' : 'no')
    setHidden(to)
  }
  return (
    <Page title="Overview" sub={shown ? `From nothing to a signal in your hub: ${done} of 5 done` : undefined}
      actions={done < 5 && <Button variant="default" onClick={() => hide(!hidden)}>{hidden ? 'Show checklist' : 'Hide checklist'}</Button>}>
      {shown ? (
        <div className="split">
          <section className="card" aria-label="First steps"><Checklist first={facts.first} /></section>
          <div className="stack"><Tiles facts={facts} />{about.data && <Reach http={about.data.http} insecure={about.data.insecure_http ?? false} />}</div>
        </div>
      ) : <Tiles facts={facts} />}
      {!shown && <Trouble facts={facts} />}
      <Dropped />
      {(!shown || facts.integrations.length > 0) && <IntegrationList integrations={facts.integrations} total={facts.integrations_total} />}
    </Page>
  )
}

function Tiles({ facts }: { facts: OverviewFacts }) {
  const { devices, disk } = facts
  return (
    <div className="tiles">
      <Tile label="Devices connected" value={`${count(devices.connected)} of ${count(devices.total)}`} />
      <Tile label="Signals, last hour" value={count(facts.signals_last_hour)} />
      <Tile label="Waiting for a hub" value={count(facts.waiting)} note={facts.oldest_waiting_at && <>oldest <Ago at={facts.oldest_waiting_at} /></>} />
      <Tile label="Dead letters" value={count(facts.dead_letters)} note={facts.dead_letters > 0 && <Link href="/dead-letters">Look</Link>} />
      <Tile label="Journal" value={bytes(disk.journal_bytes)} note={disk.free_bytes === null ? `limit ${bytes(disk.journal_limit_bytes)}` : `${bytes(disk.free_bytes)} free on disk`} />
    </div>
  )
}

/** Says when only this machine can open the console, or when passwords travel in clear text. */
function Reach({ http, insecure }: { http: string | null; insecure: boolean }) {
  if (insecure) return <Note tone="amber" title="This console is open without encryption">Passwords travel in clear text. Start with <code>--tls-cert</code> and <code>--tls-key</code>, or behind a proxy with <code>--trust-proxy</code>.</Note>
  if (!http || !/\/\/(127\.|localhost|\[::1\])/.test(http)) return null
  return <Note tone="blue" title="Only this machine can open this console">It listens on {http.replace(/^https?:\/\//, '')}. To open it to others, start with <code>--http 0.0.0.0:8080</code> behind TLS.</Note>
}

/** What will not heal by itself, one line each with the way out. */
function Trouble({ facts }: { facts: OverviewFacts }) {
  const { disk } = facts
  const full = disk.journal_limit_bytes > 0 && disk.journal_bytes > 0.9 * disk.journal_limit_bytes
  return (
    <>
      {disk.journal_health === 'disk_full' && <Note tone="red" title="The disk is full">New signals are refused until there is room. Free some space on the disk of the data folder.</Note>}
      {full && <Note tone="amber" title="The journal is nearly at its limit">When it is full, devices wait. Raise <code>journal.limit</code>, shorten <code>journal.history</code>, or let the hubs catch up.</Note>}
      {facts.integrations.filter((one) => one.state === 'attention').map((one) => (
        <Note key={one.id} tone="red" title={<Link href={`/integrations/${one.id}`}>{one.name}</Link>}>{sentence(one.cause?.message ?? one.last_error ?? 'Needs a look')} {one.cause && sentence(one.cause.remedy)}</Note>
      ))}
    </>
  )
}

function IntegrationList({ integrations, total }: { integrations: Integration[]; total: number }) {
  return (
    <Card title="Integrations" side={<Button component={Link} href="/integrations/new" variant="default" size="xs">New integration</Button>}>
      {integrations.length === 0 ? <Empty>Signals stay on this server until you add a destination.</Empty> : (
        <div className="table-scroll">
          <table className="plain">
            <thead><tr><th>Name</th><th>Hub</th><th>State</th><th className="num">Rate</th><th className="num">Waiting</th></tr></thead>
            <tbody>
              {integrations.map((one) => (
                <tr key={one.id}>
                  <td><Link href={`/integrations/${one.id}`}>{one.name}</Link></td>
                  <td className="dim">{one.hub}</td>
                  <td><StateOf shown={integrationState(one.state)} /></td>
                  <td className="num">{rate(one.rate_per_s)}</td>
                  <td className="num">{count(one.waiting)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {total > integrations.length && <p><Link href="/integrations">All {count(total)}</Link></p>}
        </div>
      )}
    </Card>
  )
}

export const rate = (perSecond: number) => (perSecond === 0 ? '0 /s' : perSecond < 1 ? `${Math.round(perSecond * 60)} /min` : `${count(Math.round(perSecond * 10) / 10)} /s`)
