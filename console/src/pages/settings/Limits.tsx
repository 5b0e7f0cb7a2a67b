import { useQuery } from '@tanstack/react-query'
import { calls } from '../../api/calls'
import type { Setting } from '../../api/types'
import { bytes } from '../../lib/format'
import { ProblemNote } from '../../ui/Note'
import { Card } from '../../ui/Page'
import { State } from '../../ui/State'
import { Waiting } from '../../ui/Waiting'

/** What is in effect, and who said so: a flag, a variable, the file, or nobody. */
export default function Limits() {
  const asked = useQuery({ queryKey: ['settings'], queryFn: calls.settings, staleTime: Infinity })
  const journal = useQuery({ queryKey: ['journal'], queryFn: calls.journal })
  if (asked.isPending) return <Waiting />
  if (!asked.data) return <ProblemNote error={asked.error} />
  const items = asked.data.items
  const j = journal.data
  return (
    <>
      <Card title="Limits">
        <div className="stack">
          {j && <Used of={j.bytes} limit={j.limit_bytes} />}
          <Table label="Limits" items={items.filter((one) => one.limit)} />
        </div>
      </Card>
      <Card title="Settings"><Table label="Settings" items={items.filter((one) => !one.limit)} /></Card>
      <p className="dim small">They are read when the server starts: change the flag, the variable or the file, and start it again. <code>hubward config print</code> writes them as a file.</p>
    </>
  )
}

function Used({ of, limit }: { of: number; limit: number }) {
  const share = limit > 0 ? Math.min(100, (100 * of) / limit) : 0
  return (
    <div className="stack-s">
      <span>Journal: {bytes(of)} of {bytes(limit)} used</span>
      <div className="bar-outer" role="progressbar" aria-label="Journal used" aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share)}><div className="bar-inner" style={{ width: `${share}%` }} /></div>
    </div>
  )
}

function Table({ label, items }: { label: string; items: Setting[] }) {
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label={label}>
      <table className="plain">
        <thead><tr><th>Name</th><th>Value</th><th>From</th><th>What it is</th></tr></thead>
        <tbody>
          {items.map((one) => (
            <tr key={one.name}>
              <td className="nowrap" title={one.variable ?? undefined}>{one.variable ? <code>{one.name}</code> : one.name}</td>
              <td><code>{one.value ?? '–'}</code></td>
              <td className="nowrap"><From one={one} /></td>
              <td className="dim">{one.help}{one.from !== 'default' && one.default !== null && one.default !== one.value && <>; by default <code>{one.default}</code></>}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function From({ one }: { one: Setting }) {
  if (one.from === 'default' || one.from === 'built in') return <span className="dim">{one.from}</span>
  return <State tone="blue"><code>{one.from}</code></State>
}
