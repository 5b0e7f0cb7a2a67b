import { Button, Select } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import { ProblemError } from '../../api/problem'
import { count, plural } from '../../lib/format'
import { ConfirmName } from '../../ui/ConfirmName'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { IconCloudUpload, IconRefresh, IconTrash } from '../../ui/icons'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { RoleButton } from '../../ui/Page'
import { say } from '../../ui/toast'
import type { ChosenDevices } from './choice'
import { RotateMany } from './RotateMany'

/** What can be done with many devices at once. */
export function ChosenBar({ chosen, total, all, onAll, onClear }: { chosen: ChosenDevices; total: number; all: boolean; onAll: () => void; onClear: () => void }) {
  const [open, setOpen] = useState<'add' | 'rotate' | 'remove'>()
  if (chosen.size === 0) return null
  const done = () => {
    setOpen(undefined)
    onClear()
  }
  return (
    <div className="card chosen-bar" role="region" aria-label="Chosen devices">
      <strong role="status">{count(chosen.size)} chosen</strong>
      {chosen.size < total && <Button size="xs" variant="subtle" loading={all} onClick={onAll}>Choose all {count(total)} found</Button>}
      <span className="grow" />
      <RoleButton role="operator" size="xs" leftSection={<IconCloudUpload size={15} aria-hidden />} onClick={() => setOpen('add')}>Add to an integration</RoleButton>
      <RoleButton role="operator" size="xs" variant="default" leftSection={<IconRefresh size={15} aria-hidden />} onClick={() => setOpen('rotate')}>Rotate secrets</RoleButton>
      <RoleButton role="operator" size="xs" variant="default" className="danger" leftSection={<IconTrash size={15} aria-hidden />} onClick={() => setOpen('remove')}>Remove</RoleButton>
      <Button size="xs" variant="default" onClick={onClear}>Clear</Button>
      <Dialog open={open === 'add'} onClose={() => setOpen(undefined)} title={`Add ${plural(chosen.size, 'device')} to an integration`}><Add chosen={chosen} onDone={done} onClose={() => setOpen(undefined)} /></Dialog>
      <RotateMany chosen={chosen} open={open === 'rotate'} onDone={done} onClose={() => setOpen(undefined)} />
      <Dialog open={open === 'remove'} onClose={() => setOpen(undefined)} title={`Remove ${plural(chosen.size, 'device')}`}><Remove chosen={chosen} onDone={done} onClose={() => setOpen(undefined)} /></Dialog>
    </div>
  )
}

function Add({ chosen, onDone, onClose }: { chosen: ChosenDevices; onDone: () => void; onClose: () => void }) {
  const queries = useQueryClient()
  const [to, choose] = useState<string | null>(null)
  const list = useQuery({ queryKey: ['integrations', 'names'], queryFn: () => calls.integrations({ limit: 100 }) })
  const items = list.data?.items ?? []
  const chosenOne = items.find((one) => one.id === to)
  const add = useMutation({
    mutationFn: () => calls.editIntegration(to!, { add_devices: [...chosen.keys()].map((device) => ({ device })) }),
    onSuccess: (it) => {
      say(`${plural(chosen.size, 'device')} now ${chosen.size === 1 ? 'sends' : 'send'} to ${it.name}; identities are made while you go on.`)
      void queries.invalidateQueries()
      onDone()
    },
  })
  if (list.data && items.length === 0) return <p>There is no integration yet. <Link href="/integrations/new">Make one</Link>, and choose the devices there.</p>
  return (
    <>
      <Select label="Integration" placeholder="Choose one" data={items.map((one) => ({ value: one.id, label: `${one.name} (${one.hub})` }))} value={to} onChange={choose} data-autofocus searchable nothingFoundMessage="None of this name" />
      {chosenOne?.all_devices && <Note>{chosenOne.name} takes all devices by itself; nothing is to be added.</Note>}
      <p className="dim">Each gets an identity in the hub. Those that are in it already stay as they are. What they sent before stays here.</p>
      <ProblemNote error={add.error} />
      <DialogFoot><Button variant="default" onClick={onClose}>Cancel</Button><Button loading={add.isPending} aria-disabled={!to || undefined} title={to ? undefined : 'Choose an integration first'} onClick={() => { if (to) add.mutate() }}>Add {plural(chosen.size, 'device')}</Button></DialogFoot>
    </>
  )
}

/** One after the other, so that it can be stopped and gone on with; one that is gone already counts as removed. */
function Remove({ chosen, onDone, onClose }: { chosen: ChosenDevices; onDone: () => void; onClose: () => void }) {
  const queries = useQueryClient()
  const [gone, setGone] = useState(0)
  const [failed, setFailed] = useState<string[]>([])
  const remove = useMutation({
    mutationFn: async () => {
      const wrong: string[] = []
      let done = 0
      for (const [id, name] of chosen) {
        try {
          await calls.removeDevice(id, false)
        } catch (error) {
          const problem = ProblemError.from(error)
          if (problem.status !== 404) wrong.push(`${name}: ${problem.message}`)
        }
        done += 1
        setGone(done)
        setFailed([...wrong])
      }
      return wrong
    },
    onSettled: () => void queries.invalidateQueries(),
    onSuccess: (wrong) => {
      if (wrong.length > 0) return
      say(`${plural(chosen.size, 'device')} removed.`)
      onDone()
    },
  })
  return (
    <>
      <p>Removes {[...chosen.values()].slice(0, 5).join(', ')}{chosen.size > 5 && ` and ${count(chosen.size - 5)} more`}: their credentials, their stored signals in this console, and the identities that Hubward made for them in hubs. Signals that still wait are sent first, for up to 30 s each.</p>
      {(remove.isPending || gone > 0) && <div className="bar-outer" role="progressbar" aria-label="Removed" aria-valuemin={0} aria-valuemax={chosen.size} aria-valuenow={gone}><div className="bar-inner" style={{ width: `${(100 * gone) / chosen.size}%` }} /></div>}
      {failed.length > 0 && <Note tone="red" role="alert" title={`${plural(failed.length, 'device')} could not be removed`}><ul>{failed.slice(0, 5).map((one) => <li key={one}>{sentence(one)}</li>)}</ul>{failed.length > 5 && <p>and {count(failed.length - 5)} more</p>}</Note>}
      <ConfirmName name={plural(chosen.size, 'device')} action={`Remove ${plural(chosen.size, 'device')}`} keep="Keep them" busy={remove.isPending} onCancel={onClose} onConfirm={() => remove.mutate()} />
    </>
  )
}
