import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { calls } from '../../api/calls'
import { bytes, count, zone } from '../../lib/format'
import { Note, ProblemNote } from '../../ui/Note'
import { Card, Facts } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'

export default function About() {
  const about = useQuery({ queryKey: ['about'], queryFn: calls.about, staleTime: Infinity })
  const journal = useQuery({ queryKey: ['journal'], queryFn: calls.journal })
  const overview = useQuery({ queryKey: ['overview'], queryFn: calls.overview })
  if (about.isPending) return <Waiting />
  if (!about.data) return <ProblemNote error={about.error} />
  const it = about.data
  const j = journal.data
  const disk = overview.data?.disk
  const code = (text: string | null | undefined) => text && <code>{text}</code>
  return (
    <div className="split even">
      <Card title="Server">
        <div className="stack">
          <Facts items={[
            ['Version', it.version], ['Data folder', code(it.data)], ['Console and API', code(it.http)], ['MQTT', code(it.mqtt)], ['MQTT over TLS', code(it.mqtts)], ['MQTT over WebSocket', code(it.ws)], ['The same over TLS', code(it.wss)],
            ['Reachable at', it.reachable_at.join(', ')], ['Times shown in', zone], ['Licence', 'MIT or Apache-2.0'], ['API', <a key="a" href="/api/openapi.json">OpenAPI document</a>],
          ]} />
          {it.insecure_http && <Note tone="amber">HTTP is open beyond this machine without TLS; passwords travel in clear text.</Note>}
          <div><Button variant="default" size="xs" onClick={() => { localStorage.removeItem('hubward-checklist-hidden'); window.location.assign('/') }}>Show the first steps again</Button></div>
        </div>
      </Card>
      <Card title="Journal">
        {j && <Facts items={[
          ['On disk', `${bytes(j.bytes)} of ${bytes(j.limit_bytes)}`], ['Segments', count(j.segments)], ['Records since start', count(j.records)], ['Oldest offset', count(j.oldest)], ['Durable up to', count(j.durable)],
          ['Free on disk', disk && disk.free_bytes !== null ? bytes(disk.free_bytes) : undefined], ['Id', code(j.id)],
        ]} />}
        <ProblemNote error={journal.error} />
      </Card>
    </div>
  )
}
