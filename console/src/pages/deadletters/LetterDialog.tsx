import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import type { DeadLetter } from '../../api/types'
import { dateTime } from '../../lib/format'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { MessagePreview } from '../../ui/MessagePreview'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Facts, RoleButton } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'

/** One dead letter: why, and what the hub would get now. */
export function LetterDialog({ letter, onClose, onRetry }: { letter: DeadLetter | undefined; onClose: () => void; onRetry: (letter: DeadLetter) => void }) {
  const asked = useQuery({ queryKey: ['dead-letter', letter?.id], queryFn: () => calls.deadLetter(letter!.id), enabled: letter !== undefined })
  const it = asked.data
  return (
    <Dialog open={letter !== undefined} onClose={onClose} title={`Dead letter of ${letter?.device ?? ''}`} size={720}>
      <ProblemNote error={asked.error} />
      {!it ? <Waiting /> : (
        <>
          <Note tone="red" title={sentence(it.hub_error ?? it.reason)}>{sentence(it.remedy)}</Note>
          <Facts items={[
            ['Received', dateTime(it.received_at)],
            ['Given up', `${dateTime(it.at)}, after ${it.attempts} ${it.attempts === 1 ? 'attempt' : 'attempts'}`],
            ['Integration', it.integration],
            ['Topic', <code key="t">{it.topic}</code>],
            ['Reason', sentence(it.reason)],
            ['Trace', <Link key="l" href={`/deliveries/${it.device_id}/${it.offset}`}>offset {it.offset}</Link>],
          ]} />
          {it.message && <><h3>As the hub would get it now</h3><MessagePreview message={it.message} /></>}
          <DialogFoot><Button variant="default" onClick={onClose}>Close</Button><RoleButton role="operator" onClick={() => letter && onRetry(letter)}>Retry</RoleButton></DialogFoot>
        </>
      )}
    </Dialog>
  )
}
