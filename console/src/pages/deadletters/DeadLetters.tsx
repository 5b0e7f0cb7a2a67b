import { Button } from '@mantine/core'
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { Link, useSearchParams } from 'wouter'
import { calls } from '../../api/calls'
import type { DeadLetter, DeadLetterGroup, Selection } from '../../api/types'
import { bytes, count, dateTime, plural } from '../../lib/format'
import { Ago } from '../../ui/Ago'
import { IconDownload } from '../../ui/icons'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Card, Empty, Page, RoleButton } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'
import { DiscardDialog } from './DiscardDialog'
import { LetterDialog } from './LetterDialog'
import { say } from '../../ui/toast'

const size = (selection: Selection, groups: DeadLetterGroup[]) => selection.ids?.length
  ?? groups.filter((one) => (!selection.integration || one.integration === selection.integration) && (!selection.code || one.code === selection.code)).reduce((sum, one) => sum + one.count, 0)

/** What hubs refused for good, grouped by reason, with the bytes kept. */
export default function DeadLetters() {
  const [search, setSearch] = useSearchParams()
  const queries = useQueryClient()
  const [discarding, discard] = useState<Selection>()
  const [opened, open] = useState<DeadLetter>()
  const [picked, setPicked] = useState<Set<string>>(new Set())
  const filter = { integration: search.get('integration') ?? undefined, code: search.get('code') ?? undefined }
  const groups = useQuery({ queryKey: ['dead-letter-groups'], queryFn: calls.deadLetterGroups })
  const list = useInfiniteQuery({
    queryKey: ['dead-letters', filter],
    queryFn: ({ pageParam }) => calls.deadLetters({ ...used(filter), order: 'desc', limit: 50, ...(pageParam ? { cursor: pageParam } : {}) }),
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
  })
  const refresh = () => {
    setPicked(new Set())
    for (const key of ['dead-letter-groups', 'dead-letters', 'overview', 'integration']) void queries.invalidateQueries({ queryKey: [key] })
  }
  const retry = useMutation({
    mutationFn: (selection: Selection) => calls.retryDeadLetters(selection),
    onSuccess: (done) => {
      say(done.done > 0 ? `${plural(done.done, 'signal was', 'signals were')} accepted by the hub.` : 'None was accepted.')
      refresh()
    },
  })
  if (groups.isPending || list.isPending) return <Waiting />
  const rows = list.data?.pages.flatMap((page) => page.items) ?? []
  const all = groups.data ?? []
  const ids = [...picked]
  return (
    <Page title="Dead letters" sub="Signals that a hub refuses for good, with the reason"
      actions={rows.length > 0 && <Button component="a" href={`/api/v1/deadletters/export?${new URLSearchParams(used(filter))}`} download="dead-letters.ndjson" variant="default" leftSection={<IconDownload size={16} aria-hidden />}>Download</Button>}>
      <ProblemNote error={groups.error ?? list.error} />
      {all.length === 0 && rows.length === 0 ? <div className="card"><Empty>None. Signals that a hub refuses for good would be here with the reason.</Empty></div> : (
        <>
          <div className="stack-s">
            {all.map((group) => (
              <Group key={`${group.integration}/${group.code}`} group={group} chosen={filter.integration === group.integration && filter.code === group.code}
                onShow={() => setSearch(filter.code === group.code && filter.integration === group.integration ? {} : { integration: group.integration, code: group.code }, { replace: true })}
                onRetry={() => retry.mutate({ all: true, integration: group.integration, code: group.code })} busy={retry.isPending}
                onDiscard={() => discard({ all: true, integration: group.integration, code: group.code })} />
            ))}
          </div>
          {retry.data && retry.data.failed.length > 0 && <Note tone="red" role="status" title={`${plural(retry.data.failed.length, 'signal')} failed again`}>{sentence(problemOf(retry.data.failed[0]!).message)} {sentence(problemOf(retry.data.failed[0]!).remedy)}</Note>}
          <ProblemNote error={retry.error} />
          <Card title={filter.code || filter.integration ? 'Chosen' : 'All'} side={ids.length > 0 && (
            <>
              <RoleButton role="operator" size="xs" loading={retry.isPending} onClick={() => retry.mutate({ ids })}>Retry {count(ids.length)}</RoleButton>
              <RoleButton role="operator" size="xs" variant="default" onClick={() => discard({ ids })}>Discard {count(ids.length)}</RoleButton>
            </>
          )}>
            {rows.length === 0 ? <Empty action={<Button variant="default" onClick={() => setSearch({})}>Clear filters</Button>}>Nothing matches.</Empty> : (
              <div className="table-scroll" tabIndex={0} role="region" aria-label="Dead letters">
                <table className="plain">
                  <thead><tr><th><span className="hidden-label">Choose</span></th><th>Given up</th><th>Device</th><th>Integration</th><th>Reason</th><th className="num">Size</th><th className="num">Attempts</th><th><span className="hidden-label">Actions</span></th></tr></thead>
                  <tbody>
                    {rows.map((one) => (
                      <tr key={one.id}>
                        <td><input type="checkbox" aria-label={`Choose the one of ${one.device} at ${dateTime(one.at)}`} checked={picked.has(one.id)} onChange={() => setPicked(toggled(picked, one.id))} style={{ width: 18, height: 18, accentColor: '#0b5cad' }} /></td>
                        <td className="nowrap"><button type="button" className="link-button" onClick={() => open(one)}><Ago at={one.at} /></button></td>
                        <td><Link href={`/devices/${one.device_id}/live`}>{one.device}</Link></td>
                        <td>{one.integration}</td>
                        <td>{sentence(one.hub_error ?? one.reason)}</td>
                        <td className="num">{bytes(one.size)}</td>
                        <td className="num">{one.attempts}</td>
                        <td className="num"><RoleButton role="operator" size="xs" variant="default" onClick={() => retry.mutate({ ids: [one.id] })}>Retry</RoleButton></td>
                      </tr>
                    ))}
                  </tbody>
                </table>
                {list.hasNextPage && <Button mt={8} size="xs" variant="default" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>More</Button>}
              </div>
            )}
          </Card>
        </>
      )}
      <DiscardDialog selection={discarding} total={discarding ? size(discarding, all) : 0} onClose={() => discard(undefined)} onDone={refresh} />
      <LetterDialog letter={opened} onClose={() => open(undefined)} onRetry={(one) => { retry.mutate({ ids: [one.id] }); open(undefined) }} />
    </Page>
  )
}

