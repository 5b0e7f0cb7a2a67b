import { lazy, Suspense } from 'react'
import { may, useRole } from '../../api/session'
import { Note } from '../../ui/Note'
import { Page, Tabs } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'

const Users = lazy(() => import('./Users'))
const Tokens = lazy(() => import('./Tokens'))
const Sessions = lazy(() => import('./Sessions'))
const Keys = lazy(() => import('./Keys'))
const Limits = lazy(() => import('./Limits'))
const Audit = lazy(() => import('./Audit'))
const Notices = lazy(() => import('./Notices'))
const About = lazy(() => import('./About'))
const You = lazy(() => import('./You'))

const parts = [['you', 'You'], ['sessions', 'Sessions'], ['users', 'Users'], ['tokens', 'Tokens'], ['keys', 'Keys'], ['limits', 'Limits'], ['notices', 'Notices'], ['audit', 'Audit'], ['about', 'About']] as const

export default function Settings({ part }: { part: string }) {
  const admin = may(useRole(), 'admin')
  const onlyAdmin = ['users', 'tokens', 'keys', 'notices', 'audit'].includes(part)
  return (
    <Page title="Settings">
      <Tabs label="Settings" tabs={parts.map(([key, name]) => ({ href: `/settings/${key}`, name }))} />
      {onlyAdmin && !admin ? <Note tone="amber">Needs the admin role.</Note> : (
        <Suspense fallback={<Waiting />}>
          {part === 'users' ? <Users /> : part === 'tokens' ? <Tokens /> : part === 'sessions' ? <Sessions /> : part === 'keys' ? <Keys /> : part === 'limits' ? <Limits /> : part === 'notices' ? <Notices /> : part === 'audit' ? <Audit /> : part === 'you' ? <You /> : <About />}
        </Suspense>
      )}
    </Page>
  )
}
