import { Button, PasswordInput } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { calls } from '../../api/calls'
import { useSession } from '../../api/session'
import { dateTime } from '../../lib/format'
import { ProblemNote } from '../../ui/Note'
import { Card, Facts } from '../../ui/Page'
import { say } from '../../ui/toast'

export default function You() {
  const session = useSession().data
  const [old, setOld] = useState('')
  const [fresh, setFresh] = useState('')
  const change = useMutation({
    mutationFn: () => calls.changePassword({ old, new: fresh }),
    onSuccess: () => {
      setOld('')
      setFresh('')
      say('Your password is changed; your other sessions ended.')
    },
  })
  return (
    <div className="split even">
      <Card title="You">
        <Facts items={[['Name', session?.user?.name], ['Role', session?.user?.role], ['Logged in since', session?.created_at && dateTime(session.created_at)], ['Session ends', session?.expires_at && dateTime(session.expires_at)]]} />
      </Card>
      <Card title="Change password">
        <form className="stack" onSubmit={(e: FormEvent) => { e.preventDefault(); change.mutate() }} noValidate>
          <PasswordInput label="Old password" autoComplete="current-password" value={old} onChange={(e) => setOld(e.currentTarget.value)} visibilityToggleButtonProps={{ 'aria-label': 'Show old password' }} />
          <PasswordInput label="New password" description="10 characters at least." autoComplete="new-password" value={fresh} onChange={(e) => setFresh(e.currentTarget.value)} visibilityToggleButtonProps={{ 'aria-label': 'Show new password' }} />
          <ProblemNote error={change.error} />
          <div><Button type="submit" loading={change.isPending} disabled={!old || !fresh}>Change password</Button></div>
        </form>
      </Card>
    </div>
  )
}
