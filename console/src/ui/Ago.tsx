import { useEffect, useState } from 'react'
import { dateTime, since } from '../lib/format'

/** A time, relative; on hover and for screen readers absolute. It grows by itself. */
export function Ago({ at, never = 'never' }: { at: string | null | undefined; never?: string }) {
  const [, tick] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 10_000)
    return () => clearInterval(timer)
  }, [])
  if (!at) return <span className="dim">{never}</span>
  return <time dateTime={at} title={dateTime(at)}>{since(at)}</time>
}
