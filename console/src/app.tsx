import { useQueryClient } from '@tanstack/react-query'
import { lazy, Suspense, useEffect } from 'react'
import { Redirect, Route, Switch, useLocation, useSearch } from 'wouter'
import { onSessionEnd } from './api/client'
import { sessionKey, useSession } from './api/session'
import { Shell } from './shell'
import { Guard } from './ui/Guard'
import { Waiting } from './ui/Waiting'

// A page is fetched when it is opened.
const Setup = lazy(() => import('./pages/Setup'))
const Login = lazy(() => import('./pages/Login'))
const Overview = lazy(() => import('./pages/overview/Overview'))
const Devices = lazy(() => import('./pages/devices/Devices'))
const NewDevice = lazy(() => import('./pages/devices/NewDevice'))
const ImportDevices = lazy(() => import('./pages/devices/ImportDevices'))
const Device = lazy(() => import('./pages/device/Device'))
const Live = lazy(() => import('./pages/Live'))
const Integrations = lazy(() => import('./pages/integrations/Integrations'))
const NewIntegration = lazy(() => import('./pages/wizard/Wizard'))
const Integration = lazy(() => import('./pages/integration/Integration'))
const EditIntegration = lazy(() => import('./pages/integration/EditIntegration'))
const Deliveries = lazy(() => import('./pages/deliveries/Deliveries'))
const SignalPage = lazy(() => import('./pages/deliveries/SignalPage'))
const DeadLetters = lazy(() => import('./pages/deadletters/DeadLetters'))
const Alarms = lazy(() => import('./pages/alarms/Alarms'))
const Hubs = lazy(() => import('./pages/hubs/Hubs'))
const Hub = lazy(() => import('./pages/hubs/Hub'))
const Settings = lazy(() => import('./pages/settings/Settings'))

export function App() {
  return (
    <Suspense fallback={<Waiting />}>
      <Switch>
        <Route path="/setup"><Setup /></Route>
        <Route path="/login"><Login /></Route>
        <Route><Inside /></Route>
      </Switch>
    </Suspense>
  )
}

/** Everything that needs a session. Without one: to the login, and back here afterwards. */
function Inside() {
  const session = useSession()
  const queries = useQueryClient()
  const [path, go] = useLocation()
  const search = useSearch()
  const here = path + (search ? `?${search}` : '')
  useEffect(() => {
    onSessionEnd((code) => {
      const had = queries.getQueryData(sessionKey)
      queries.clear()
      queries.setQueryData(sessionKey, null)
      if (had) go(`/login?why=${code === 'session_expired' ? 'expired' : 'ended'}&to=${encodeURIComponent(here)}`, { replace: true })
    })
  }, [here, go, queries])
  if (session.isPending) return <Waiting />
  if (session.isError) return <Unreachable retry={() => void session.refetch()} />
  if (!session.data?.user) return <Redirect to={here === '/' ? '/login' : `/login?to=${encodeURIComponent(here)}`} replace />
  return (
    <Shell>
      <Guard><Suspense fallback={<Waiting />}>
        <Switch>
          <Route path="/"><Overview /></Route>
          <Route path="/devices"><Devices /></Route>
          <Route path="/devices/new"><NewDevice /></Route>
          <Route path="/devices/import"><ImportDevices /></Route>
          <Route path="/devices/:device/*?">{(at) => <Device key={at.device} id={at.device} />}</Route>
          <Route path="/live"><Live /></Route>
          <Route path="/integrations"><Integrations /></Route>
          <Route path="/integrations/new"><NewIntegration /></Route>
          <Route path="/integrations/:id/edit">{(at) => <EditIntegration id={at.id} />}</Route>
          <Route path="/integrations/:id/*?">{(at) => <Integration key={at.id} id={at.id} />}</Route>
          <Route path="/deliveries"><Deliveries /></Route>
          <Route path="/deliveries/:device/:offset">{(at) => <SignalPage device={at.device} offset={at.offset} />}</Route>
          <Route path="/dead-letters"><DeadLetters /></Route>
          <Route path="/alarms"><Alarms /></Route>
          <Route path="/hubs"><Hubs /></Route>
          <Route path="/hubs/:host">{(at) => <Hub host={decodeURIComponent(at.host)} />}</Route>
          <Route path="/settings"><Redirect to="/settings/about" replace /></Route>
          <Route path="/settings/:part">{(at) => <Settings part={at.part} />}</Route>
          <Route><Nothing /></Route>
        </Switch>
      </Suspense></Guard>
    </Shell>
  )
}

function Nothing() {
  return <div className="page"><h1>There is nothing here</h1><p>The address may be old, or something was removed. The menu leads to everything there is.</p></div>
}

function Unreachable({ retry }: { retry: () => void }) {
  useEffect(() => {
    const timer = setInterval(retry, 3000)
    return () => clearInterval(timer)
  })
  return <div className="center-page"><main><h1>The server does not answer</h1><p role="status">Trying again every 3 seconds. Look whether Hubward runs on this address.</p></main></div>
}
