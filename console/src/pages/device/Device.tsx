import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense, useState } from 'react'
import { Link, Redirect, Route, Switch } from 'wouter'
import { calls } from '../../api/calls'
import type { Device as DeviceFacts } from '../../api/types'
import { deviceState } from '../../lib/states'
import { Ago } from '../../ui/Ago'
import { Dialog } from '../../ui/Dialog'
import { Note, ProblemNote } from '../../ui/Note'
import { Page, RoleButton, Tabs } from '../../ui/Page'
import { SnippetBox } from '../../ui/Snippets'
import { StateOf } from '../../ui/State'
import { Waiting } from '../../ui/Waiting'
import { Button } from '@mantine/core'
import { DeviceLive } from './DeviceLive'

const DeviceSignals = lazy(() => import('./DeviceSignals'))
const DeviceConnections = lazy(() => import('./DeviceConnections'))
const DeviceSettings = lazy(() => import('./DeviceSettings'))

export default function Device({ id }: { id: string }) {
  const device = useQuery({ queryKey: ['device', id], queryFn: () => calls.device(id) })
  const [snippets, setSnippets] = useState(false)
  if (device.isPending) return <Waiting />
  if (!device.data) return <Page title="Device" crumbs={<Link href="/devices">Devices</Link>}><ProblemNote error={device.error} /></Page>
  const it = device.data
  const at = `/devices/${id}`
  return (
    <Page title={it.name} crumbs={<><Link href="/devices">Devices</Link> / {it.name}</>} sub={<><StateOf shown={deviceState(it)} /><About it={it} /></>}
      actions={<><Button variant="default" onClick={() => setSnippets(true)}>Connect…</Button><RoleButton role="operator" variant="default" disabled={!it.connected} why="It is not connected" onClick={() => void calls.disconnect(id)}>Disconnect</RoleButton></>}>
      <Tabs label="Parts of this device" tabs={[{ href: `${at}/live`, name: 'Live' }, { href: `${at}/signals`, name: 'Signals' }, { href: `${at}/connections`, name: 'Connections' }, { href: `${at}/settings`, name: 'Settings' }]} />
      <Suspense fallback={<Waiting />}>
        <Switch>
          <Route path={`${at}/live`}><DeviceLive device={it} /></Route>
          <Route path={`${at}/signals`}><DeviceSignals device={it} /></Route>
          <Route path={`${at}/connections`}><DeviceConnections device={it} /></Route>
          <Route path={`${at}/settings`}><DeviceSettings device={it} /></Route>
          <Route><Redirect to={`${at}/live`} replace /></Route>
        </Switch>
      </Suspense>
      <Dialog open={snippets} onClose={() => setSnippets(false)} title={`Connect ${it.name}`} size={720}>
        <Note>The secret was shown when it was made; put it in the marked place. Lost? Settings, Rotate makes a new one.</Note>
        <SnippetBox device={it} />
      </Dialog>
    </Page>
  )
}

function About({ it }: { it: DeviceFacts }) {
  const board = it.told.info
  const parts = [it.kind === 'pycom' ? 'Pycom board' : 'MQTT device', board?.device, board?.firmware && `firmware ${String(board.firmware)}`].filter(Boolean).map(String)
  return <><span>{parts.join(' · ')}</span>{!it.connected && it.last_seen && <span>· seen <Ago at={it.last_seen} /></span>}</>
}
