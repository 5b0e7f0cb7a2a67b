import { Button, Radio, Textarea, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import { useEvents } from '../../api/events'
import { ProblemError } from '../../api/problem'
import { useRole } from '../../api/session'
import type { Credentials } from '../../api/types'
import { value } from '../../lib/format'
import { Secrets } from '../../ui/Secrets'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Card, Page } from '../../ui/Page'
import { SnippetBox } from '../../ui/Snippets'
import { State } from '../../ui/State'

type Choice = 'mqtt' | 'pycom' | 'pycom-token'
const choices: { value: Choice; title: string; text: string }[] = [
  { value: 'mqtt', title: 'Any MQTT device', text: 'A sensor, a controller, a program. It gets an id and a secret.' },
  { value: 'pycom', title: 'Pycom board', text: 'Gets a token of its own; the firmware stays as it is.' },
  { value: 'pycom-token', title: 'Pycom board with a token', text: 'It was on Pybytes: keep its token, so that only the server changes.' },
]

export default function NewDevice() {
  const [made, setMade] = useState<Credentials>()
  return (
    <Page form title={made ? `${made.name} is ready` : 'Add a device'} crumbs={<><Link href="/devices">Devices</Link> / New</>}>
      {made ? <Ready made={made} again={() => setMade(undefined)} /> : <Form onMade={setMade} />}
    </Page>
  )
}

function Form({ onMade }: { onMade: (made: Credentials) => void }) {
  const [choice, choose] = useState<Choice>('mqtt')
  const [name, setName] = useState('')
  const [token, setToken] = useState('')
  const [topics, setTopics] = useState('')
  const [more, setMore] = useState(false)
  const [missing, setMissing] = useState('')
  const viewer = useRole() === 'viewer'
  const queries = useQueryClient()
  const add = useMutation({
    mutationFn: () => calls.addDevice({
      name: name.trim(),
      kind: choice === 'mqtt' ? 'mqtt' : 'pycom',
      ...(choice === 'pycom-token' ? { token: token.trim() } : {}),
      ...(topics.trim() ? { topics: topics.split(/\s+/).filter(Boolean) } : {}),
    }),
    onSuccess: (made) => {
      void queries.invalidateQueries({ queryKey: ['devices'] })
      onMade(made)
    },
  })
  const problem = add.error ? ProblemError.from(add.error) : undefined
  const blame = (field: string) => (problem?.field === field ? sentence(problem.message) : undefined)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (!name.trim()) setMissing('Give it a name, such as greenhouse-1.')
    else {
      setMissing('')
      add.mutate()
    }
  }
  return (
    <form className="card stack" onSubmit={submit} noValidate>
      <Radio.Group label="What is it?" value={choice} onChange={(v) => choose(v as Choice)}>
        <div className="choices" style={{ marginTop: 8 }}>
          {choices.map((one) => (
            <label key={one.value} className="choice">
              <Radio value={one.value} label={<strong>{one.title}</strong>} description={one.text} />
            </label>
          ))}
        </div>
      </Radio.Group>
      <TextInput label="Name" description="Unique, up to 64 characters, none of / + # $. It can be changed later." value={name} onChange={(e) => setName(e.currentTarget.value)} error={missing || blame('name')} autoFocus />
      {choice === 'pycom-token' && <TextInput label="Token" description="From the board's pybytes_config.json, key device_id." value={token} onChange={(e) => setToken(e.currentTarget.value)} error={blame('token')} autoComplete="off" classNames={{ input: 'mono' }} />}
      {more ? (
        <Textarea label="Topics it publishes on" description="Only if it cannot publish on devices/ID/signals/…: its own topics or filters, one a line." value={topics} onChange={(e) => setTopics(e.currentTarget.value)} error={blame('topics')} autosize minRows={2} />
      ) : choice === 'mqtt' && <div><button type="button" className="link-button" onClick={() => setMore(true)}>It publishes on fixed topics of its own</button></div>}
      {problem && !['name', 'token', 'topics'].includes(problem.field ?? '') && <ProblemNote error={add.error} />}
      {problem && ['name', 'token', 'topics'].includes(problem.field ?? '') && <Note tone="red" role="alert" title="What to do">{sentence(problem.remedy)}</Note>}
      {viewer && <Note tone="amber">Needs the operator role. Ask an operator to add one.</Note>}
      <div className="row"><Button type="submit" loading={add.isPending} disabled={viewer}>Add device</Button><Button component={Link} href="/devices" variant="default">Cancel</Button></div>
    </form>
  )
}

function Ready({ made, again }: { made: Credentials; again: () => void }) {
  return (
    <>
      <Card title="Its credentials, shown this once"><Secrets made={made} /></Card>
      <Card title="Send the first signal">
        <div className="stack">
          <SnippetBox device={made} made={made} />
          <FirstSeen id={made.id} name={made.name} />
        </div>
      </Card>
      <div className="row"><Button component={Link} href={`/devices/${made.id}/live`}>Open {made.name}</Button><Button variant="default" onClick={again}>Add another</Button></div>
    </>
  )
}

/** A line that turns from waiting to what was received. */
function FirstSeen({ id, name }: { id: string; name: string }) {
  const [seen, setSeen] = useState<string>()
  const [here, setHere] = useState(false)
  const state = useQuery({ queryKey: ['device', id], queryFn: () => calls.device(id) })
  useEvents({ device: id, types: 'signal,connection', last: '1' }, (events) => {
    for (const { kind, data } of events) {
      if (kind === 'signal') setSeen(value(data.value ?? data.text ?? `${String(data.size)} bytes`))
      if (kind === 'connection') setHere(data.connected === true)
    }
  })
  return (
    <div role="status">
      {seen !== undefined ? <State tone="green">Received {seen}</State> : here || state.data?.connected ? <State tone="blue">{name} is connected, waiting for its signal…</State> : <State tone="blue">Waiting for {name}…</State>}
    </div>
  )
}