/** A failed one carries its problem's fields; the document leaves them open. */
const problemOf = (failed: { id: string }) => failed as { id: string; message: string; remedy: string }

const used = (filter: Record<string, string | undefined>) => Object.fromEntries(Object.entries(filter).filter((pair): pair is [string, string] => pair[1] !== undefined))

function toggled(set: Set<string>, id: string): Set<string> {
  const after = new Set(set)
  if (!after.delete(id)) after.add(id)
  return after
}

function Group({ group, chosen, busy, onShow, onRetry, onDiscard }: { group: DeadLetterGroup; chosen: boolean; busy: boolean; onShow: () => void; onRetry: () => void; onDiscard: () => void }) {
  return (
    <section className="card row-wide">
      <div className="grow" style={{ minWidth: 240 }}>
        <strong>{sentence(group.reason)}</strong> <span className="dim">{plural(group.count, 'signal')}</span>
        <div className="dim">{group.integration}, the last <Ago at={group.latest_at} />. {sentence(group.remedy)}</div>
      </div>
      <div className="row">
        <Button size="xs" variant="default" aria-pressed={chosen} onClick={onShow}>{chosen ? 'Show all' : 'Show'}</Button>
        <RoleButton role="operator" size="xs" variant="default" loading={busy} onClick={onRetry}>Retry all</RoleButton>
        <RoleButton role="operator" size="xs" variant="default" onClick={onDiscard}>Discard all</RoleButton>
      </div>
    </section>
  )
}
