import { ActionIcon, Button, Menu } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { Link, useLocation } from 'wouter'
import { calls } from '../../api/calls'
import { ProblemError } from '../../api/problem'
import { may, useRole } from '../../api/session'
import { integrationState } from '../../lib/states'
import { IconDots, IconPencil, IconPlayerPause, IconPlayerPlay, IconRefresh, IconSend, IconTrash } from '../../ui/icons'
import { ProblemNote, sentence } from '../../ui/Note'
import { Page, RoleButton } from '../../ui/Page'
import { StateOf } from '../../ui/State'
import { Waiting } from '../../ui/Waiting'
import { BoundDevices } from './BoundDevices'
import { CauseNote } from './CauseNote'
import { DeleteIntegration } from './DeleteIntegration'
import { Details, Figures } from './Details'
import { Drift } from './Drift'
import { ProgressCard } from './ProgressCard'
import { RateChart } from './RateChart'
import { TestMessage } from './TestMessage'
import { say } from '../../ui/toast'

export default function Integration({ id }: { id: string }) {
  const queries = useQueryClient()
  const [, go] = useLocation()
  const asked = useQuery({ queryKey: ['integration', id], queryFn: () => calls.integration(id) })
  const [open, setOpen] = useState<'test' | 'delete'>()
  const operator = may(useRole(), 'operator')
  const refresh = () => {
    void queries.invalidateQueries({ queryKey: ['integration', id] })
    void queries.invalidateQueries({ queryKey: ['bound', id] })
    void queries.invalidateQueries({ queryKey: ['progress', id] })
  }
  const act = useMutation({
    mutationFn: (what: 'pause' | 'resume' | 'reconcile') => calls[what](id),
    onSuccess: (_, what) => {
      if (what === 'reconcile') say('Compared with the hub; what was missing is being made.')
      refresh()
    },
    // What was repaired and what was not stands there, also when something is left.
    onSettled: () => void queries.invalidateQueries({ queryKey: ['drift', id] }),
  })
  if (asked.isPending) return <Waiting />
  const crumbs = <Link href="/integrations">Integrations</Link>
  if (!asked.data) {
    const gone = ProblemError.from(asked.error).status === 404
    return <Page title="Integration" crumbs={crumbs}>{gone ? <p>There is no such integration any more.</p> : <ProblemNote error={asked.error} />}</Page>
  }
  const it = asked.data
  const paused = it.state === 'paused'
  return (
    <Page title={it.name} crumbs={<>{crumbs} / {it.name}</>} sub={<><StateOf shown={integrationState(it.state, it.cause && causeWord(it.cause.code))} /><span>Microsoft Azure · {it.host_name}</span></>}
      actions={
        <>
          <RoleButton role="operator" leftSection={<IconSend size={16} aria-hidden />} onClick={() => setOpen('test')} disabled={it.device_count === 0} why="It has no device">Send test message</RoleButton>
          {operator ? <Button component={Link} href={`/integrations/${id}/edit`} variant="default" leftSection={<IconPencil size={16} aria-hidden />}>Edit</Button> : <RoleButton role="operator" variant="default">Edit</RoleButton>}
          <RoleButton role="operator" variant="default" leftSection={paused ? <IconPlayerPlay size={16} aria-hidden /> : <IconPlayerPause size={16} aria-hidden />} loading={act.isPending && act.variables !== 'reconcile'} onClick={() => act.mutate(paused ? 'resume' : 'pause')}>{paused ? 'Resume' : 'Pause'}</RoleButton>
          <RoleButton role="operator" variant="default" leftSection={<IconRefresh size={16} aria-hidden />} loading={act.isPending && act.variables === 'reconcile'} onClick={() => act.mutate('reconcile')}>Reconcile</RoleButton>
          <Menu position="bottom-end" transitionProps={{ duration: 120 }} disabled={!operator}>
            <Menu.Target><ActionIcon variant="default" size={36} aria-label="More" aria-disabled={!operator || undefined} title={operator ? 'More' : 'Needs the operator role'}><IconDots size={18} aria-hidden /></ActionIcon></Menu.Target>
            <Menu.Dropdown aria-label="More">
              <Menu.Item onClick={() => go(`/hubs/${encodeURIComponent(it.host_name)}`)}>Hub and its connections</Menu.Item>
              <Menu.Item onClick={() => go(`/deliveries?integration=${encodeURIComponent(it.name)}`)}>Deliveries</Menu.Item>
              <Menu.Item color="var(--red-text)" leftSection={<IconTrash size={16} aria-hidden />} onClick={() => setOpen('delete')}>Delete integration</Menu.Item>
            </Menu.Dropdown>
          </Menu>
        </>
      }>
      <CauseNote it={it} />
      {act.error && <ProblemNote error={act.error} />}
      <ProgressCard it={it} onChange={refresh} />
      <Figures it={it} />
      <div className="split">
        <div className="stack"><RateChart it={it} /><BoundDevices it={it} /><Drift it={it} reconcile={<RoleButton role="operator" size="xs" variant="default" loading={act.isPending && act.variables === 'reconcile'} onClick={() => act.mutate('reconcile')}>Reconcile now</RoleButton>} /></div>
        <Details it={it} />
      </div>
      <TestMessage it={it} open={open === 'test'} onClose={() => setOpen(undefined)} />
      <DeleteIntegration it={it} open={open === 'delete'} onClose={() => setOpen(undefined)} />
    </Page>
  )
}

/** The cause of a pause in two words, for the state. */
export function causeWord(code: string): string {
  const words: Record<string, string> = {
    quota: 'daily quota used', throttled: 'throttled', hub_away: 'hub away', no_answer: 'hub away', unknown_host: 'hub away', unreachable: 'hub away', hub_disabled: 'hub disabled',
    wrong_key: 'Needs a new login', no_write: 'Needs a new login', policy_refused: 'Needs a new login', clock_skew: 'clock off',
  }
  return words[code] ?? sentence(code.replaceAll('_', ' ')).replace(/\.$/, '').toLowerCase()
}
