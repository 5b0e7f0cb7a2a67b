import { Button } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { calls } from '../../api/calls'
import { ProblemNote } from '../../ui/Note'
import type { DraftState } from './draft'
import { Found } from './StepLogin'

/** Step 2 for the local hub: the server knows its string itself. */
export function StepOwnHub({ draft }: { draft: DraftState }) {
  const login = useMutation({
    mutationFn: async () => calls.draftOwnHub(await draft.ensure()),
    onSuccess: (found) => draft.setFound(found),
  })
  return (
    <div className="card stack">
      <p>The local hub runs inside this server and answers to Microsoft&apos;s own SDKs. Its connection string stays here; nothing has to be pasted.</p>
      {draft.found && <Found found={draft.found} />}
      <ProblemNote error={login.error} />
      <div className="row-wide">
        <Button variant="default" onClick={() => draft.change({ service: '', step: 0 })}>Back</Button>
        {draft.found ? <Button onClick={() => draft.change({ step: 2 })}>Next</Button> : <Button loading={login.isPending} onClick={() => login.mutate()}>Login</Button>}
      </div>
    </div>
  )
}
