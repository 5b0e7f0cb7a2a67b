import { Link } from 'wouter'
import type { Integration } from '../../api/types'
import { count, dateTime, duration, plural } from '../../lib/format'
import { Ago } from '../../ui/Ago'
import { sentence } from '../../ui/Note'
import { Card, Facts, Tile } from '../../ui/Page'
import { rate } from '../overview/Overview'
import { transports } from '../wizard/MessageFields'

export function Figures({ it }: { it: Integration }) {
  return (
    <div className="tiles">
      <Tile label="Delivered" value={count(it.delivered)} />
      <Tile label="Rate, last minute" value={rate(it.rate_per_s)} />
      <Tile label="Delay p50 / p99" value={it.delay_ms ? both(it.delay_ms.p50, it.delay_ms.p99) : '–'} />
      <Tile label="Waiting on disk" value={count(it.waiting)} note={it.oldest_waiting_at && <>oldest <Ago at={it.oldest_waiting_at} /></>} />
      <Tile label="Dead letters" value={count(it.dead_letters)} note={it.dead_letters > 0 && <Link href={`/dead-letters?integration=${encodeURIComponent(it.name)}`}>Look</Link>} />
    </div>
  )
}

/** "84 / 310 ms": one unit where it is the same. */
function both(half: number, most: number): string {
  const [a, b] = [duration(half), duration(most)]
  return a.endsWith(' ms') && b.endsWith(' ms') ? `${a.slice(0, -3)} / ${b}` : `${a} / ${b}`
}

/** The fields of the original summary, and the rest. */
export function Details({ it }: { it: Integration }) {
  return (
    <Card title="Integration details">
      <Facts items={[
        ['Service', 'Microsoft Azure'],
        ['Azure IoT Hub', it.hub],
        ['Hostname', <Link key="h" href={`/hubs/${encodeURIComponent(it.host_name)}`} className="mono">{it.host_name}</Link>],
        ['Tier and units', it.tier ? `${it.tier}, ${plural(it.units ?? 1, 'unit')}` : <Link key="s" href={`/integrations/${it.id}/edit`}>not said</Link>],
        ['Messages topic', <code key="t">{it.topic}</code>],
        ['Body', it.body === 'raw' ? 'as the device sent it, byte for byte' : 'decoded JSON'],
        ['Transport', transports.find((one) => one.value === it.transport)?.label ?? it.transport],
        ['Devices count', `${count(it.device_count)}${it.all_devices ? ', and all future ones' : ''}`],
        ['Creation date', dateTime(it.created_at)],
        ['Policy', <code key="p">{it.policy}</code>],
        ['Identity names', <code key="n">{it.device_id_template}</code>],
        ['Last error', it.last_error ? sentence(it.last_error) : 'none'],
      ]} />
    </Card>
  )
}
