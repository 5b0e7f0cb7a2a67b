import { SegmentedControl } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { calls } from '../api/calls'
import type { Credentials } from '../api/types'
import { snippetsFor } from '../lib/snippets'
import { CopyBlock } from './Copy'
import { Note, ProblemNote } from './Note'
import { Waiting } from './Waiting'

/** Ready-to-paste ways to a first signal. */
export function SnippetBox({ device, made }: { device: { id: string; name: string; username?: string | null }; made?: Credentials }) {
  const facts = useQuery({ queryKey: ['snippets', device.id], queryFn: () => calls.snippets(device.id), staleTime: Infinity })
  const [chosen, choose] = useState<string>()
  if (facts.isPending) return <Waiting />
  if (facts.isError) return <ProblemNote error={facts.error} />
  const snippets = snippetsFor(facts.data, device, made)
  const snippet = snippets.find((one) => one.name === chosen) ?? snippets[0]!
  return (
    <div className="stack-s">
      <div className="table-scroll">
        <SegmentedControl size="xs" data={snippets.map((one) => one.name)} value={snippet.name} onChange={choose} aria-label="Tool" />
      </div>
      {snippet.note && <p className="dim small">{snippet.note}</p>}
      <CopyBlock text={snippet.text} label={`${snippet.name} snippet`} />
      {facts.data.loopback_only && <Note tone="amber" title="Only programs on this machine reach the broker">Boards on the network need it opened, in clear text: start with <code>--mqtt 0.0.0.0:1883</code>.</Note>}
    </div>
  )
}
