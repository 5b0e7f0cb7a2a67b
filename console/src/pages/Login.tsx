import { Button, PasswordInput, TextInput } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { useLocation, useSearchParams } from 'wouter'
import { calls } from '../api/calls'
import { useEnter } from '../api/session'
import { Note, ProblemNote } from '../ui/Note'
import { CenterPage } from './CenterPage'

/** Where a login may lead: a page of the console, nowhere else. */
const inside = (to: string | null) => (to && /^\/(?![/\\])/.test(to) ? to : '/')

export default function Login() {
  const [search] = useSearchParams()
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const [, go] = useLocation()
  const enter = useEnter()
  const setup = useQuery({ queryKey: ['setup'], queryFn: calls.setupNeeded, staleTime: Infinity })
  const login = useMutation({
    mutationFn: () => calls.login({ name: name.trim(), password }),
    onSuccess: (session) => {
      enter(session)
      go(inside(search.get('to')), { replace: true })
    },
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    login.mutate()
  }
  const why = search.get('why')
  return (
    <CenterPage title="Log in to Hubward">
      {why === 'expired' && <Note tone="amber" title="Your session ended" role="status">It was unused for too long, or somebody ended it. Log in to go on where you were.</Note>}
      {why === 'ended' && <Note tone="amber" title="You were logged out" role="status">Log in to go on where you were.</Note>}
      {setup.data?.needed && <Note title="There is no user yet">Open the link that <code>hubward up</code> printed when it started: it ends in <code>/setup#</code> and a token.</Note>}
      <form className="card stack" onSubmit={submit} noValidate>
        <TextInput label="Name" autoComplete="username" value={name} onChange={(e) => setName(e.currentTarget.value)} autoFocus />
        <PasswordInput label="Password" autoComplete="current-password" value={password} onChange={(e) => setPassword(e.currentTarget.value)} visibilityToggleButtonProps={{ 'aria-label': 'Show password' }} />
        <ProblemNote error={login.error} />
        <Button type="submit" loading={login.isPending}>Log in</Button>
      </form>
    </CenterPage>
  )
}
