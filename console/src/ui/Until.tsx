import { useEffect, useState } from 'react'

/** Seconds until a time that is near, minutes or hours until one that is not. It counts down by itself. */
export function Until({ at }: { at: string }) {
  const [now, look] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => look(Date.now()), 1_000)
    return () => clearInterval(timer)
  }, [])
  const left = Math.max(0, Math.ceil((new Date(at).getTime() - now) / 1_000))
  const words = left === 0 ? 'now' : left < 120 ? `in ${left} s` : left < 7_200 ? `in ${Math.round(left / 60)} min` : `in ${Math.round(left / 3_600)} h`
  return <time dateTime={at} className="until">{words}</time>
}
