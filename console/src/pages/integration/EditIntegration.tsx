import { Button, Checkbox, Textarea } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { Link, useLocation } from 'wouter'
import { calls } from '../../api/calls'
import { ProblemError } from '../../api/problem'
import type { Bound, Integration, IntegrationChange } from '../../api/types'
import { parse, remedies } from '../../lib/connection-string'
import { count, plural } from '../../lib/format'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Card, Page } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'
import { removed } from '../device/RemoveDevice'
import { DevicePicker } from '../wizard/DevicePicker'
import { HubSize, type Size } from './HubSize'
import { MessageFields } from '../wizard/MessageFields'
import { say } from '../../ui/toast'

export default function EditIntegration({ id }: { id: string }) {
  // A form begins with what is so now, and stays: of an older answer it would undo what was saved since.
  const now = { staleTime: Infinity, gcTime: 0 }
  const asked = useQuery({ queryKey: ['edit', id], queryFn: () => calls.integration(id), ...now })
  const bound = useQuery({ queryKey: ['edit-bound', id], queryFn: () => everyBound(id), ...now })
  if (asked.isPending || bound.isPending) return <Waiting />
  if (!asked.data || !bound.data) return <Page form title="Edit" crumbs={<Link href="/integrations">Integrations</Link>}><ProblemNote error={asked.error ?? bound.error} /></Page>
  return <Form it={asked.data} bound={bound.data} />
}

async function everyBound(id: string): Promise<Bound[]> {
  const all: Bound[] = []
  let cursor: string | undefined
  do {
    const page = await calls.bound(id, { limit: 1000, ...(cursor ? { cursor } : {}) })
    all.push(...page.items)
    cursor = page.next ?? undefined
  } while (cursor)
  return all
}

function Form({ it, bound }: { it: Integration; bound: Bound[] }) {
  const before = { name: it.name, topic: it.topic, body: it.body as 'raw' | 'json', transport: it.transport, template: it.device_id_template }
  const names = bound.filter((one) => one.state !== 'removing').map((one) => one.device)
  const [plan, setPlan] = useState(before)
  const said = { tier: it.tier ?? '', units: it.units ?? 1 }
  const [size, setSize] = useState<Size>(said)
  const [all, setAll] = useState(it.all_devices)
  const [chosen, setChosen] = useState(names)
  const [string, setString] = useState('')
  const [discard, setDiscard] = useState(false)
  const [, go] = useLocation()
  const queries = useQueryClient()
  const parsed = string.trim() ? parse(string) : undefined
  const leaving = all ? [] : names.filter((name) => !chosen.includes(name))
  const joining = all ? [] : chosen.filter((name) => !names.includes(name))
  const waiting = bound.filter((one) => leaving.includes(one.device)).reduce((sum, one) => sum + one.backlog, 0)
  const resized = size.tier !== said.tier || (size.tier !== '' && size.units !== said.units)
  const save = useMutation({
    mutationFn: () => {
      const change: IntegrationChange = {}
      if (plan.name.trim() !== it.name) change.name = plan.name.trim()
      if (plan.topic !== it.topic) change.topic = plan.topic
      if (plan.body !== it.body) change.body = plan.body
      if (plan.transport !== it.transport) change.transport = plan.transport
      if (plan.template !== it.device_id_template) change.device_id_template = plan.template
      if (resized) Object.assign(change, size.tier === '' ? { tier: '' } : size)
      if (all !== it.all_devices) change.all_devices = all
      if (joining.length > 0) change.add_devices = joining.map((device) => ({ device }))
      if (leaving.length > 0) Object.assign(change, { remove_devices: leaving, discard_backlog: discard })
      if (parsed?.ok) change.connection_string = parsed.text
      return calls.editIntegration(it.id, change)
    },
    onSuccess: (done) => {
      say(done.removed ? removed(done.removed) : 'Signals that wait go out with the new settings.', 'Saved')
      for (const key of ['hubs', 'integration', 'bound', 'integrations', 'devices', 'device']) void queries.invalidateQueries({ queryKey: [key] })
      go(`/integrations/${it.id}`)
    },
  })
  const problem = save.error ? ProblemError.from(save.error) : undefined
  const blame = (field: string) => (problem?.field === field ? sentence(problem.message) : undefined)
  const changed = JSON.stringify(plan) !== JSON.stringify(before) || resized || all !== it.all_devices || joining.length > 0 || leaving.length > 0 || Boolean(string.trim())
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (changed && (!parsed || parsed.ok)) save.mutate()
  }
  return (
    <Page form title={`Edit ${it.name}`} crumbs={<><Link href="/integrations">Integrations</Link> / <Link href={`/integrations/${it.id}`}>{it.name}</Link> / Edit</>}>
      <form className="stack" onSubmit={submit} noValidate>
        <Card><MessageFields plan={plan} change={(part) => setPlan({ ...plan, ...part })} blame={blame} names={[]} /></Card>
        <Card title="Devices">
          <DevicePicker all={all} chosen={chosen} onChange={(part) => { if (part.all !== undefined) setAll(part.all); if (part.chosen) setChosen(part.chosen) }} />
          {(joining.length > 0 || leaving.length > 0) && (
            <div className="stack-s" style={{ marginTop: 12 }} role="status">
              {joining.length > 0 && <Note>{plural(joining.length, 'device joins', 'devices join')}: {some(joining)}.</Note>}
              {leaving.length > 0 && <Note tone="amber">{plural(leaving.length, 'device leaves', 'devices leave')}: {some(leaving)}. {leaving.length === 1 ? 'Its identity' : 'Their identities'} in the hub {leaving.length === 1 ? 'is' : 'are'} deleted, if Hubward made {leaving.length === 1 ? 'it' : 'them'}.
                {waiting > 0 && <Checkbox mt={6} checked={discard} onChange={(e) => setDiscard(e.currentTarget.checked)} label={`Discard ${plural(waiting, 'signal')} that still wait; else Hubward waits up to 30 s for them`} />}
              </Note>}
            </div>
          )}
        </Card>
        <Card title="Size of the hub"><HubSize size={size} onChange={setSize} blame={blame} /></Card>
        <Card title="Connection string">
          <div className="stack">
            <Textarea label="New connection string" description={<>Only when its key was regenerated, and of the same hub: <code>{it.host_name}</code>. Empty: the old one stays. Signals go on meanwhile with the devices&apos; own keys.</>}
              value={string} onChange={(e) => setString(e.currentTarget.value)} error={parsed && !parsed.ok ? parsed.mistake.message : blame('connection_string')} autosize minRows={2} classNames={{ input: 'mono' }} autoComplete="off" spellCheck={false} />
            {parsed?.ok && <Note tone="green">{parsed.is.host}, policy {parsed.is.policy}, key of {parsed.is.keyLength} characters.</Note>}
            {parsed && !parsed.ok && <Note tone="red" title="What to do">{parsed.mistake.remedy}</Note>}
          </div>
        </Card>
        {problem && <Note tone="red" role="alert" title={sentence(problem.message)}>{remedies[problem.code] ?? sentence(problem.remedy)} <span className="small dim">Code <code>{problem.code}</code></span></Note>}
        <div className="row"><Button type="submit" loading={save.isPending} aria-disabled={!changed || undefined} title={changed ? undefined : 'Nothing is changed'}>Save</Button><Button component={Link} href={`/integrations/${it.id}`} variant="default">Cancel</Button></div>
      </form>
    </Page>
  )
}

const some = (names: string[]) => `${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${count(names.length - 5)} more` : ''}`
