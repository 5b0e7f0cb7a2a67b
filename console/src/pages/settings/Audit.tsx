import { Button, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useInfiniteQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { calls } from '../../api/calls'
import { dateTime } from '../../lib/format'
import { ProblemNote } from '../../ui/Note'
import { Card, Empty } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'

/** Who changed what, from where. */
export default function Audit() {
  const [filter, setFilter] = useState({ who: '', what: '' })
  const [asked] = useDebouncedValue(filter, 300)
  const list = useInfiniteQuery({
    queryKey: ['audit', asked],
    queryFn: ({ pageParam }) => calls.audit({ ...asked, limit: 50, ...(pageParam ? { cursor: pageParam } : {}) }),
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
    placeholderData: (before) => before,
  })
  if (list.isPending) return <Waiting />
  const rows = list.data?.pages.flatMap((page) => page.items) ?? []
  return (
    <Card title="Audit log" side={
      <>
        <TextInput size="xs" aria-label="Who" placeholder="Who" value={filter.who} onChange={(e) => setFilter({ ...filter, who: e.currentTarget.value })} w={130} />
        <TextInput size="xs" aria-label="What" placeholder="What, such as device" value={filter.what} onChange={(e) => setFilter({ ...filter, what: e.currentTarget.value })} w={170} />
      </>}>
      <ProblemNote error={list.error} />
      {rows.length === 0 ? <Empty>Nothing matches.</Empty> : (
        <div className="table-scroll" tabIndex={0} role="region" aria-label="Audit log">
          <table className="plain">
            <thead><tr><th>When</th><th>Who</th><th>From</th><th>What</th><th>Subject</th></tr></thead>
            <tbody>
              {rows.map((one) => (
                <tr key={one.id}>
                  <td className="nowrap">{dateTime(one.at)}</td>
                  <td>{one.who}</td>
                  <td>{one.remote ? <code>{one.remote}</code> : <span className="dim">–</span>}</td>
                  <td><code>{one.what}</code></td>
                  <td title={one.detail ? JSON.stringify(one.detail) : undefined}>{one.subject}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {list.hasNextPage && <Button mt={8} size="xs" variant="default" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>Older</Button>}
        </div>
      )}
    </Card>
  )
}
