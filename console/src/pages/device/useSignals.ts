import { useRef, useState } from 'react'
import { useEvents } from '../../api/events'
import type { Delivery, Signal } from '../../api/types'

/** Most rows that a live page keeps. */
const KEPT = 1200

export interface Feed {
  /** Newest last. */
  signals: Signal[]
  /** How many came while it was paused. */
  heldBack: number
  open: boolean
}

/**
 * Signals as they come, after the last few from the journal, with the word of each hub as it arrives. While paused
 * nothing moves; what comes is counted, and shown at the end of the pause.
 */
export function useSignals(filters: Record<string, string>, paused: boolean, last = 100): Feed {
  const [signals, setSignals] = useState<Signal[]>([])
  const waiting = useRef<Signal[]>([])
  const [heldBack, setHeldBack] = useState(0)
  const wasPaused = useRef(false)
  if (wasPaused.current && !paused && waiting.current.length > 0) {
    const came = waiting.current
    waiting.current = []
    queueMicrotask(() => {
      setHeldBack(0)
      setSignals((before) => add(before, came))
    })
  }
  wasPaused.current = paused
  const open = useEvents({ types: 'signal,delivery', last: String(last), ...filters }, (events) => {
    const came = events.filter((event) => event.kind === 'signal').map((event) => event.data as unknown as Signal)
    const told = events.filter((event) => event.kind === 'delivery').map((event) => event.data as unknown as Delivery & { offset: number; device: string })
    if (paused) {
      waiting.current = add(waiting.current, came)
      setHeldBack(waiting.current.length)
      if (told.length > 0) setSignals((before) => tell(before, told))
      return
    }
    setSignals((before) => tell(add(before, came), told))
  })
  return { signals, heldBack, open }
}

/** With the new ones, each once, in their order. */
function add(before: Signal[], came: Signal[]): Signal[] {
  const end = before.at(-1)?.offset ?? -1
  const fresh = came.filter((signal) => signal.offset > end)
  return fresh.length === 0 ? before : [...before, ...fresh].slice(-KEPT)
}

function tell(signals: Signal[], told: (Delivery & { offset: number })[]): Signal[] {
  if (told.length === 0) return signals
  const words = new Map<number, Delivery[]>()
  for (const { offset, integration, state, message_id } of told) words.set(offset, [...(words.get(offset) ?? []), { integration, state, message_id }])
  return signals.map((signal) => {
    const news = words.get(signal.offset)
    if (!news) return signal
    const names = new Set(news.map((one) => one.integration))
    return { ...signal, deliveries: [...signal.deliveries.filter((one) => !names.has(one.integration)), ...news] }
  })
}
