import { Button, Textarea } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useEffect, useRef, useState } from 'react'
import { calls } from '../../api/calls'
import { ProblemError } from '../../api/problem'
import type { LoginFound } from '../../api/types'
import { count, duration } from '../../lib/format'
import { parse, remedies } from '../../lib/connection-string'
import { failedStage, stageAfter, stageNames } from '../../lib/login-stages'
import { CopyBlock } from '../../ui/Copy'
import { Note, sentence } from '../../ui/Note'
import { Facts } from '../../ui/Page'
import { type Stage, Stages } from '../../ui/Stages'
import type { DraftState } from './draft'

/** Step 2: paste the string, see what it is, log in with it. */
export function StepLogin({ draft }: { draft: DraftState }) {
  const { plan, found } = draft
  const [pasted, setPasted] = useState('')
  const [tried, setTried] = useState(false)
  const field = useRef<HTMLTextAreaElement>(null)
  const parsed = pasted.trim() ? parse(pasted) : undefined
  const queries = useQueryClient()
  // The shell's stream of events puts it there.
  const { data: told } = useQuery<string | null>({ queryKey: ['login-stage', draft.id], queryFn: () => null, enabled: false })
  const login = useMutation({
    mutationFn: async (text: string) => {
      const id = await draft.ensure()
      queries.setQueryData(['login-stage', id], null)
      return calls.draftLogin(id, { connection_string: text })
    },
    onSuccess: (answer) => {
      draft.setFound(answer)
      setPasted('')
      setTried(false)
    },
    onError: () => setTimeout(() => field.current?.focus()),
  })
  const server = login.error ? ProblemError.from(login.error) : undefined
  const mistake = server
    ? { code: server.code, message: sentence(server.message), remedy: server.code === 'no_answer' && told ? fellSilent : remedies[server.code] ?? sentence(server.remedy) }
    : parsed && !parsed.ok ? parsed.mistake : tried && !parsed ? (parse('') as { ok: false; mistake: { code: string; message: string; remedy: string } }).mistake : undefined
  // The field is described by the remedy, too; Mantine knows of its own error line alone.
  useEffect(() => {
    if (mistake) field.current?.setAttribute('aria-describedby', 'login-error login-remedy')
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    setTried(true)
    if (parsed?.ok) login.mutate(parsed.text)
    else field.current?.focus()
  }
  const again = () => {
    setPasted('')
    setTried(false)
    login.reset()
    draft.setFound(null)
    setTimeout(() => field.current?.focus())
  }
  const hub = plan.hub || 'NAME'
  return (
    <form className="card stack" onSubmit={submit} noValidate>
      {!found && (
        <>
          <p>In the Azure portal open your hub, then <strong>Security settings &gt; Shared access policies &gt; registryReadWrite</strong>, and copy <strong>Primary connection string</strong>. Or run:</p>
          <CopyBlock text={`az iot hub connection-string show --hub-name ${hub} --policy-name registryReadWrite -o tsv`} label="command for the connection string" />
        </>
      )}
      {found ? (
        <Found found={found} />
      ) : parsed?.ok && !server ? (
        <div className="stack-s">
          <strong id="recognised">Connection string</strong>
          <Facts items={[['Hub', <code key="h">{parsed.is.host}</code>], ['Policy', <code key="p">{parsed.is.policy}</code>], ['Key', `${parsed.is.keyLength} characters, hidden`]]} />
          <div><Button size="xs" variant="default" onClick={again}>Paste again</Button></div>
          {parsed.is.hint && <Note tone="amber">{parsed.is.hint}</Note>}
        </div>
      ) : (
        <Textarea ref={field} label="Connection string" description="Sealed on this server and never shown again. It is used for the identity registry alone; signals travel with each device's own key."
          value={pasted} onChange={(e) => { setPasted(e.currentTarget.value); login.reset() }} error={mistake?.message} errorProps={{ id: 'login-error' }}
          autosize minRows={2} maxRows={5} classNames={{ input: 'mono' }} autoComplete="off" spellCheck={false} autoFocus />
      )}
      {(login.isPending || mistake || found) && <Stages label="Login, stage by stage" stages={stagesOf(login.isPending, mistake, found, told ?? undefined)} />}
      {mistake && (
        <Note tone="red" title="What to do" id="login-remedy" role="alert">
          {mistake.remedy}
          {server && <Details problem={server} />}
        </Note>
      )}
      <div className="row-wide">
        <Button variant="default" onClick={() => draft.change({ step: 0 })}>Back</Button>
        <div className="row">
          {found && <Button variant="default" onClick={again}>Use another string</Button>}
          {found ? <Button onClick={() => draft.change({ step: 2 })} autoFocus>Next</Button> : <Button type="submit" loading={login.isPending}>Login</Button>}
        </div>
      </div>
    </form>
  )
}

const fellSilent = 'The hub answered at first and then fell silent. Try again in a minute; if it stays so, look at the hub\'s health in the portal (Help > Resource health).'

/** Grammar, host, key, rights. The first was good before anybody was asked; what failed is marked, what was not tried is not. */
function stagesOf(busy: boolean, failed: { code: string; message: string } | undefined, found: LoginFound | null, told: string | undefined): Stage[] {
  const at = failed ? failedStage(failed.code, told) : busy ? stageAfter(told) : stageNames.length
  const tried = ['has all its parts', 'looking up the name, connecting, checking certificate and clock', 'showing the key to the identity registry', 'asking whether the policy may read and write there']
  const good = found
    ? ['has all its parts', `${found.host_name} answers, its certificate is trusted`, `the hub accepts the key of ${found.policy}`, found.can_write ? 'may read and write the registry' : 'may read the registry']
    : ['has all its parts', 'answers, and its certificate is trusted', 'is accepted', 'are enough']
  return stageNames.map((name, n) => {
    if (n < at) return { name, state: 'done', words: good[n] }
    if (n > at) return { name, state: 'to do' }
    // What is wrong stands under the field, what to do below.
    return failed ? { name, state: 'failed' } : { name, state: 'busy', words: `${tried[n]}…` }
  })
}

/** What to quote when asking for help; never the string. */
function Details({ problem }: { problem: ProblemError }) {
  return (
    <details className="small" style={{ marginTop: 6 }}>
      <summary>Details</summary>
      <div>Code <code>{problem.code}</code>, {new Date().toISOString()}</div>
      <div>{sentence(problem.remedy)}</div>
    </details>
  )
}

export function Found({ found }: { found: LoginFound }) {
  const rights = found.can_read && found.can_write ? 'may read and write the registry' : found.can_write ? 'may write the registry' : 'may read the registry'
  return (
    <>
      <Note tone="green" role="status" title={`Logged in to ${found.hub}`}>
        Policy <code>{found.policy}</code> {rights}. {found.identities === 0 ? 'No identities yet.' : `${count(found.identities)} ${found.identities === 1 ? 'identity' : 'identities'} in it.`} {found.elapsed_ms > 0 && `${duration(found.elapsed_ms)}.`}
        <div><code>{found.host_name}</code></div>
      </Note>
      {found.advice.map((words) => <Note key={words} tone="amber">{sentence(words)}</Note>)}
    </>
  )
}
