import { Radio } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation } from 'wouter'
import { calls } from '../../api/calls'
import type { Integration, RemovalPreview } from '../../api/types'
import { count, plural } from '../../lib/format'
import { ConfirmName } from '../../ui/ConfirmName'
import { Dialog } from '../../ui/Dialog'
import { Note, ProblemNote } from '../../ui/Note'
import { Waiting } from '../../ui/Waiting'
import { removed } from '../device/RemoveDevice'
import { say } from '../../ui/toast'

/** Says which identities go and which stay, before and after. */
export function DeleteIntegration({ it, open, onClose }: { it: Integration; open: boolean; onClose: () => void }) {
  const [keep, setKeep] = useState(false)
  const [, go] = useLocation()
  const queries = useQueryClient()
  const preview = useQuery({ queryKey: ['removal', it.id], queryFn: () => calls.removal(it.id), enabled: open, staleTime: 0 })
  const pause = useMutation({ mutationFn: () => calls.pause(it.id), onSuccess: () => { void queries.invalidateQueries({ queryKey: ['integration', it.id] }); onClose() } })
  const remove = useMutation({
    mutationFn: () => calls.removeIntegration(it.id, keep, (preview.data?.waiting ?? 0) > 0),
    onSuccess: (done) => {
      say(removed(done), `${it.name} is deleted`)
      go('/integrations')
      void queries.invalidateQueries({ queryKey: ['integrations'] })
      void queries.invalidateQueries({ queryKey: ['overview'] })
    },
  })
  const what = preview.data
  return (
    <Dialog open={open} onClose={onClose} title={`Delete integration ${it.name}`}>
      <ProblemNote error={preview.error} />
      {!what ? <Waiting /> : (
        <>
          <p>{plural(what.devices, 'device stops', 'devices stop')} sending to {it.hub} at once. The devices and their history stay in Hubward.</p>
          {what.deletes > 0 && (
            <Radio.Group label={what.deletes === 1 ? 'The identity in the hub' : `The ${count(what.deletes)} identities in the hub`} value={keep ? 'keep' : 'delete'} onChange={(v) => setKeep(v === 'keep')}>
              <div className="stack-s" style={{ marginTop: 4 }}>
                <Radio value="delete" label={`Delete the ${plural(what.deletes, 'identity', 'identities')} that Hubward made (${what.deletes === 1 ? 'its twin and keys go' : 'their twins and keys go'} too)`} />
                <Radio value="keep" label={what.deletes === 1 ? 'Keep it in the hub' : 'Keep them in the hub'} />
              </div>
            </Radio.Group>
          )}
          <Fate what={what} keep={keep} />
          {what.dead_letters > 0 && <Note tone="amber">{plural(what.dead_letters, 'dead letter')} of it {what.dead_letters === 1 ? 'goes' : 'go'} too; download them first if they matter.</Note>}
          {what.waiting > 0 && (
            <Note tone="red" title={`${plural(what.waiting, 'signal still waits', 'signals still wait')} for this hub`}>
              They will never be delivered there. {it.state !== 'paused' && <button type="button" className="link-button" onClick={() => pause.mutate()}>Pause instead to keep them.</button>}
            </Note>
          )}
          {remove.isPending && <p role="status" className="dim">Deleting; you may leave, it goes on on the server.</p>}
          <ProblemNote error={remove.error} />
          <ConfirmName name={it.name} action="Delete integration" keep="Keep it" busy={remove.isPending} onCancel={onClose} onConfirm={() => remove.mutate()} />
        </>
      )}
    </Dialog>
  )
}

function Fate({ what, keep }: { what: RemovalPreview; keep: boolean }) {
  return (
    <div className="stack-s small">
      {what.deletes > 0 && <div>{keep ? 'Stay: ' : 'Go: '}<Ids ids={what.deletes_first} total={what.deletes} /></div>}
      {what.leaves > 0 && <div>Stay, because Hubward did not make them: <Ids ids={what.leaves_first} total={what.leaves} /></div>}
    </div>
  )
}

function Ids({ ids, total }: { ids: string[]; total: number }) {
  return <>{ids.slice(0, 5).map((id, n) => <span key={id}>{n > 0 && ', '}<code>{id}</code></span>)}{total > 5 && ` and ${count(total - Math.min(5, ids.length))} more`}</>
}
