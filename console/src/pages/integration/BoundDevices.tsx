import { Button, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useInfiniteQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import type { Bound, Integration } from '../../api/types'
import { count } from '../../lib/format'
import { bindingState } from '../../lib/states'
import { IconSearch } from '../../ui/icons'
import { ProblemNote, sentence } from '../../ui/Note'
import { Card, Empty, RoleButton } from '../../ui/Page'
import { StateOf } from '../../ui/State'
import { useLocation } from 'wouter'

/** Rows at a time; more on demand. */
const PAGE = 50

export function BoundDevices({ it }: { it: Integration }) {
  const [words, setWords] = useState('')
  const [q] = useDebouncedValue(words, 200)
  const [, go] = useLocation()
  const list = useInfiniteQuery({
    queryKey: ['bound', it.id, q],
    queryFn: ({ pageParam }) => calls.bound(it.id, { ...(q ? { q } : {}), limit: PAGE, ...(pageParam ? { cursor: pageParam } : {}) }),
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
    placeholderData: (before) => before,
  })
  const rows = list.data?.pages.flatMap((page) => page.items) ?? []
  return (
    <Card title={`Devices (${count(it.device_count)})`} side={<RoleButton role="operator" size="xs" variant="default" onClick={() => go(`/integrations/${it.id}/edit`)}>Add or remove</RoleButton>}>
      {it.device_count > 10 && <TextInput aria-label="Search devices of this integration" placeholder="Search" leftSection={<IconSearch size={16} aria-hidden />} value={words} onChange={(e) => setWords(e.currentTarget.value)} mb={8} />}
      <ProblemNote error={list.error} />
      {list.data && rows.length === 0 ? <Empty>{q ? 'Nothing matches.' : it.all_devices ? 'Each device joins when it is added.' : 'No devices yet.'}</Empty> : (
        <div className="table-scroll" tabIndex={0} role="region" aria-label="Devices of this integration">
          <table className="plain">
            <thead><tr><th>Device</th><th>Identity in the hub</th><th>State</th><th className="num">Delivered</th><th className="num">Waiting</th></tr></thead>
            <tbody>{rows.map((one) => <Row key={one.device_id} one={one} />)}</tbody>
          </table>
          {list.hasNextPage && <Button mt={8} variant="default" size="xs" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>More</Button>}
        </div>
      )}
    </Card>
  )
}

function Row({ one }: { one: Bound }) {
  return (
    <tr>
      <td><Link href={`/devices/${one.device_id}/live`}>{one.device}</Link></td>
      <td><code>{one.hub_device_id}</code>{!one.made_by_us && <div className="small dim">adopted</div>}</td>
      <td><StateOf shown={bindingState(one.state)} />{one.last_error && one.state !== 'delivering' && <div className="small dim">{sentence(one.last_error)}</div>}</td>
      <td className="num">{count(one.delivered)}</td>
      <td className="num">{count(one.backlog)}</td>
    </tr>
  )
}
