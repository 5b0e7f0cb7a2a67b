import { useEffect, useRef, useState } from 'react'

export type EventKind = 'signal' | 'delivery' | 'connection' | 'alarm' | 'change'
export interface ServerEvent { kind: EventKind | 'lagged' | 'gap'; data: Record<string, unknown> }

const kinds = ['signal', 'delivery', 'connection', 'alarm', 'change', 'lagged', 'gap'] as const

/**
 * Server-sent events while the page is visible: a hidden tab gives its connection back (browsers allow six a host).
 * Events are collected and handed over at most once a frame. Returns whether the stream is open.
 */
export function useEvents(filters: Record<string, string>, onEvents: (events: ServerEvent[]) => void, enabled = true): boolean {
  const [open, setOpen] = useState(false)
  const handler = useRef(onEvents)
  handler.current = onEvents
  const query = new URLSearchParams(filters).toString()
  useEffect(() => {
    if (!enabled) return
    let source: EventSource | undefined
    let queue: ServerEvent[] = []
    let frame = 0
    let seen: string | undefined
    const flush = () => {
      frame = 0
      const events = queue
      queue = []
      handler.current(events)
    }
    const start = () => {
      if (source) return
      // A new connection goes on at the last signal that came (whoever listens knows it by its offset).
      const parts = new URLSearchParams(query)
      if (seen !== undefined) {
        parts.delete('last')
        parts.set('from', seen)
      }
      source = new EventSource(`/api/v1/events?${parts}`)
      source.onopen = () => setOpen(true)
      source.onerror = () => setOpen(false)
      for (const kind of kinds) {
        source.addEventListener(kind, (event: MessageEvent<string>) => {
          if (kind === 'signal') seen = event.lastEventId
          queue.push({ kind, data: JSON.parse(event.data) as Record<string, unknown> })
          frame ||= requestAnimationFrame(flush)
        })
      }
    }
    const stop = () => {
      source?.close()
      source = undefined
      setOpen(false)
    }
    const look = () => (document.hidden ? stop() : start())
    look()
    document.addEventListener('visibilitychange', look)
    return () => {
      document.removeEventListener('visibilitychange', look)
      if (frame) cancelAnimationFrame(frame)
      stop()
    }
  }, [query, enabled])
  return open
}
