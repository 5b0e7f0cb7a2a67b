import { ActionIcon, Menu, useComputedColorScheme, useMantineColorScheme } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { type ComponentType, lazy, type ReactNode, Suspense, useEffect, useState } from 'react'
import { Link, useLocation } from 'wouter'
import { calls } from './api/calls'
import { useChanges } from './api/changes'
import { ProblemError } from './api/problem'
import { useSession } from './api/session'
import type { Overview as OverviewShown } from './api/types'
import { zone } from './lib/format'
import { IconBell, IconBroadcast, IconCloudUpload, IconCpu, IconLayoutDashboard, IconListDetails, IconMailX, IconMenu2, IconMoon, IconSearch, IconServer2, IconSettings, IconSun, IconUser, IconX } from './ui/icons'
import { State } from './ui/State'

interface Place { href: string; name: string; Icon: ComponentType<{ size: number; 'aria-hidden': boolean }> }
const places: Place[] = [
  { href: '/', name: 'Overview', Icon: IconLayoutDashboard },
  { href: '/devices', name: 'Devices', Icon: IconCpu },
  { href: '/live', name: 'Live', Icon: IconBroadcast },
  { href: '/integrations', name: 'Integrations', Icon: IconCloudUpload },
  { href: '/deliveries', name: 'Deliveries', Icon: IconListDetails },
  { href: '/dead-letters', name: 'Dead letters', Icon: IconMailX },
  { href: '/alarms', name: 'Alarms', Icon: IconBell },
  { href: '/hubs', name: 'Hubs', Icon: IconServer2 },
  { href: '/settings', name: 'Settings', Icon: IconSettings },
]

/** What stands around every page: the name, the state of the whole server, the menu. */
export function Shell({ children }: { children: ReactNode }) {
  const [path] = useLocation()
  const [open, setOpen] = useState(false)
  const about = useQuery({ queryKey: ['about'], queryFn: calls.about, staleTime: Infinity })
  const told = useChanges()
  // What changes is told. The space that others leave on the disk is not; and without the stream, whether the server is there.
  const overview = useQuery({ queryKey: ['overview'], queryFn: calls.overview, refetchInterval: told ? 60_000 : 5_000 })
  const lost = overview.isError && [0, 502, 503, 504].includes(ProblemError.from(overview.error).status)
  useEffect(() => {
    setOpen(false)
    window.scrollTo(0, 0)
  }, [path])
  return (
    <div className="shell">
      <a className="skip" href="#main">Skip to the page</a>
      <header className="top">
        <ActionIcon className="menu-button" variant="default" size={40} aria-label={open ? 'Close menu' : 'Open menu'} aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? <IconX size={20} aria-hidden /> : <IconMenu2 size={20} aria-hidden />}
        </ActionIcon>
        <Link className="brand" href="/">Hubward</Link>
        <ServerState health={overview.data?.disk.journal_health} lost={lost} />
        <span className="fill" />
        <Search />
        <SchemeButton />
        <UserMenu />
      </header>
      {lost && <div className="banner" role="status">Connection to the server lost, trying again…</div>}
      {about.data?.openapi && about.data.openapi !== __API__ && <div className="banner" role="status">This page was built for another version of the server. Reload it; if this stays, run <code>make console</code> and build again.</div>}
      <nav className={open ? 'side open' : 'side'} aria-label="Main">
        <ul>{places.map((place) => <PlaceLink key={place.href} place={place} path={path} count={countOf(place.href, overview.data)} />)}</ul>
        <div className="foot">Times in {zone}</div>
      </nav>
      <main className="main" id="main" tabIndex={-1}>{children}</main>
    </div>
  )
}

/** What waits for somebody behind an entry of the menu. */
function countOf(href: string, overview: OverviewShown | undefined): number | undefined {
  if (href === '/dead-letters') return overview?.dead_letters
  return href === '/alarms' ? overview?.alarms.unacknowledged : undefined
}

function PlaceLink({ place: { href, name, Icon }, path, count }: { place: Place; path: string; count: number | undefined }) {
  const here = href === '/' ? path === '/' : path === href || path.startsWith(`${href}/`)
  return (
    <li>
      <Link href={href} aria-current={here ? 'page' : undefined}>
        <Icon size={18} aria-hidden />{name}{count ? <span className="count">{count}</span> : null}
      </Link>
    </li>
  )
}

/** The whole server in a few words; details stand on the overview. */
function ServerState({ health, lost }: { health: string | undefined; lost: boolean }) {
  if (lost) return null
  if (health === 'disk_full') return <State tone="red">Disk full</State>
  if (health === 'limit_reached') return <State tone="red">Journal full</State>
  if (health === 'failed' || health === 'read_only' || health === 'closed') return <State tone="red">Journal stopped</State>
  return <span className="wide-only"><State tone="green">All accepted signals durable</State></span>
}

const Palette = lazy(() => import('./ui/Palette'))

/** Ctrl K (⌘ K) anywhere, or this button. */
function Search() {
  const [open, setOpen] = useState(false)
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== 'k' || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return
      event.preventDefault()
      setOpen((before) => !before)
    }
    window.addEventListener('keydown', press)
    return () => window.removeEventListener('keydown', press)
  }, [])
  return (
    <>
      <button type="button" className="search-button" aria-keyshortcuts="Control+K Meta+K" onClick={() => setOpen(true)}>
        <IconSearch size={16} aria-hidden /><span className="hidden-label">Search and commands</span><span className="words" aria-hidden>Search</span><kbd aria-hidden>Ctrl K</kbd>
      </button>
      {open && <Suspense fallback={null}><Palette pages={places} onClose={() => setOpen(false)} /></Suspense>}
    </>
  )
}

function SchemeButton() {
  const { setColorScheme } = useMantineColorScheme()
  const dark = useComputedColorScheme('light') === 'dark'
  const label = dark ? 'Use light colours' : 'Use dark colours'
  return (
    <ActionIcon variant="default" size={36} aria-label={label} title={label} onClick={() => setColorScheme(dark ? 'light' : 'dark')}>
      {dark ? <IconSun size={18} aria-hidden /> : <IconMoon size={18} aria-hidden />}
    </ActionIcon>
  )
}

function UserMenu() {
  const session = useSession()
  const [, go] = useLocation()
  const user = session.data?.user
  if (!user) return null
  const leave = async () => {
    await calls.logout().catch(() => undefined)
    // A fresh page forgets everything that this user saw.
    window.location.assign('/login')
  }
  return (
    <Menu position="bottom-end" transitionProps={{ duration: 120 }}>
      <Menu.Target>
        <ActionIcon variant="default" size={36} aria-label={`${user.name}, ${user.role}`} title={`${user.name}, ${user.role}`}><IconUser size={18} aria-hidden /></ActionIcon>
      </Menu.Target>
      <Menu.Dropdown aria-label="You">
        <Menu.Item onClick={() => go('/settings/you')}>{user.name} ({user.role})</Menu.Item>
        <Menu.Item onClick={() => void leave()}>Log out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  )
}
