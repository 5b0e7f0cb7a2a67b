import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import type { Drift as DriftShown, Integration } from '../../api/types'
import { count, date, plural } from '../../lib/format'
import { Ago } from '../../ui/Ago'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Card } from '../../ui/Page'
import { State, type Tone } from '../../ui/State'

const words: Record<string, [Tone, string, string]> = {
  missing: ['red', 'Missing', 'Somebody deleted it in Azure. Reconcile makes it again.'],
  other_keys: ['amber', 'Other keys', 'Somebody rolled its keys. Hubward reads them and goes on.'],
  made_again: ['amber', 'Made again', 'Somebody deleted it and made another of its name.'],
  disabled: ['amber', 'Disabled', 'Enable it in the Azure portal; its signals wait.'],
  no_keys: ['red', 'No keys', 'It logs in by certificate; Hubward needs keys.'],
}

/** How the identities in the hub differ from the devices here, as far as they were looked at. */
export function Drift({ it, reconcile }: { it: Integration; reconcile: ReactNode }) {
  const asked = useQuery({ queryKey: ['drift', it.id], queryFn: () => calls.drift(it.id), refetchInterval: 30_000 })
  const found = asked.data
  return (
    <Card title="Drift">
      <ProblemNote error={asked.error} />
      {found && (
        <>
          <p className="dim">{seen(found)}</p>
          {found.last_error && <Note tone="amber" title="The hub could not be asked last">{sentence(found.last_error)}</Note>}
          {found.differences.length > 0 && <Differences found={found} />}
          {found.orphans.length > 0 && <Orphans found={found} />}
          <div className="row" style={{ marginTop: 12 }}>{reconcile}<span className="dim small">asks the hub now and repairs what it may.</span></div>
        </>
      )}
    </Card>
  )
}

function seen(found: DriftShown): string {
  const so = found.differences.length === 0 && found.orphans.length === 0 ? 'Nothing differs so far' : plural(found.differences.length, 'identity differs', 'identities differ')
  if (!found.by && found.differences.length === 0) return 'The identities in the hub were not looked at yet. Hubward does so by itself, slowly.'
  const round = found.looked_at < found.of ? `, ${count(found.looked_at)} of ${count(found.of)} looked at in this round` : ''
  return `${so}${round}. ${found.complete_at ? `All were seen ${date(found.complete_at)}.` : 'Not all were seen yet.'}`
}

function Differences({ found }: { found: DriftShown }) {
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label="Identities that differ">
      <table className="plain">
        <thead><tr><th>Device</th><th>Identity in the hub</th><th>What</th><th>Since</th></tr></thead>
        <tbody>
          {found.differences.map((one) => {
            const [tone, word, help] = words[one.what] ?? ['grey' as Tone, one.what, '']
            return (
              <tr key={one.hub_device_id}>
                <td><Link href={`/devices/${encodeURIComponent(one.device)}`}>{one.device}</Link></td>
                <td><code>{one.hub_device_id}</code></td>
                <td><State tone={tone}>{word}</State>{help && <div className="small dim">{help}</div>}</td>
                <td><Ago at={one.since} /></td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

function Orphans({ found }: { found: DriftShown }) {
  return (
    <>
      <h3>Identities that no device uses any more</h3>
      <p className="dim small">Hubward made them and does not send as them. Delete them in the Azure portal if nobody else does.</p>
      <ul>{found.orphans.map((one) => <li key={one.hub_device_id}><code>{one.hub_device_id}</code>, made {date(one.made_at)}{one.seen === false && ', gone by now'}</li>)}</ul>
    </>
  )
}
