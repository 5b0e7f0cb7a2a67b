import { useQuery } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import { may, useRole } from '../../api/session'
import { IconCheck } from '../../ui/icons'
import { Note, ProblemNote } from '../../ui/Note'
import { Page } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'
import { type DraftState, type Plan, useDraft } from './draft'
import { StepDevices } from './StepDevices'
import { StepHub } from './StepHub'
import { StepLogin } from './StepLogin'
import { StepOwnHub } from './StepOwnHub'

/** From nothing to an integration: hub, login, name and devices. Going back loses nothing. */
export default function Wizard() {
  const draft = useDraft()
  const operator = may(useRole(), 'operator')
  const crumbs = <><Link href="/integrations">Integrations</Link> / New</>
  if (!operator) return <Page form title="New integration" crumbs={crumbs}><Note tone="amber">Needs the operator role. Ask an operator to add one.</Note></Page>
  if (draft.loading) return <Waiting />
  if (draft.error && !draft.plan.service) return <Page form title="New integration" crumbs={crumbs}><ProblemNote error={draft.error} /><p><Link href="/integrations/new">Begin anew</Link></p></Page>
  if (draft.plan.service === '') return <Page form title="New integration" crumbs={crumbs}><Start draft={draft} /></Page>
  const wide = draft.plan.step === 2
  return (
    <Page form={!wide} title={draft.plan.service === 'own' ? 'New integration: local hub' : 'New integration: Microsoft Azure'} crumbs={crumbs}>
      <Steps plan={draft.plan} found={draft.found?.hub} />
      {draft.plan.step === 0 && <StepHub draft={draft} />}
      {draft.plan.step === 1 && (draft.plan.service === 'own' ? <StepOwnHub draft={draft} /> : <StepLogin draft={draft} />)}
      {draft.plan.step === 2 && <StepDevices draft={draft} />}
    </Page>
  )
}

function Start({ draft }: { draft: DraftState }) {
  const about = useQuery({ queryKey: ['about'], queryFn: calls.about, staleTime: Infinity })
  const own = about.data?.local_hub
  return (
    <>
      <h2>Where should signals go?</h2>
      <div className="choices">
        <button type="button" className="choice" onClick={() => draft.change({ service: 'azure', step: 0 })}>
          <strong>Microsoft Azure</strong>
          <span className="dim">An Azure IoT Hub. You need a hub and the connection string of a policy that may write its registry; the next pages show how to get both.</span>
        </button>
        <button type="button" className="choice" disabled={!own} onClick={() => draft.change({ service: 'own', step: 1, topic: draft.plan.topic || 'Temp' })}>
          <strong>Local hub</strong>
          <span className="dim">An IoT Hub inside this server. No account, no cost. Good for trying and for tests.{about.data && !own && ' It is off: start with hubward up --local-hub.'}</span>
        </button>
      </div>
    </>
  )
}

function Steps({ plan, found }: { plan: Plan; found: string | undefined }) {
  const steps: [string, string][] = [
    ['Hub', plan.service === 'own' ? 'inside this server' : plan.have ? 'there already' : plan.hub || 'to be made'],
    ['Login', found ?? (plan.service === 'own' ? 'no string needed' : 'Connection string')],
    ['Name and devices', 'Topic, body, preview'],
  ]
  const here = useRef<HTMLLIElement>(null)
  // A new step begins at its head, also for who listens.
  useEffect(() => { window.scrollTo(0, 0) }, [plan.step])
  return (
    <ol className="steps" aria-label="Steps">
      {steps.map(([name, note], n) => (
        <li key={name} ref={n === plan.step ? here : undefined} className={n < plan.step ? 'done' : undefined} aria-current={n === plan.step ? 'step' : undefined} style={n < steps.length - 1 ? { flex: 1 } : undefined}>
          <span className="dot" aria-hidden>{n < plan.step ? <IconCheck size={18} /> : n + 1}</span>
          <span className="words" style={{ minWidth: 0 }}><strong>{name}</strong><span className="dim">{note}</span></span>
          {n < steps.length - 1 && <span className={n < plan.step ? 'bar done' : 'bar'} aria-hidden />}
        </li>
      ))}
    </ol>
  )
}
