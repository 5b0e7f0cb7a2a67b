import { type Query, useQueryClient } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'
import { type ServerEvent, useEvents } from './events'

/** No faster than this is anything asked for again, in ms. */
const EVERY = 1_000

/** What stands on pages that show an integration, a hub or a device. */
const shownBy: Record<string, (id: string) => unknown[][]> = {
  integration: (id) => [['integrations'], ['integration', id], ['bound', id], ['progress', id], ['drift', id], ['delivered', id], ['dead-letter-groups'], ['dead-letters'], ['overview'], ['drafts']],
  hub: () => [['hubs']],
  device: (id) => [['devices'], ['device', id], ['connections', id], ['overview']],
  devices: () => [['devices'], ['device'], ['connections'], ['overview']],
  server: () => [['overview'], ['journal']],
  webhook: () => [['webhook']],
  dropped: () => [['dropped']],
}

/**
 * Asks again for what changed on the server, so that no page has to ask all the time. Belongs to the shell: one stream
 * for all pages. A stream that was lost begins with "everything", so nothing that happened meanwhile is missed.
 */
export function useChanges(): boolean {
  const queries = useQueryClient()
  const stale = useRef(new Map<string, unknown[]>())
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  const flush = () => {
    timer.current = undefined
    const keys = [...stale.current.values()]
    stale.current.clear()
    for (const queryKey of keys) void queries.invalidateQueries({ queryKey, predicate: isShort })
  }
  const open = useEvents({ types: 'change,connection,alarm' }, (events) => {
    for (const { data } of events) {
      if (data.what === 'login') queries.setQueryData(['login-stage', data.id], data.state)
    }
    for (const key of events.flatMap(keysOf)) stale.current.set(JSON.stringify(key), key)
    if (stale.current.size > 0) timer.current ??= setTimeout(flush, EVERY)
  })
  useEffect(() => () => clearTimeout(timer.current), [])
  return open
}

/** Asks again for `queryKey` when such events come, at most once a second. */
export function useRefetch(filters: Record<string, string>, queryKey: unknown[]) {
  const queries = useQueryClient()
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEvents(filters, () => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined
      void queries.invalidateQueries({ queryKey })
    }, EVERY)
  })
  useEffect(() => () => clearTimeout(timer.current), [])
}

function keysOf({ kind, data }: ServerEvent): unknown[][] {
  if (kind === 'connection') return [['connections', data.device_id], ['device', data.device_id]]
  if (kind === 'alarm') return [['alarms'], ['overview']]
  if (kind === 'lagged' || data.what === 'everything') return [...['integration', 'devices', 'hub', 'server', 'webhook', 'dropped'].flatMap((what) => shownBy[what]!('')), ['integration'], ['bound'], ['progress'], ['delivered'], ['alarms']]
  return shownBy[String(data.what)]?.(String(data.id)) ?? []
}

/** A list that somebody has scrolled far into is not fetched again page by page under their eyes. */
function isShort(query: Query): boolean {
  const data = query.state.data as { pages?: unknown[] } | undefined
  return !data?.pages || data.pages.length <= 1
}
