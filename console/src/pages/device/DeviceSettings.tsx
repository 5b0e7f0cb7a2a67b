import { Button, Textarea, TextInput } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import { ProblemError } from '../../api/problem'
import type { Device } from '../../api/types'
import { count, dateTime } from '../../lib/format'
import { bindingState } from '../../lib/states'
import { Ago } from '../../ui/Ago'
import { IconTrash } from '../../ui/icons'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Card, Empty, Facts, RoleButton } from '../../ui/Page'
import { StateOf } from '../../ui/State'
import { RemoveDevice } from './RemoveDevice'
import { RotateDevice } from './RotateDevice'
import { Silence } from './Silence'
import { say } from '../../ui/toast'

export default function DeviceSettings({ device }: { device: Device }) {
  const [open, setOpen] = useState<'rotate' | 'remove'>()
  return (
    <>
      <div className="split even">
        <Names key={device.name} device={device} />
        <Card title="What it told">{<Told device={device} />}</Card>
      </div>
      <Card title="Integrations">
        {device.integrations.length === 0 ? <Empty action={<Button component={Link} href="/integrations" variant="default">Integrations</Button>}>Its signals stay on this server.</Empty> : (
          <div className="table-scroll">
            <table className="plain">
              <thead><tr><th>Integration</th><th>Identity in the hub</th><th>State</th><th className="num">Delivered</th><th className="num">Waiting</th></tr></thead>
              <tbody>
                {device.integrations.map((one) => (
                  <tr key={one.integration_id}>
                    <td><Link href={`/integrations/${one.integration_id}`}>{one.integration}</Link></td>
                    <td><code>{one.hub_device_id}</code></td>
                    <td><StateOf shown={bindingState(one.state)} />{one.last_error && <div className="small dim">{sentence(one.last_error)}</div>}</td>
                    <td className="num">{count(one.delivered)}</td>
                    <td className="num">{count(one.waiting)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Card>
      <Card title="Credential">
        {device.old_until && <div style={{ marginBottom: 12 }}><Note tone={device.still_on_old ? 'amber' : 'green'} title={`The old ${device.kind === 'pycom' ? 'token' : 'secret'} counts until ${dateTime(device.old_until)}`}>{device.still_on_old ? `${device.name} was not seen with the new one yet.` : `${device.name} uses the new one.`}</Note></div>}
        <div className="row-wide">
          <p className="dim grow">{device.kind === 'pycom' ? 'Its token is client id and password.' : <>It logs in as <code>{device.username ?? device.id}</code> with its secret; only a hash is kept here.</>}</p>
          <RoleButton role="operator" variant="default" onClick={() => setOpen('rotate')}>{device.kind === 'pycom' ? 'Rotate token' : 'Rotate secret'}</RoleButton>
        </div>
      </Card>
      <Silence device={device.id} />
      <Card title="Remove">
        <div className="row-wide">
          <p className="dim grow">Takes it away here, and its identities in your hubs. You see first what goes.</p>
          <RoleButton role="operator" variant="outline" color="red.9" leftSection={<IconTrash size={16} aria-hidden />} onClick={() => setOpen('remove')} className="danger">Remove device</RoleButton>
        </div>
      </Card>
      <RotateDevice device={device} open={open === 'rotate'} onClose={() => setOpen(undefined)} />
      <RemoveDevice device={device} open={open === 'remove'} onClose={() => setOpen(undefined)} />
    </>
  )
}

function Names({ device }: { device: Device }) {
  const [name, setName] = useState(device.name)
  const [topics, setTopics] = useState(device.topics.join('\n'))
  const queries = useQueryClient()
  const save = useMutation({
    mutationFn: () => calls.editDevice(device.id, { name: name.trim(), topics: topics.split(/\s+/).filter(Boolean) }),
    onSuccess: () => {
      say('Saved.')
      void queries.invalidateQueries({ queryKey: ['device', device.id] })
      void queries.invalidateQueries({ queryKey: ['devices'] })
    },
  })
  const problem = save.error ? ProblemError.from(save.error) : undefined
  const changed = name.trim() !== device.name || topics.split(/\s+/).filter(Boolean).join() !== device.topics.join()
  return (
    <Card title="Name and topics">
      <form className="stack" onSubmit={(e) => { e.preventDefault(); save.mutate() }}>
        <TextInput label="Name" description="Identities that exist in hubs keep theirs." value={name} onChange={(e) => setName(e.currentTarget.value)} error={problem?.field === 'name' ? sentence(problem.message) : undefined} />
        {device.kind === 'mqtt' && <Textarea label="Topics of its own" description={<>One a line. Empty: <code>devices/{device.id}/signals/#</code>.</>} value={topics} onChange={(e) => setTopics(e.currentTarget.value)} error={problem?.field === 'topics' ? sentence(problem.message) : undefined} autosize minRows={2} classNames={{ input: 'mono' }} />}
        {problem && problem.field !== 'name' && problem.field !== 'topics' && <ProblemNote error={save.error} />}
        <div><RoleButton role="operator" disabled={!changed} why="Nothing is changed" loading={save.isPending} onClick={() => save.mutate()}>Save</RoleButton></div>
      </form>
    </Card>
  )
}

function Told({ device }: { device: Device }) {
  const { info, network, battery, scan } = device.told
  const others = info ? Object.entries(info).filter(([key]) => !['at', 'device', 'firmware'].includes(key)).map(([key, told]) => [key.replaceAll('_', ' '), String(told)] as [string, string]) : []
  return (
    <Facts items={[
      ['Device id', <code key="id">{device.id}</code>],
      ['Kind', device.kind === 'pycom' ? 'Pycom board' : 'MQTT device'],
      ['Added', dateTime(device.created_at)],
      ['Last seen', device.connected ? 'now' : <Ago key="seen" at={device.last_seen} />],
      ['Signals', count(device.signals)],
      ['Board', info?.device ? String(info.device) : undefined],
      ['Firmware', info?.firmware ? String(info.firmware) : undefined],
      ...others,
      ['Battery', battery ? <>{battery.level} %, <Ago at={battery.at} /></> : undefined],
      ['Network', network ? <>{network.ip}, <code>{network.mac}</code>, <Ago at={network.at} /></> : undefined],
      ['Networks seen', scan ? <>{scan.networks.length}, <Ago at={scan.at} /></> : undefined],
    ]} />
  )
}
