import { Radio, Select, TextInput } from '@mantine/core'
import { useState } from 'react'
import type { Integration } from '../../api/types'

type Transport = Integration['transport']
interface Values { name: string; topic: string; body: 'raw' | 'json'; transport: Transport; template: string }
interface Props { plan: Values; change: (part: Partial<Values>) => void; blame: (field: string) => string | undefined; names: string[] }

export const transports = [
  { value: 'amqp', label: 'AMQP, port 5671' },
  { value: 'amqp-ws', label: 'AMQP over WebSocket, port 443' },
  { value: 'mqtt', label: 'MQTT, port 8883' },
  { value: 'mqtt-ws', label: 'MQTT over WebSocket, port 443' },
  { value: 'https', label: 'HTTPS, port 443' },
]

/** What an integration is called and what its messages look like; the wizard and the edit page share it. */
export function MessageFields({ plan, change, blame, names }: Props) {
  const [advanced, setAdvanced] = useState(plan.transport !== 'amqp' || plan.template !== '{name}-{id}')
  return (
    <div className="stack">
      <TextInput label="Name" description="Shown in this console only." value={plan.name} onChange={(e) => change({ name: e.currentTarget.value })} error={blame('name')} autoComplete="off" />
      <TextInput label="Messages topic" description={<>Each message carries it as property <code>topic</code>, so a hub route can ask <code>topic = &apos;Temp&apos;</code>. Placeholders: {'{name} {id} {signal} {mqtt_topic}'}</>} value={plan.topic} onChange={(e) => change({ topic: e.currentTarget.value })} error={blame('topic')} classNames={{ input: 'mono' }} autoComplete="off" spellCheck={false} />
      <Radio.Group label="Body" value={plan.body} onChange={(v) => change({ body: v as 'raw' | 'json' })}>
        <div className="stack-s" style={{ marginTop: 4 }}>
          <Radio value="raw" label="As the device sent it, byte for byte" />
          <Radio value="json" label="Decoded JSON" description={<code>{'{"signal":0,"payload":28.1}'}</code>} />
        </div>
      </Radio.Group>
      {advanced ? (
        <>
          <Select label="Transport" description="How messages travel to the hub." allowDeselect={false} data={transports} value={plan.transport} onChange={(v) => change({ transport: (v ?? 'amqp') as Transport })} error={blame('transport')} />
          <TextInput label="Identity names" description="How each device is called in the hub: {name}, {id}. Fixed once it is made." value={plan.template} onChange={(e) => change({ template: e.currentTarget.value })} error={blame('device_id_template')} classNames={{ input: 'mono' }} autoComplete="off" spellCheck={false} />
        </>
      ) : (
        <div className="row-wide">
          <span className="dim small">AMQP, identities named <code>{plan.template}</code></span>
          <button type="button" className="link-button" onClick={() => setAdvanced(true)}>Advanced</button>
        </div>
      )}
      {names.length > 0 && <p className="small dim">In the hub: {names.map((name, n) => <span key={name}>{n > 0 && ', '}<code>{name}</code></span>)}</p>}
    </div>
  )
}
