import { Button } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { calls } from '../../api/calls'
import type { Failed, Integration } from '../../api/types'
import { count, plural } from '../../lib/format'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Card, RoleButton } from '../../ui/Page'

/** How far the identities are; it goes on on the server, whoever looks. Nothing when all is well. */
export function ProgressCard({ it, onChange }: { it: Integration; onChange: () => void }) {
  const busy = it.state === 'creating' || it.state === 'removing' || Object.keys(it.device_states).some((state) => ['creating', 'conflict', 'removing'].includes(state))
  const asked = useQuery({ queryKey: ['progress', it.id], queryFn: () => calls.progress(it.id), enabled: busy })
  const again = useMutation({ mutationFn: () => calls.reconcile(it.id), onSuccess: onChange })
  const resolve = useMutation({
    mutationFn: async (on_existing: 'adopt' | 'rename') => {
      await calls.editIntegration(it.id, { on_existing })
      await calls.reconcile(it.id)
    },
    onSuccess: onChange,
  })
  const p = asked.data
  if (!busy || !p || (p.creating === 0 && p.failed === 0 && p.conflict === 0 && p.removing === 0)) return null
  const removing = p.removing > 0
  return (
    <Card title={removing ? `Removing ${plural(p.removing, 'device')}` : p.creating > 0 ? `Creating ${plural(p.total, 'device')}` : 'Not all devices could be made'}>
      <div className="stack">
        {!removing && p.total > 0 && <div className="bar-outer" role="progressbar" aria-label="Identities made" aria-valuemin={0} aria-valuemax={p.total} aria-valuenow={p.created}><div className="bar-inner" style={{ width: `${(100 * p.created) / p.total}%` }} /></div>}
        <p role="status" className="dim">{count(p.created)} made, {count(p.creating)} to go{p.conflict > 0 ? `, ${plural(p.conflict, 'conflict')}` : ''}{p.failed > 0 ? `, ${count(p.failed)} failed` : ''}. You may leave; it goes on on the server.</p>
        {p.failed > 0 && (
          <Note tone="red" title={`${plural(p.failed, 'device')} failed`}>
            <List of={p.failed_devices} />
            <RoleButton role="operator" size="xs" variant="default" mt={6} loading={again.isPending} onClick={() => again.mutate()}>Retry {count(p.failed)} failed</RoleButton>
          </Note>
        )}
        {p.conflict > 0 && (
          <Note tone="red" title={`${plural(p.conflict, 'identity exists', 'identities exist')} in the hub already`}>
            <List of={p.conflicts} />
            <div className="row" style={{ marginTop: 6 }}>
              <Button size="xs" variant="default" loading={resolve.isPending} onClick={() => resolve.mutate('adopt')}>Use them (their keys are read)</Button>
              <Button size="xs" variant="default" loading={resolve.isPending} onClick={() => resolve.mutate('rename')}>Choose other names</Button>
            </div>
          </Note>
        )}
        <ProblemNote error={again.error ?? resolve.error} />
      </div>
    </Card>
  )
}

function List({ of }: { of: Failed[] }) {
  return <ul>{of.slice(0, 5).map((one) => <li key={one.device}>{one.device}, <code>{one.hub_device_id}</code>{one.error && `: ${sentence(one.error)}`}</li>)}{of.length > 5 && <li>and {of.length - 5} more</li>}</ul>
}
