import { Button } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { calls } from '../../api/calls'
import type { Selection } from '../../api/types'
import { plural } from '../../lib/format'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { ProblemNote } from '../../ui/Note'
import { say } from '../../ui/toast'

export function DiscardDialog({ selection, total, onClose, onDone }: { selection: Selection | undefined; total: number; onClose: () => void; onDone: () => void }) {
  const discard = useMutation({
    mutationFn: () => calls.discardDeadLetters(selection!),
    onSuccess: (done) => {
      say(`${plural(done.done, 'dead letter')} discarded.`)
      onDone()
      onClose()
    },
  })
  const query = new URLSearchParams(Object.entries({ integration: selection?.integration, code: selection?.code, ids: selection?.ids?.join(',') }).filter((pair): pair is [string, string] => Boolean(pair[1])))
  return (
    <Dialog open={selection !== undefined} onClose={onClose} title={`Discard ${plural(total, 'dead letter')}`}>
      <p>They are deleted here, and their signals never reach the hub.</p>
      <ProblemNote error={discard.error} />
      <DialogFoot>
        <Button component="a" href={`/api/v1/deadletters/export?${query}`} download="dead-letters.ndjson" variant="default">Download first</Button>
        <Button variant="default" onClick={onClose} data-autofocus>Keep {total === 1 ? 'it' : 'them'}</Button>
        <Button className="danger-solid" loading={discard.isPending} onClick={() => discard.mutate()}>Discard</Button>
      </DialogFoot>
    </Dialog>
  )
}
