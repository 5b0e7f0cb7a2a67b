import { Button, TextInput } from '@mantine/core'
import { useState } from 'react'
import { DialogFoot } from './Dialog'

interface Props { name: string; action: string; keep: string; busy: boolean; onCancel: () => void; onConfirm: () => void }

/** The end of a dangerous dialog: type the name. A button that is not ready says why. */
export function ConfirmName({ name, action, keep, busy, onCancel, onConfirm }: Props) {
  const [typed, setTyped] = useState('')
  const ready = typed.trim() === name
  const why = ready ? undefined : `Type ${name} first`
  return (
    <form className="stack" onSubmit={(e) => { e.preventDefault(); if (ready && !busy) onConfirm() }}>
      <TextInput label={`Type ${name} to confirm`} value={typed} onChange={(e) => setTyped(e.currentTarget.value)} data-autofocus autoFocus autoComplete="off" spellCheck={false} />
      <DialogFoot>
        <Button variant="default" onClick={onCancel}>{keep}</Button>
        <Button type="submit" className={ready ? 'danger-solid' : undefined} variant={ready ? 'filled' : 'default'} aria-disabled={!ready || undefined} title={why} aria-description={why} loading={busy}>{action}</Button>
      </DialogFoot>
    </form>
  )
}
