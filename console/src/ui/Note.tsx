import type { ReactNode } from 'react'
import { ProblemError } from '../api/problem'
import type { Tone } from './State'
import { IconAlertOctagon, IconAlertTriangle, IconCircleCheck, IconInfoCircle } from './icons'

const signs = { green: IconCircleCheck, amber: IconAlertTriangle, red: IconAlertOctagon, blue: IconInfoCircle, grey: IconInfoCircle }

/** A box that says something: what happened, then what to do. */
export function Note({ tone = 'blue', title, children, id, role }: { tone?: Exclude<Tone, 'grey'>; title?: ReactNode; children?: ReactNode; id?: string; role?: 'alert' | 'status' }) {
  const Sign = signs[tone]
  return (
    <div className={`note-box ${tone}`} id={id} role={role}>
      <Sign size={18} aria-hidden />
      <div className="body">
        {title && <strong>{title}</strong>}
        {children && <div>{children}</div>}
      </div>
    </div>
  )
}

/** A refusal of the server: sentence, remedy, and what to quote when asking for help. */
export function ProblemNote({ error, title }: { error: unknown; title?: string }) {
  if (!error) return null
  const problem = ProblemError.from(error)
  return (
    <Note tone="red" role="alert" title={title ? `${title}: ${problem.message}` : sentence(problem.message)}>
      {problem.remedy && <div>{sentence(problem.remedy)}</div>}
      <div className="small dim">Code <code>{problem.code}</code></div>
    </Note>
  )
}

/** The server's words begin small and end without a dot; on a page they are sentences. */
export function sentence(told: string): string {
  if (!told) return ''
  // A bare code, such as too_large, is words with the wrong blanks.
  const words = /^[a-z]+(_[a-z]+)+$/.test(told) ? told.replaceAll('_', ' ') : told
  const first = /^(HostName|SharedAccess|DeviceId|https?:|hubward )/.test(words) ? words : words[0]!.toUpperCase() + words.slice(1)
  return /[.!?:)"'`]$/.test(first) ? first : `${first}.`
}
