import { Link } from 'wouter'
import type { Integration } from '../../api/types'
import { plural } from '../../lib/format'
import { Until } from '../../ui/Until'
import { Note, sentence } from '../../ui/Note'
import { dateTime } from '../../lib/format'

/** Why it does not deliver, what waits meanwhile, and what to do. */
export function CauseNote({ it }: { it: Integration }) {
  if (it.state === 'active' || it.state === 'creating') return null
  if (it.state === 'paused') return <Note title="Paused">{it.waiting > 0 ? `${plural(it.waiting, 'signal')} wait on disk.` : 'Signals will wait on disk.'} Resume sends them on.</Note>
  const cause = it.cause
  if (!cause && !it.last_error) return null
  const red = it.state === 'attention'
  const login = cause !== null && ['wrong_key', 'no_write', 'no_read', 'policy_refused'].includes(cause.code)
  return (
    <Note tone={red ? 'red' : 'amber'} role="status" title={sentence(cause?.message ?? it.last_error ?? '')}>
      {it.waiting > 0 && <>Nothing is lost: {plural(it.waiting, 'signal waits', 'signals wait')} on disk. </>}
      {cause?.next_try_at && <>Next try <Until at={cause.next_try_at} /> ({dateTime(cause.next_try_at)}), by itself. </>}
      {cause && sentence(cause.remedy)}
      {login && <div><Link href={`/integrations/${it.id}/edit`}>Paste a new connection string</Link></div>}
      {cause?.since && <div className="small dim">Since {dateTime(cause.since)}</div>}
    </Note>
  )
}
