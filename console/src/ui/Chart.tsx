import { useComputedColorScheme } from '@mantine/core'
import { useEffect, useMemo, useRef, useState } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { dayMonth, exact, minutes, seconds, value as shownValue } from '../lib/format'

export interface Line { name: string; unit?: string | null }
interface Props {
  label: string
  lines: Line[]
  /** Times in ms, ascending, then the values of each line; null where there is none, which stays a gap. */
  data: [number[], ...(number | null)[][]]
  kind?: 'line' | 'bar'
  height?: number
  /** The scale begins at zero: for counts. */
  zero?: boolean
}

// Okabe and Ito's colours, lighter on dark; each line has its own dash as well.
const colours = { light: ['#0072B2', '#D55E00', '#009E73', '#CC79A7'], dark: ['#8cc0ff', '#ff9d5c', '#4fd1a5', '#e7a9cb'] }
const dashes = [[], [8, 4], [2, 3], [8, 3, 2, 3]]

/** A chart of values over time. The value under the cursor is written out below; the table beside it says the same. */
export default function Chart({ label, lines, data, kind = 'line', height = 200, zero = false }: Props) {
  const scheme = useComputedColorScheme('light')
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const [at, setAt] = useState<number | null>(null)
  const shape = lines.map((line) => `${line.name}\u0000${line.unit ?? ''}`).join('\u0001')
  const current = useRef(data)
  current.current = data

  useEffect(() => {
    const node = box.current!
    const ink = colours[scheme]
    const axis = { stroke: scheme === 'dark' ? '#aeb6c1' : '#4c5561', grid: { stroke: scheme === 'dark' ? '#333a43' : '#e4e7ec', width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' }
    const made = new uPlot({
      width: node.clientWidth || 300,
      height,
      ms: 1,
      legend: { show: false },
      cursor: { y: false, points: { size: 7 } },
      scales: { x: { time: true, ...(zero ? { range: (_: uPlot, low: number, high: number) => around(low, high, current.current[0].length) } : {}) }, ...(zero ? { y: { range: (_: uPlot, __: number, most: number) => [0, Math.max(1, most * 1.1)] as [number, number] } } : {}) },
      axes: [
        { ...axis, values: (_, splits) => timeWords(splits), space: 80, size: 30 },
        { ...axis, size: 64, values: (_, splits) => splits.map((v) => `${shownValue(v)}${lines[0]?.unit && lines.length === 1 ? ` ${lines[0].unit}` : ''}`) },
      ],
      series: [{}, ...lines.map((_, index) => ({
        stroke: ink[index % ink.length]!,
        width: 2,
        dash: dashes[index % dashes.length]!,
        fill: lines.length === 1 ? `${ink[0]}22` : undefined,
        spanGaps: false,
        points: { show: undefined as unknown as boolean },
        ...(kind === 'bar' ? { paths: uPlot.paths.bars!({ size: [0.7, 40] }), fill: `${ink[index % ink.length]}88` } : {}),
      }))] as uPlot.Series[],
      hooks: { setCursor: [(u) => setAt(u.cursor.idx ?? null)] },
    }, current.current as uPlot.AlignedData, node)
    plot.current = made
    const watch = new ResizeObserver(() => made.setSize({ width: node.clientWidth, height }))
    watch.observe(node)
    return () => {
      watch.disconnect()
      made.destroy()
    }
  }, [scheme, shape, kind, height, zero]) // eslint-disable-line react-hooks/exhaustive-deps

  useEffect(() => { plot.current?.setData(data as uPlot.AlignedData) }, [data])

  const words = useMemo(() => describe(label, lines, data), [label, lines, data])
  const times = data[0]
  const index = at ?? times.length - 1
  return (
    <figure className="chart">
      <div ref={box} role="img" aria-label={words} data-points={times.length} />
      <figcaption className="chart-key">
        {times.length === 0 ? <span className="dim">No values in this time.</span> : (
          <>
            <span className="dim">{times[index] !== undefined && `${dayMonth(times[index])}, ${seconds(times[index])}`}</span>
            {lines.map((line, n) => {
              const v = data[n + 1]?.[index]
              return <span key={line.name}><span style={{ color: colours[scheme][n % 4] }} aria-hidden>■ </span>{line.name}: <strong>{v === null || v === undefined ? '–' : shownValue(v)}</strong>{line.unit ? ` ${line.unit}` : ''}</span>
            })}
          </>
        )}
      </figcaption>
    </figure>
  )
}

/** With room for the halves of the first and the last bar. */
function around(low: number, high: number, many: number): [number, number] {
  const half = (high - low) / Math.max(1, many - 1) / 2
  return [low - half, high + half]
}

function timeWords(splits: number[]): string[] {
  const step = (splits[1] ?? 0) - (splits[0] ?? 0)
  return splits.map((at) => (step >= 86_400_000 ? dayMonth(at) : step < 1000 ? exact(new Date(at).toISOString()) : step < 60_000 ? seconds(at) : minutes(at)))
}

/** What somebody who does not see the chart needs: what it shows, from when to when, how low and how high. */
function describe(label: string, lines: Line[], [times, ...values]: Props['data']): string {
  if (times.length === 0) return `${label}: no values`
  const parts = lines.map((line, n) => {
    const known = (values[n] ?? []).filter((v): v is number => v !== null)
    if (known.length === 0) return `${line.name}: no values`
    let low = Infinity
    let high = -Infinity
    for (const v of known) {
      if (v < low) low = v
      if (v > high) high = v
    }
    return `${line.name}: ${known.length} values from ${shownValue(low)} to ${shownValue(high)}${line.unit ? ` ${line.unit}` : ''}, last ${shownValue(known.at(-1))}`
  })
  return `${label}, ${seconds(times[0]!)} to ${seconds(times.at(-1)!)}. ${parts.join('. ')}`
}
