import { Button, Textarea, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { calls } from '../../api/calls'
import { ProblemError } from '../../api/problem'
import type { Webhook } from '../../api/types'
import { count, dateTime } from '../../lib/format'
import { Ago } from '../../ui/Ago'
import { CopyBlock } from '../../ui/Copy'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Card, Empty, Facts } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'
import { say } from '../../ui/toast'

/** Who is told of alarms by HTTP. */
export default function Notices() {
  const queries = useQueryClient()
  const asked = useQuery({ queryKey: ['webhook'], queryFn: calls.webhook })
  const [setting, openSet] = useState(false)
  const [removing, openRemove] = useState(false)
  const refresh = () => void queries.invalidateQueries({ queryKey: ['webhook'] })
  const test = useMutation({ mutationFn: calls.testWebhook, onSuccess: (done) => { say(`Taken: HTTP ${done.status} after ${count(done.took_ms)} ms.`); refresh() } })
  const remove = useMutation({ mutationFn: calls.removeWebhook, onSuccess: () => { openRemove(false); refresh() } })
  if (asked.isPending) return <Waiting />
  const it = asked.data ?? undefined
  return (
    <Card title="Webhook" side={<Button size="xs" onClick={() => openSet(true)}>{it ? 'Set another' : 'Set a webhook'}</Button>}>
      <ProblemNote error={asked.error} />
      {!it ? <Empty>Nobody is told of alarms. With a webhook, each that is raised or over is sent to an address of yours as signed JSON.</Empty> : (
        <>
          <Shown it={it} />
          <ProblemNote error={test.error} />
          <div className="row">
            <Button variant="default" loading={test.isPending} onClick={() => test.mutate()}>Send a test</Button>
            <Button variant="default" onClick={() => openRemove(true)}>Remove</Button>
          </div>
        </>
      )}
      <Dialog open={setting} onClose={() => openSet(false)} title="Set a webhook">{setting && <SetWebhook onSet={refresh} onDone={() => openSet(false)} />}</Dialog>
      <Dialog open={removing} onClose={() => openRemove(false)} title="Remove the webhook">
        <p>Nobody is told of alarms then, and what still waits is dropped.</p>
        <ProblemNote error={remove.error} />
        <DialogFoot><Button variant="default" data-autofocus onClick={() => openRemove(false)}>Keep it</Button><Button className="danger-solid" loading={remove.isPending} onClick={() => remove.mutate()}>Remove</Button></DialogFoot>
      </Dialog>
    </Card>
  )
}

function Shown({ it }: { it: Webhook }) {
  return (
    <>
      {it.failing_since && <Note tone="amber" title={`It takes nothing since ${dateTime(it.failing_since)}`}>{sentence(it.last_error ?? '')} Notices wait for it for a day.</Note>}
      <Facts items={[
        ['Target', <code key="t">{it.target}</code>],
        ['Sent', count(it.sent)],
        ['Waiting', count(it.waiting)],
        ['Dropped', count(it.dropped)],
        ['Last sent', <Ago key="l" at={it.last_sent_at} />],
      ]} />
    </>
  )
}

function SetWebhook({ onSet, onDone }: { onSet: () => void; onDone: () => void }) {
  const [url, setUrl] = useState('')
  const [ca, setCa] = useState('')
  const set = useMutation({ mutationFn: () => calls.setWebhook({ url: url.trim(), ...(ca.trim() ? { ca } : {}) }), onSuccess: onSet })
  if (set.data) {
    return (
      <>
        <CopyBlock text={set.data.secret ?? ''} label="secret" />
        <Note tone="amber" title="Copy it now">It signs every notice (HMAC-SHA256 of the body, header <code>X-Hubward-Signature</code>) and is shown this once.</Note>
        <DialogFoot><Button onClick={onDone}>I have copied it</Button></DialogFoot>
      </>
    )
  }
  const problem = set.error ? ProblemError.from(set.error) : undefined
  return (
    <form className="stack" onSubmit={(e: FormEvent) => { e.preventDefault(); set.mutate() }} noValidate>
      <TextInput label="Address" description={<>On a host that the server was started with: <code>--allow-webhook HOST</code>. It may hold a secret, and is never shown again.</>} placeholder="https://alerts.example/hubward" value={url} onChange={(e) => setUrl(e.currentTarget.value)} error={problem?.field === 'url' ? sentence(problem.message) : undefined} autoComplete="off" data-autofocus />
      <Textarea label="Certificate of a private authority" description="PEM; empty for a public one." value={ca} onChange={(e) => setCa(e.currentTarget.value)} error={problem?.field === 'ca' ? sentence(problem.message) : undefined} autosize minRows={2} maxRows={6} classNames={{ input: 'mono' }} />
      {problem && <Note tone="red" role="alert">{sentence(problem.remedy)}</Note>}
      <DialogFoot><Button type="submit" loading={set.isPending}>Set webhook</Button></DialogFoot>
    </form>
  )
}
