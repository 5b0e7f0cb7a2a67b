import { Button } from '@mantine/core'
import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query'
import { Link, useSearchParams } from 'wouter'
import { calls } from '../../api/calls'
import { useEvents } from '../../api/events'
import type { Alarm } from '../../api/types'
import { dateTime } from '../../lib/format'
import { alarmState } from '../../lib/states'
import { Ago } from '../../ui/Ago'
import { ProblemNote, sentence } from '../../ui/Note'
import { Empty, Page, RoleButton } from '../../ui/Page'
import { StateOf } from '../../ui/State'
import { Waiting } from '../../ui/Waiting'

const views = [['open', 'Open'], ['cleared', 'Over'], ['all', 'All']] as const
type View = (typeof views)[number][0]
const only = { types: 'alarm' }

/** What needs somebody's eye: since when, why, and what to do. */
export default function Alarms() {
  const [search, setSearch] = useSearchParams()
  const view: View = views.find(([key]) => key === search.get('state'))?.[0] ?? 'open'
  const queries = useQueryClient()
  const list = useInfiniteQuery({
    queryKey: ['alarms', view],
    queryFn: ({ pageParam }) => calls.alarms({ state: view, limit: 50, ...(pageParam ? { cursor: pageParam } : {}) }),
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
  })
  const refresh = () => {
    void queries.invalidateQueries({ queryKey: ['alarms'] })
    void queries.invalidateQueries({ queryKey: ['overview'] })
  }
  useEvents(only, refresh)
  const acknowledge = useMutation({ mutationFn: (id: string) => calls.acknowledgeAlarm(id), onSuccess: refresh })
  if (list.isPending) return <Waiting />
  const rows = list.data?.pages.flatMap((page) => page.items) ?? []
  return (
    <Page title="Alarms" sub="What needs somebody's eye, and what to do about it"
      actions={views.map(([key, name]) => <Button key={key} size="xs" variant="default" aria-pressed={view === key} onClick={() => setSearch(key === 'open' ? {} : { state: key }, { replace: true })}>{name}</Button>)}>
      <ProblemNote error={list.error ?? acknowledge.error} />
      {rows.length === 0 ? <div className="card"><Empty>{view === 'open' ? 'Nothing needs you. What does would be here with the reason and what to do.' : 'There are none.'}</Empty></div> : (
        <>
          <ul className="plain-list stack-s" aria-label="Alarms">
            {rows.map((alarm) => <AlarmCard key={alarm.id} alarm={alarm} busy={acknowledge.isPending && acknowledge.variables === alarm.id} onAcknowledge={() => acknowledge.mutate(alarm.id)} />)}
          </ul>
          {list.hasNextPage && <Button variant="default" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>Show more</Button>}
        </>
      )}
    </Page>
  )
}

function AlarmCard({ alarm, busy, onAcknowledge }: { alarm: Alarm; busy: boolean; onAcknowledge: () => void }) {
  return (
    <li className="card">
      <div className="row-wide">
        <h2>{alarm.title}</h2>
        <div className="row">
          <StateOf shown={alarmState(alarm)} />
          {!alarm.acknowledged_at && !alarm.cleared_at && <RoleButton role="operator" size="xs" variant="default" loading={busy} onClick={onAcknowledge}>Acknowledge</RoleButton>}
        </div>
      </div>
      <p>{sentence(alarm.cause)}</p>
      <p><strong>What to do:</strong> {sentence(alarm.remedy)}</p>
      <div className="small dim">
        Since {dateTime(alarm.since)}, <Ago at={alarm.since} />
        {alarm.device && <>. Device {alarm.device_id ? <Link href={`/devices/${alarm.device_id}`}>{alarm.device}</Link> : alarm.device}</>}
        {alarm.integration && <>. Integration {alarm.integration_id ? <Link href={`/integrations/${alarm.integration_id}`}>{alarm.integration}</Link> : alarm.integration}</>}
        {alarm.acknowledged_at && <>. Acknowledged by {alarm.acknowledged_by} <Ago at={alarm.acknowledged_at} /></>}
        {alarm.cleared_at && <>. Over <Ago at={alarm.cleared_at} /></>}.
      </div>
    </li>
  )
}
