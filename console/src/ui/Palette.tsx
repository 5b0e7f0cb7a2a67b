import { Loader, TextInput, useComputedColorScheme, useMantineColorScheme } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { type KeyboardEvent, useEffect, useRef, useState } from 'react'
import { useLocation } from 'wouter'
import { calls } from '../api/calls'
import { may, useRole } from '../api/session'
import { deviceState, integrationState } from '../lib/states'
import { Dialog } from './Dialog'
import { IconSearch } from './icons'
import { type Shown, StateOf } from './State'

interface Hit { key: string; group: string; name: string; note?: string | undefined; shown?: Shown; act: () => void }

/** Find anything, do anything: devices, integrations, pages and commands by a few letters. */
export default function Palette({ pages, onClose }: { pages: { href: string; name: string }[]; onClose: () => void }) {
  const [words, setWords] = useState('')
  const [at, setAt] = useState(0)
  const [, go] = useLocation()
  const list = useRef<HTMLDivElement>(null)
  const { setColorScheme } = useMantineColorScheme()
  const dark = useComputedColorScheme('light') === 'dark'
  const operator = may(useRole(), 'operator')
  const [q] = useDebouncedValue(words.trim(), 150)
  const devices = useQuery({ queryKey: ['find', 'devices', q], queryFn: () => calls.devices({ q, limit: 8 }), enabled: q !== '', placeholderData: (before) => before })
  const integrations = useQuery({ queryKey: ['find', 'integrations', q], queryFn: () => calls.integrations({ q, limit: 5 }), enabled: q !== '', placeholderData: (before) => before })

  const to = (href: string) => () => {
    onClose()
    go(href)
  }
  const commands: Hit[] = [
    ...(operator ? [
      { key: 'add', group: 'Commands', name: 'Add a device', act: to('/devices/new') },
      { key: 'import', group: 'Commands', name: 'Import devices from CSV', act: to('/devices/import') },
      { key: 'new', group: 'Commands', name: 'New integration', act: to('/integrations/new') },
    ] : []),
    { key: 'scheme', group: 'Commands', name: dark ? 'Use light colours' : 'Use dark colours', act: () => { setColorScheme(dark ? 'light' : 'dark'); onClose() } },
    { key: 'password', group: 'Commands', name: 'Change your password', act: to('/settings/you') },
  ]
  const fits = (hit: Hit) => hit.name.toLowerCase().includes(words.trim().toLowerCase())
  const found: Hit[] = q === '' ? [] : [
    ...(devices.data?.items ?? []).map((one) => ({ key: one.id, group: 'Devices', name: one.name, note: one.id, shown: deviceState(one), act: to(`/devices/${one.id}/live`) })),
    ...(integrations.data?.items ?? []).map((one) => ({ key: one.id, group: 'Integrations', name: one.name, note: one.hub, shown: integrationState(one.state), act: to(`/integrations/${one.id}`) })),
  ]
  const hits: Hit[] = [...found, ...pages.map((page) => ({ key: page.href, group: 'Pages', name: page.name, act: to(page.href) })).filter(fits), ...commands.filter(fits)]
  const chosen = Math.min(at, hits.length - 1)
  // What it answers is none of the effect's: newer browsers answer a promise.
  useEffect(() => { list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' }) }, [chosen])

  const press = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0
    if (step !== 0 && hits.length > 0) {
      event.preventDefault()
      setAt((chosen + step + hits.length) % hits.length)
    } else if (event.key === 'Enter' && hits[chosen]) {
      event.preventDefault()
      hits[chosen].act()
    }
  }
  const busy = words.trim() !== q || (q !== '' && (devices.isFetching || integrations.isFetching))
  return (
    <Dialog open onClose={onClose} title="Search and commands" size={560}>
      <TextInput data-autofocus size="md" placeholder="Device, integration, page or command" leftSection={<IconSearch size={18} aria-hidden />} rightSection={busy ? <Loader size={16} aria-hidden /> : undefined}
        value={words} onChange={(e) => { setWords(e.currentTarget.value); setAt(0) }} onKeyDown={press} autoComplete="off" spellCheck={false}
        role="combobox" aria-label="Search" aria-expanded={hits.length > 0} aria-controls="palette-hits" aria-autocomplete="list" aria-activedescendant={hits[chosen] ? `hit-${chosen}` : undefined} />
      <div ref={list} id="palette-hits" className="palette" role="listbox" aria-label="Found" tabIndex={-1}>
        {hits.map((hit, n) => (
          <div key={`${hit.group} ${hit.key}`} id={`hit-${n}`} role="option" aria-selected={n === chosen} className="hit" onMouseMove={() => setAt(n)} onClick={hit.act}>
            <span className="group">{hits[n - 1]?.group === hit.group ? '' : hit.group}</span>
            <span className="name">{hit.name}{hit.note && <code className="dim"> {hit.note}</code>}</span>
            {hit.shown && <StateOf shown={hit.shown} />}
          </div>
        ))}
      </div>
      {hits.length === 0 && !busy && <p className="dim" role="status">Nothing matches.</p>}
    </Dialog>
  )
}
