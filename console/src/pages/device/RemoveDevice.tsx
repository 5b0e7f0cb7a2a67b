import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation } from 'wouter'
import { calls } from '../../api/calls'
import type { Device } from '../../api/types'
import { count, plural } from '../../lib/format'
import { ConfirmName } from '../../ui/ConfirmName'
import { Dialog } from '../../ui/Dialog'
import { Note, ProblemNote } from '../../ui/Note'
import { Waiting } from '../../ui/Waiting'
import { say } from '../../ui/toast'

const fates: Record<string, string> = { deleted: 'its identity is deleted', left: 'its identity stays (Hubward did not make it)', none: 'it has no identity there' }

export function RemoveDevice({ device, open, onClose }: { device: Device; open: boolean; onClose: () => void }) {
  const [, go] = useLocation()
  const queries = useQueryClient()
  const [sure, setSure] = useState(false)
  const preview = useQuery({ queryKey: ['device-removal', device.id], queryFn: () => calls.deviceRemoval(device.id), enabled: open, staleTime: 0 })
  const remove = useMutation({
    mutationFn: () => calls.removeDevice(device.id, (preview.data?.waiting ?? 0) > 0 && sure),
    onSuccess: (done) => {
      say(removed(done), `${device.name} is removed`)
      go('/devices')
      queries.removeQueries({ queryKey: ['device', device.id] })
      void queries.invalidateQueries()
    },
  })
  const what = preview.data
  return (
    <Dialog open={open} onClose={onClose} title={`Remove ${device.name}`}>
      <ProblemNote error={preview.error} />
      {!what ? <Waiting /> : (
        <>
          <p>Removes {device.name}, its credential and {plural(what.signals, 'stored signal')} from this console{what.integrations.length === 0 ? '.' : ', and:'}</p>
          {what.integrations.length > 0 && <ul className="stack-s">{what.integrations.map((one) => <li key={one.integration}>In <strong>{one.host_name}</strong> ({one.integration}): {fates[one.identity] ?? one.identity} <code>{one.hub_device_id}</code></li>)}</ul>}
          {what.dead_letters > 0 && <Note tone="amber">{plural(what.dead_letters, 'dead letter')} of it {what.dead_letters === 1 ? 'goes' : 'go'} too.</Note>}
          {what.waiting > 0 && (
            <Note tone="red" title={`${count(what.waiting)} ${what.waiting === 1 ? 'signal still waits' : 'signals still wait'} for a hub`}>
              Hubward waits up to 30 s for them. <label><input type="checkbox" checked={sure} onChange={(e) => setSure(e.currentTarget.checked)} /> Discard what is left then</label>
            </Note>
          )}
          <ProblemNote error={remove.error} />
          <ConfirmName name={device.name} action="Remove device" keep="Keep it" busy={remove.isPending} onCancel={onClose} onConfirm={() => remove.mutate()} />
        </>
      )}
    </Dialog>
  )
}

/** What a removal did in the hubs, in a sentence. */
export function removed(done: { deleted: number; already_gone: number; left: string[]; later: string[]; failed: unknown[]; discarded: number }): string {
  const parts = [
    done.deleted > 0 && `${plural(done.deleted, 'identity', 'identities')} deleted`,
    done.already_gone > 0 && `${count(done.already_gone)} were gone already`,
    done.left.length > 0 && `${done.left.length} left in the hub: ${done.left.slice(0, 5).join(', ')}`,
    done.later.length > 0 && `${done.later.length} will be deleted when the hub is back`,
    done.failed.length > 0 && `${done.failed.length} could not be deleted`,
    done.discarded > 0 && `${plural(done.discarded, 'signal')} discarded`,
  ].filter(Boolean)
  return parts.length === 0 ? 'No identity in a hub was concerned.' : `${parts.join(', ')}.`
}
