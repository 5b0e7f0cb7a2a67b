import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { calls } from '../../api/calls'
import { plural } from '../../lib/format'
import { ProblemNote } from '../../ui/Note'
import { Card, RoleButton } from '../../ui/Page'

/** Whether an alarm tells of a device's silence, and after how long. */
export function Silence({ device }: { device: string }) {
  const queries = useQueryClient()
  const asked = useQuery({ queryKey: ['silence', device], queryFn: () => calls.silence(device) })
  const watch = useMutation({ mutationFn: (watched: boolean) => calls.watchSilence(device, watched), onSuccess: (now) => queries.setQueryData(['silence', device], now) })
  const it = asked.data
  return (
    <Card title="Silence">
      <ProblemNote error={asked.error ?? watch.error} />
      {it && (
        <div className="row-wide">
          <p className="dim grow">{!it.watched ? 'No alarm when it sends nothing.' : it.limit_s ? `An alarm after ${plural(Math.ceil(it.limit_s / 60), 'minute')} without a signal, as learned from it.` : 'An alarm when it sends nothing for longer than usual, once that is known.'}</p>
          <RoleButton role="operator" variant="default" loading={watch.isPending} onClick={() => watch.mutate(!it.watched)}>{it.watched ? 'Switch the alarm off' : 'Switch the alarm on'}</RoleButton>
        </div>
      )}
    </Card>
  )
}
