// Numbers, sizes and times as the viewer's own place writes them.

const whole = new Intl.NumberFormat()
const short = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 6 })
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' })
const dayAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })
const clockShort = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hour12: false })
const dayShort = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' })
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' })

/** The zone that all times are shown in. */
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone

/** 1204 as 1,204. */
export const count = (n: number) => whole.format(n)

/** "1 device", "2 devices". */
export const plural = (n: number, one: string, many = `${one}s`) => `${whole.format(n)} ${n === 1 ? one : many}`

/** 12.345678 as 12.3 %. */
export const share = (percent: number) => `${percent < 1 ? short.format(percent) : short.format(Math.round(percent * 10) / 10)} %`

/** 2048 as 2 KB. */
export function bytes(n: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB']
  let value = n
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  if (unit === 0) return n === 1 ? '1 byte' : `${n} bytes`
  return `${value < 10 ? Math.round(value * 10) / 10 : whole.format(Math.round(value))} ${units[unit]}`
}

/** A value of a signal, rounded; the full digits belong into a title. */
export function value(v: unknown): string {
  if (typeof v === 'number') return short.format(v)
  if (v === null || v === undefined) return '–'
  return typeof v === 'string' ? v : JSON.stringify(v)
}

export const date = (iso: string) => day.format(new Date(iso))
export const dateTime = (iso: string) => dayAndTime.format(new Date(iso))
export const seconds = (at: number) => clock.format(at)
export const minutes = (at: number) => clockShort.format(at)
export const dayMonth = (at: number) => dayShort.format(at)

/** 21:18:35.108 */
export function exact(iso: string): string {
  const at = new Date(iso)
  return `${clock.format(at)}.${String(at.getMilliseconds()).padStart(3, '0')}`
}

/** "3 minutes ago". */
export function since(iso: string, now = Date.now()): string {
  const past = (new Date(iso).getTime() - now) / 1000
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [[60, 'second'], [3600, 'minute'], [86400, 'hour'], [86400 * 30, 'day'], [86400 * 365, 'month'], [Infinity, 'year']]
  let size = 1
  for (const [limit, unit] of steps) {
    if (Math.abs(past) < limit) return relative.format(Math.round(past / size), unit)
    size = limit
  }
  return ''
}

/** 84 ms, 1.3 s, 4 min. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`
  return `${Math.round(ms / 86_400_000)} days`
}
