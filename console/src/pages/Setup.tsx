import { Button, PasswordInput, TextInput } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { type FormEvent, useEffect, useState } from 'react'
import { Redirect, useLocation } from 'wouter'
import { calls } from '../api/calls'
import { ProblemError } from '../api/problem'
import { useEnter } from '../api/session'
import { Note, ProblemNote, sentence } from '../ui/Note'
import { CenterPage } from './CenterPage'

/** First start: the one-time link's token stands in the fragment, so it reaches no log. */
export default function Setup() {
  const [token] = useState(() => decodeURIComponent(window.location.hash.slice(1)))
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const [again, setAgain] = useState('')
  const [wrong, setWrong] = useState<Record<string, string>>({})
  const enter = useEnter()
  const [, go] = useLocation()
  const needed = useQuery({ queryKey: ['setup'], queryFn: calls.setupNeeded, staleTime: Infinity })
  const make = useMutation({
    mutationFn: () => calls.setup({ token, name: name.trim(), password }),
    onSuccess: (session) => {
      enter(session)
      go('/', { replace: true })
    },
  })
  // The token leaves the address bar, and with it the history.
  useEffect(() => { if (window.location.hash) window.history.replaceState(null, '', '/setup') }, [])
  if (needed.data && !needed.data.needed && !make.isSuccess) return <Redirect to="/login" replace />

  const problem = make.error ? ProblemError.from(make.error) : undefined
  const submit = (event: FormEvent) => {
    event.preventDefault()
    const found: Record<string, string> = {}
    if (!name.trim()) found.name = 'Choose a name to log in with.'
    if (password.length < 10) found.password = 'Too short: 10 characters at least.'
    else if (password !== again) found.again = 'The two differ.'
    setWrong(found)
    if (Object.keys(found).length === 0) make.mutate()
  }
  return (
    <CenterPage title="Welcome to Hubward">
      <p className="dim">Make the administrator. This link works once; more people can be added later in Settings.</p>
      {!token && <Note tone="amber" title="The one-time token is missing from the address">Open the whole link that <code>hubward up</code> printed when it started. It ends in <code>/setup#</code> and a token; each start makes a new one.</Note>}
      <form className="card stack" onSubmit={submit} noValidate>
        <TextInput label="Name" autoComplete="username" value={name} onChange={(e) => setName(e.currentTarget.value)} error={wrong.name ?? (problem?.field === 'name' ? sentence(problem.message) : undefined)} data-autofocus autoFocus />
        <PasswordInput label="Password" description="10 characters at least; a sentence is easy to keep in mind." autoComplete="new-password" value={password} onChange={(e) => setPassword(e.currentTarget.value)} error={wrong.password ?? (problem?.field === 'password' ? sentence(problem.message) : undefined)} visibilityToggleButtonProps={{ 'aria-label': 'Show password' }} />
        <PasswordInput label="Password again" autoComplete="new-password" value={again} onChange={(e) => setAgain(e.currentTarget.value)} error={wrong.again} visibilityToggleButtonProps={{ 'aria-label': 'Show password again' }} />
        <ProblemNote error={make.error} />
        <Button type="submit" loading={make.isPending} disabled={!token}>Create administrator</Button>
      </form>
    </CenterPage>
  )
}
