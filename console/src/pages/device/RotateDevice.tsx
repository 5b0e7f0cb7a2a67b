import { Button } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { calls } from '../../api/calls'
import type { Device } from '../../api/types'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { ProblemNote } from '../../ui/Note'
import { Secrets } from '../../ui/Secrets'

export function RotateDevice({ device, open, onClose }: { device: Device; open: boolean; onClose: () => void }) {
  const rotate = useMutation({ mutationFn: () => calls.rotate(device.id) })
  const close = () => {
    rotate.reset()
    onClose()
  }
  return (
    <Dialog open={open} onClose={close} title={rotate.data ? `New credentials of ${device.name}` : `Rotate the ${device.kind === 'pycom' ? 'token' : 'secret'} of ${device.name}`}>
      {rotate.data ? (
        <>
          <Secrets made={rotate.data} />
          <DialogFoot><Button onClick={close}>I have copied it</Button></DialogFoot>
        </>
      ) : (
        <>
          <p>The device must get the new {device.kind === 'pycom' ? 'token' : 'secret'} before it can connect again. {device.connected ? 'Its connection ends at once.' : ''}</p>
          <ProblemNote error={rotate.error} />
          <DialogFoot><Button variant="default" onClick={close}>Keep the old one</Button><Button onClick={() => rotate.mutate()} loading={rotate.isPending} data-autofocus>Rotate</Button></DialogFoot>
        </>
      )}
    </Dialog>
  )
}
