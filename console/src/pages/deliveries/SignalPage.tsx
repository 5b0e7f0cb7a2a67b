import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import { useRefetch } from '../../api/changes'
import { dateTime } from '../../lib/format'
import { ProblemNote } from '../../ui/Note'
import { Page } from '../../ui/Page'
import { CopyButton } from '../../ui/Copy'
import { Deliveries } from '../../ui/SignalTable'
import { TraceCard } from '../../ui/TraceCard'
import { Waiting } from '../../ui/Waiting'

/** One signal: its way, its bytes. */
export default function SignalPage({ device, offset }: { device: string; offset: string }) {
  const asked = useQuery({ queryKey: ['signal', device, Number(offset), ''], queryFn: () => calls.signal(device, offset) })
  useRefetch({ device, types: 'delivery' }, ['signal', device, Number(offset)])
  const crumbs = <><Link href="/deliveries">Deliveries</Link> / {offset}</>
  if (asked.isPending) return <Waiting />
  if (!asked.data) return <Page title="Signal" crumbs={crumbs}><ProblemNote error={asked.error} /></Page>
  const it = asked.data
  return (
    <Page title={`Signal of ${it.device}`} crumbs={crumbs} sub={<><span>{dateTime(it.received_at)}</span><Deliveries signal={it} /></>}
      actions={<><Button component={Link} href={`/devices/${it.device_id}/live`} variant="default">Open {it.device}</Button><CopyButton text={JSON.stringify(it, null, 2)} label="as JSON" /></>}>
      <section className="card" aria-label="Trace and body"><TraceCard device={device} offset={Number(offset)} page /></section>
    </Page>
  )
}
