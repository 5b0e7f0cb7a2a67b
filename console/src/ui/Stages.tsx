import { Loader } from '@mantine/core'
import type { ReactNode } from 'react'
import { IconAlertOctagon, IconCircleCheck, IconCircleDashed } from './icons'

export interface Stage { name: string; state: 'to do' | 'busy' | 'done' | 'failed'; words?: ReactNode }

/** What is done one after another, each with how it stands. A failed one says what to do. */
export function Stages({ label, stages }: { label: string; stages: Stage[] }) {
  return (
    <ol className="stages" aria-label={label}>
      {stages.map((stage) => (
        <li key={stage.name} className={stage.state.replace(' ', '-')}>
          <Sign state={stage.state} />
          <div><strong>{stage.name}</strong>{stage.words && <div>{stage.words}</div>}</div>
        </li>
      ))}
    </ol>
  )
}

function Sign({ state }: { state: Stage['state'] }) {
  if (state === 'busy') return <Loader size={18} role="img" aria-label="Under way" />
  if (state === 'done') return <IconCircleCheck size={20} role="img" aria-label="Good" />
  if (state === 'failed') return <IconAlertOctagon size={20} role="img" aria-label="Failed" />
  return <IconCircleDashed size={20} role="img" aria-label="Not yet" />
}
