import { Button, Select } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import type { Integration } from '../../api/types'
import { duration } from '../../lib/format'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { ProblemNote, sentence } from '../../ui/Note'
import { State } from '../../ui/State'

/** Devices offered by name; a fleet is tested by one of them. */
const OFFERED = 100

/** Sends one marked message as a device, and waits for the hub's word. */
export function TestMessage({ it, open, onClose }: { it: Integration; open: boolean; onClose: () => void }) {
  const [device, setDevice] = useState<string | null>(null)
  const devices = useQuery({ queryKey: ['bound', it.id, 'names'], queryFn: () => calls.bound(it.id, { limit: OFFERED }), enabled: open })
  const send = useMutation({ mutationFn: (name: string) => calls.test(it.id, name) })
  const names = devices.data?.items.map((one) => one.device) ?? []
  const chosen = device ?? names[0]
  const close = () => {
    send.reset()
    onClose()
  }
  return (
    <Dialog open={open} onClose={close} title="Send test message">
      <p>A small JSON message, marked <code>hubward-test=true</code>, takes the way of the device&apos;s signals. Hubward waits up to 30 s for the hub&apos;s word. Nobody&apos;s data is touched.</p>
      <Select label="As device" searchable allowDeselect={false} data={names} value={chosen ?? null} onChange={setDevice} comboboxProps={{ withinPortal: true }} />
      <div role="status" className="stack-s">
        {send.isPending && <State tone="blue">Waiting for the hub…</State>}
        {send.data?.map((one) => (
          <div key={one.device} className="row">
            {one.accepted ? <State tone="green">Accepted</State> : <State tone="red">Not accepted</State>}
            <span>{one.device}{one.delay_ms !== null && one.accepted ? `, after ${duration(one.delay_ms)}` : ''}{one.error ? `: ${sentence(one.error)}` : ''}</span>
            {one.message_id && <code>{one.message_id}</code>}
          </div>
        ))}
      </div>
      <ProblemNote error={send.error} />
      {send.data?.some((one) => one.accepted) && <p className="dim">It stands among the <Link href={`/deliveries?integration=${encodeURIComponent(it.name)}`}>deliveries</Link>, marked as a test.</p>}
      <DialogFoot>
        <Button variant="default" onClick={close}>Close</Button>
        <Button loading={send.isPending} disabled={!chosen} onClick={() => chosen && send.mutate(chosen)} data-autofocus>{send.data ? 'Send another' : 'Send'}</Button>
      </DialogFoot>
    </Dialog>
  )
}
