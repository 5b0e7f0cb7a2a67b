import { Button, Radio } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { calls } from '../../api/calls'
import type { Device } from '../../api/types'
import { dateTime } from '../../lib/format'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { Note, ProblemNote } from '../../ui/Note'
import { Secrets } from '../../ui/Secrets'

export const overlaps = [['86400', 'For 24 hours more'], ['3600', 'For an hour more'], ['604800', 'For 7 days more'], ['0', 'No longer: it ends at once']] as const

/** A new secret, with time to bring it to the device, or without when the old one leaked. */
export function RotateDevice({ device, open, onClose }: { device: Device; open: boolean; onClose: () => void }) {
  const queries = useQueryClient()
  const [overlap, setOverlap] = useState<string>('86400')
  const rotate = useMutation({
    mutationFn: () => calls.rotate(device.id, Number(overlap)),
    onSuccess: () => void queries.invalidateQueries({ queryKey: ['device', device.id] }),
  })
  const close = () => {
    rotate.reset()
    onClose()
  }
  const what = device.kind === 'pycom' ? 'token' : 'secret'
  const made = rotate.data
  return (
    <Dialog open={open} onClose={close} title={made ? `New credentials of ${device.name}` : `Rotate the ${what} of ${device.name}`}>
      {made ? (
        <>
          <Secrets made={made} />
          {made.old_until && <Note title={`The old ${what} counts until ${dateTime(made.old_until)}`}>Give the device the new one before. The settings of the device say whether it was seen with it.</Note>}
          <DialogFoot><Button onClick={close}>I have copied it</Button></DialogFoot>
        </>
      ) : (
        <>
          <Radio.Group label={`How long does the old ${what} count?`} value={overlap} onChange={setOverlap}>
            <div className="stack-s" style={{ marginTop: 8 }}>
              {overlaps.map(([seconds, words]) => <Radio key={seconds} value={seconds} label={words} data-autofocus={seconds === overlap || undefined} />)}
            </div>
          </Radio.Group>
          {overlap === '0' ? <Note tone="amber">The device must get the new {what} before it can connect again. {device.connected ? 'Its connection ends at once.' : ''}</Note>
            : <p className="dim">Both count meanwhile. What the device opened with the old {what} is closed when its time is over.</p>}
          {device.old_until && <Note tone="amber">An older {what} counts still, from the last rotation. It ends now in any case.</Note>}
          <ProblemNote error={rotate.error} />
          <DialogFoot><Button variant="default" onClick={close}>Keep the old one</Button><Button onClick={() => rotate.mutate()} loading={rotate.isPending}>Rotate</Button></DialogFoot>
        </>
      )}
    </Dialog>
  )
}
