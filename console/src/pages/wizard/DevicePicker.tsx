import { Button, Checkbox, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useMutation, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { calls } from '../../api/calls'
import type { DeviceRow } from '../../api/types'
import { count } from '../../lib/format'
import { deviceState } from '../../lib/states'
import { IconSearch } from '../../ui/icons'
import { Empty } from '../../ui/Page'
import { StateOf } from '../../ui/State'
import { type Column, VirtualTable } from '../../ui/VirtualTable'

interface Props { all: boolean; chosen: string[]; onChange: (part: { all?: boolean; chosen?: string[] }) => void }
const LISTED = 500

/** Which devices take part: some by name, all that a search finds, or all with those to come. */
export function DevicePicker({ all, chosen, onChange }: Props) {
  const [words, setWords] = useState('')
  const [q] = useDebouncedValue(words, 200)
  const list = useQuery({ queryKey: ['devices', 'pick', q], queryFn: () => calls.devices({ ...(q ? { q } : {}), limit: LISTED, sort: 'name' }), placeholderData: (before) => before })
  const found = list.data?.items ?? []
  const total = list.data?.total ?? found.length
  const picked = new Set(chosen)
  const everything = useMutation({
    mutationFn: () => allNames(q),
    onSuccess: (names) => onChange({ chosen: [...new Set([...chosen, ...names])] }),
  })
  const toggle = (name: string) => onChange({ chosen: picked.has(name) ? chosen.filter((one) => one !== name) : [...chosen, name] })
  const columns: Column<DeviceRow>[] = [
    { key: 'name', title: 'Device', width: 'minmax(150px, 2fr)', cell: (d) => <label className="row" style={{ flexWrap: 'nowrap', cursor: 'pointer' }}><input type="checkbox" checked={picked.has(d.name)} onChange={() => toggle(d.name)} style={{ width: 18, height: 18, accentColor: '#0b5cad' }} />{d.name}</label> },
    { key: 'state', title: 'State', width: '130px', cell: (d) => <StateOf shown={deviceState(d)} /> },
    { key: 'in', title: 'Integrations', width: 'minmax(90px, 1fr)', cell: (d) => <span className="dim">{d.integration_names.join(', ') || '–'}</span> },
  ]
  return (
    <div className="stack">
      <Checkbox label="All devices, also all future devices" checked={all} onChange={(e) => onChange({ all: e.currentTarget.checked })} />
      {!all && (
        <>
          <div className="row">
            <TextInput aria-label="Search devices" placeholder="Search" leftSection={<IconSearch size={16} aria-hidden />} value={words} onChange={(e) => setWords(e.currentTarget.value)} className="grow" style={{ minWidth: 160 }} onKeyDown={(e) => { if (e.key === 'Enter') e.preventDefault() }} />
            <Button variant="default" size="sm" loading={everything.isPending} onClick={() => everything.mutate()} disabled={total === 0}>Select all {count(total)} found</Button>
            {chosen.length > 0 && <Button variant="default" size="sm" onClick={() => onChange({ chosen: [] })}>Clear</Button>}
          </div>
          {found.length === 0 ? <Empty>{q ? 'Nothing matches.' : 'No devices yet.'}</Empty> : <div className="picker"><VirtualTable label="Devices to choose" columns={columns} rows={found} total={total} rowKey={(d) => d.id} /></div>}
          <p className="dim small" role="status">{count(chosen.length)} chosen{total > found.length ? `; the first ${count(found.length)} of ${count(total)} are listed, search for others` : ''}</p>
        </>
      )}
    </div>
  )
}

async function allNames(q: string): Promise<string[]> {
  const names: string[] = []
  let cursor: string | undefined
  do {
    const page = await calls.devices({ ...(q ? { q } : {}), limit: 1000, sort: 'name', ...(cursor ? { cursor } : {}) })
    names.push(...page.items.map((one) => one.name))
    cursor = page.next ?? undefined
  } while (cursor)
  return names
}
