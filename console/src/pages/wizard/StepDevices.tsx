import { Button } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useRef, useState } from 'react'
import { useLocation } from 'wouter'
import { calls } from '../../api/calls'
import { ProblemError } from '../../api/problem'
import { count, plural } from '../../lib/format'
import { MessagePreview } from '../../ui/MessagePreview'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Card } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'
import { Clashes } from './Clashes'
import { DevicePicker } from './DevicePicker'
import type { DraftState } from './draft'
import { MessageFields } from './MessageFields'

/** Step 3: name, topic, devices, and one message as the hub will get it. */
export function StepDevices({ draft }: { draft: DraftState }) {
  const { plan, change, found } = draft
  const [, go] = useLocation()
  const queries = useQueryClient()
  const [wrong, setWrong] = useState<Record<string, string>>({})
  const key = useRef(crypto.getRandomValues(new Uint32Array(4)).join('-'))
  // The preview shows a real signal where one of the chosen has sent any.
  const latest = useQuery({ queryKey: ['devices', 'latest'], queryFn: () => calls.devices({ limit: 1, sort: 'last_seen', order: 'desc' }) }).data?.items[0]?.name
  const shown = latest !== undefined && (plan.all || plan.devices.length === 0 || plan.devices.includes(latest)) ? { device: latest } : {}
  const [asked] = useDebouncedValue({ ...shown, topic: plan.topic || 'Temp', body: plan.body, device_id_template: plan.template, host_name: found?.host_name, ...(plan.all || plan.devices.length === 0 ? { all_devices: true } : { devices: plan.devices }) }, 300)
  const preview = useQuery({ queryKey: ['preview', asked], queryFn: () => calls.preview(asked as Parameters<typeof calls.preview>[0]), placeholderData: (before) => before, retry: false })
  const total = useQuery({ queryKey: ['devices', 'count'], queryFn: () => calls.devices({ limit: 1 }) })
  const create = useMutation({
    mutationFn: async () => calls.draftCreate(await draft.ensure(), {
      name: plan.name.trim(), topic: plan.topic, body: plan.body, transport: plan.transport, device_id_template: plan.template,
      all_devices: plan.all, devices: plan.all ? [] : plan.devices.map((device) => ({ device })), on_existing: plan.existing,
      // Of a hub that was made here its size is known. Basic tiers are not among those that Hubward paces by.
      ...(plan.service === 'azure' && !plan.have && plan.tier !== 'B1' ? { tier: plan.tier, units: plan.units } : {}),
    }, key.current),
    onSuccess: (made) => {
      void queries.invalidateQueries({ queryKey: ['integrations'] })
      void queries.invalidateQueries({ queryKey: ['overview'] })
      void queries.invalidateQueries({ queryKey: ['drafts'] })
      go(`/integrations/${made.id}`)
    },
    // Another try after a change is another request.
    onError: () => { key.current = crypto.getRandomValues(new Uint32Array(4)).join('-') },
  })
  const problem = create.error ? ProblemError.from(create.error) : undefined
  const previewProblem = preview.error ? ProblemError.from(preview.error) : undefined
  const blame = (field: string) => wrong[field] ?? [problem, previewProblem].filter((one) => one?.field === field).map((one) => sentence(one!.message))[0]
  const chosen = plan.all ? (total.data?.total ?? 0) : plan.devices.length
  const submit = (event: FormEvent) => {
    event.preventDefault()
    const missing: Record<string, string> = {}
    if (!plan.name.trim()) missing.name = 'Give it a name, such as PyComTemp.'
    if (!plan.topic) missing.topic = 'Give it a topic, such as Temp.'
    if (!plan.all && plan.devices.length === 0) missing.devices = 'Choose at least one device, or all.'
    setWrong(missing)
    if (Object.keys(missing).length === 0) create.mutate()
  }
  return (
    <form onSubmit={submit} noValidate className="split" style={{ gridTemplateColumns: undefined }}>
      <div className="stack">
        <Card><MessageFields plan={plan} change={change} blame={blame} names={preview.data?.names.map((one) => one.hub_device_id).slice(0, 3) ?? []} /></Card>
        <Card title="Devices">
          <DevicePicker all={plan.all} chosen={plan.devices} onChange={(part) => change({ ...(part.all === undefined ? {} : { all: part.all }), ...(part.chosen === undefined ? {} : { devices: part.chosen }) })} />
          {wrong.devices && <p className="field-error" role="alert">{wrong.devices}</p>}
        </Card>
        {preview.data && preview.data.clashes > 0 && chosen > 0 && <Clashes preview={preview.data} existing={plan.existing} onChange={(existing) => change({ existing })} />}
        {problem && <ProblemNote error={create.error} />}
        {total.data?.total === 0 && <Note tone="amber" title="There are no devices yet">With &quot;all devices, future ones too&quot; the integration can be made now, and each device joins when it is added.</Note>}
        <div className="row-wide">
          <Button variant="default" onClick={() => change({ step: 1 })}>Back</Button>
          <Button type="submit" loading={create.isPending}>{chosen > 0 ? `Create ${plural(chosen, 'device')}` : 'Create'}</Button>
        </div>
      </div>
      <section className="card" aria-label="As the hub will receive it" style={{ position: 'sticky', top: 68 }}>
        <h2>As the hub will receive it</h2>
        {preview.isPending ? <Waiting /> : preview.data ? <MessagePreview message={preview.data.message} /> : <ProblemNote error={preview.error} />}
        {preview.data && preview.data.total > 0 && <p className="dim small" style={{ marginTop: 8 }}>{count(preview.data.total)} {preview.data.total === 1 ? 'identity' : 'identities'} in {found?.hub ?? 'the hub'}.</p>}
      </section>
    </form>
  )
}
