import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import { useSession } from '../../api/session'
import type { Overview } from '../../api/types'
import { Ago } from '../../ui/Ago'
import { IconCircle, IconCircleCheck } from '../../ui/icons'
import { SnippetBox } from '../../ui/Snippets'
import { State } from '../../ui/State'

type First = Overview['first']

/** The administrator exists, or nobody would read this. */
export const stepsDone = (first: First) => 1 + [first.device, first.signal, first.integration, first.accepted].filter(Boolean).length

/** From nothing to a signal in a hub. A line ticks when it happened, not when somebody clicked. */
export function Checklist({ first }: { first: First }) {
  const user = useSession().data?.user
  const next = !first.device ? 'device' : !first.signal ? 'signal' : !first.integration ? 'integration' : 'accepted'
  return (
    <ol>
      <Item done title="1. Create the administrator">You are logged in as {user?.name}</Item>
      <Item done={first.device !== null} next={next === 'device'} title="2. Add a device">
        {first.device ? <Done of={first.device} /> : (
          <div className="row"><Button component={Link} href="/devices/new" size="xs">Add device</Button><span>or <Link href="/devices/import">import a CSV</Link> with your Pycom tokens</span></div>
        )}
      </Item>
      <Item done={first.signal !== null} next={next === 'signal'} title="3. Send its first signal">
        {first.signal ? <Done of={first.signal} verb="came from" /> : next === 'signal' ? <FirstSignal first={first} /> : 'Paste one line, and see it arrive here'}
      </Item>
      <Item done={first.integration !== null} next={next === 'integration'} title="4. Choose where signals go">
        {first.integration ? <Done of={first.integration} /> : next === 'integration'
          ? <div className="stack-s"><span>Your Azure IoT Hub, or the local hub that runs inside Hubward, no account needed</span><div><Button component={Link} href="/integrations/new" size="xs">New integration</Button></div></div>
          : <>Your Azure IoT Hub, or the local hub that runs inside Hubward, no account needed. <Link href="/integrations/new">New integration</Link></>}
      </Item>
      <Item done={first.accepted !== null} next={next === 'accepted'} title="5. See the first signal accepted by the hub">
        {first.accepted ? <Done of={first.accepted} verb="accepted from" /> : next === 'accepted' ? <State tone="blue">Waiting for the hub's word</State> : 'This page shows it the moment the hub says so'}
      </Item>
    </ol>
  )
}

function Item({ done, next, title, children }: { done: boolean; next?: boolean; title: string; children: ReactNode }) {
  return (
    <li className={next ? 'check next' : 'check'} aria-current={next ? 'step' : undefined}>
      {done ? <IconCircleCheck size={21} color="var(--green)" aria-label="Done" role="img" /> : <IconCircle size={21} aria-label="To do" role="img" />}
      <span className="what">{title}</span>
      <div className="more dim">{children}</div>
    </li>
  )
}

function Done({ of, verb = '' }: { of: { at: string; subject: string }; verb?: string }) {
  return <>{verb} {of.subject}, <Ago at={of.at} /></>
}

/** How to send it, for the first device; the secret itself was shown when the device was made. */
function FirstSignal({ first }: { first: First }) {
  const devices = useQuery({ queryKey: ['devices', 'first'], queryFn: () => calls.devices({ limit: 1, sort: 'created_at', order: 'asc' }) })
  const device = devices.data?.items[0]
  if (!device) return null
  return (
    <div className="stack-s">
      <span>Put the secret of <Link href={`/devices/${device.id}/live`}>{device.name}</Link> in the place that is marked:</span>
      <SnippetBox device={device} />
      <div role="status"><State tone="blue">{first.connect ? `${first.connect.subject} is connected, waiting for its signal…` : `Waiting for ${device.name}…`}</State></div>
    </div>
  )
}
