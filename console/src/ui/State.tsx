import type { ReactNode } from 'react'
import { IconAlertOctagon, IconCircle, IconCircleCheck, IconCircleDashed, IconCircleDot, IconPlayerPause } from './icons'

/** Green goes on, amber waits and goes on by itself, red needs a person, grey expects nothing, blue is in progress. */
export type Tone = 'green' | 'amber' | 'red' | 'grey' | 'blue'
export interface Shown { tone: Tone; word: string; dashed?: boolean }

const shapes = { green: IconCircleCheck, amber: IconPlayerPause, red: IconAlertOctagon, grey: IconCircle, blue: IconCircleDot }

/** One word, one shape, one colour. */
export function State({ tone, dashed, children }: { tone: Tone; dashed?: boolean; children: ReactNode }) {
  const Shape = dashed ? IconCircleDashed : shapes[tone]
  return (
    <span className={`state ${tone}`}>
      <Shape size={14} aria-hidden />
      <span>{children}</span>
    </span>
  )
}

export function StateOf({ shown }: { shown: Shown }) {
  return <State tone={shown.tone} dashed={shown.dashed ?? false}>{shown.word}</State>
}
