import { Button, NumberInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { calls } from '../../api/calls'
import type { Advice } from '../../api/types'
import { bytes, count, plural } from '../../lib/format'
import { Note } from '../../ui/Note'

/** Which tier fits what the devices really send; without history, what they will send. */
export function TierAdvice({ onTake }: { onTake: (tier: string, units: number) => void }) {
  const measured = useQuery({ queryKey: ['advice'], queryFn: () => calls.advice({}), staleTime: 60_000 })
  const known = measured.data && measured.data.signals_per_day > 0 ? measured.data : undefined
  const [devices, setDevices] = useState(10)
  const [every, setEvery] = useState(60)
  const planned = Math.round((devices * 86_400) / Math.max(1, every))
  const guess = useQuery({ queryKey: ['advice', planned], queryFn: () => calls.advice({ signals_per_day: planned, bytes: 100 }), enabled: measured.isSuccess && !known, placeholderData: (before) => before })
  if (measured.isPending || measured.isError) return null
  const advice = known ?? guess.data
  return (
    <>
      {!known && (
        <div className="row" style={{ alignItems: 'flex-end' }}>
          <NumberInput label="Devices" w={130} min={1} value={devices} onChange={(v) => setDevices(Math.max(1, Number(v) || 1))} hideControls />
          <NumberInput label="Seconds between signals" w={190} min={1} value={every} onChange={(v) => setEvery(Math.max(1, Number(v) || 1))} hideControls />
        </div>
      )}
      {advice && <Words advice={advice} measured={Boolean(known)} onTake={onTake} />}
    </>
  )
}

function Words({ advice, measured, onTake }: { advice: Advice; measured: boolean; onTake: (tier: string, units: number) => void }) {
  const perDay = Math.round(advice.signals_per_day)
  const best = advice.best
  const fit = best && advice.tiers.find((one) => one.tier === best.tier)
  const day = measured
    ? `On the busiest of the last ${plural(Math.max(1, advice.days), 'day')} your ${plural(advice.devices, 'device')} sent ${count(perDay)} signals, ${bytes(advice.average_bytes)} on average, the largest ${bytes(advice.largest_bytes)}.`
    : `That is ${count(perDay)} signals a day.`
  return (
    <Note title={best ? `${best.tier}, ${plural(best.units, 'unit')}, is enough${fit ? `, used to ${Math.round(fit.used_percent)} %` : ''}` : 'More than one hub carries'}>
      {day} That is {count(Math.round(advice.units_4k_per_day))} messages in the 4 KB meter of S1 (400,000 a day), and {count(Math.round(advice.units_half_k_per_day))} in the 0.5 KB meter of F1 (8,000 a day).
      {best && <div style={{ marginTop: 6 }}><Button size="xs" variant="default" onClick={() => onTake(best.tier, best.units)}>Take it</Button></div>}
    </Note>
  )
}
