import { Button, FileButton, Textarea } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import { useRole } from '../../api/session'
import type { ImportLine } from '../../api/types'
import { count, plural } from '../../lib/format'
import { IconDownload, IconUpload } from '../../ui/icons'
import { save } from '../../ui/Copy'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Card, Page } from '../../ui/Page'
import { State } from '../../ui/State'

const EXAMPLE = 'name,kind,token\ngreenhouse-1,mqtt,\nwipy-7,pycom,9f26c1d0-1111-2222-3333-444455556666'
/** Rows shown of a long file; the download has all. */
const SHOWN = 200

/** Check first, then run. Running the same file again goes on where it stopped: what is there already is left alone. */
export default function ImportDevices() {
  const [csv, setCsv] = useState('')
  const [done, setDone] = useState<ImportLine[]>()
  const viewer = useRole() === 'viewer'
  const queries = useQueryClient()
  const check = useMutation({ mutationFn: () => calls.importCheck(csv) })
  const run = useMutation({
    mutationFn: () => readLines(csv, setDone),
    onSettled: () => void queries.invalidateQueries({ queryKey: ['devices'] }),
  })
  const change = (text: string) => {
    setCsv(text)
    setDone(undefined)
    check.reset()
    run.reset()
  }
  const checked = check.data
  return (
    <Page form title="Import devices" crumbs={<><Link href="/devices">Devices</Link> / Import</>}>
      <Card title="1. The file">
        <div className="stack">
          <p className="dim">A line for each device, with a heading. <code>name</code> is enough; <code>kind</code>, <code>token</code>, <code>username</code>, <code>password</code> and <code>topics</code> are understood too. Tokens of Pycom boards stay as they are.</p>
          <Textarea label="CSV" classNames={{ input: 'mono' }} value={csv} onChange={(e) => change(e.currentTarget.value)} placeholder={EXAMPLE} autosize minRows={5} maxRows={14} spellCheck={false} />
          <div className="row">
            <FileButton accept=".csv,text/csv,text/plain" onChange={(file) => void file?.text().then(change)}>
              {(props) => <Button {...props} variant="default" leftSection={<IconUpload size={16} aria-hidden />}>Choose a file</Button>}
            </FileButton>
            <Button onClick={() => check.mutate()} loading={check.isPending} disabled={!csv.trim() || viewer} title={viewer ? 'Needs the operator role' : undefined}>Check</Button>
          </div>
          <ProblemNote error={check.error} />
        </div>
      </Card>
      {checked && !done && (
        <Card title="2. What would happen" side={<Button onClick={() => run.mutate()} loading={run.isPending} disabled={checked.ok === 0}>Add {plural(checked.ok, 'device')}</Button>}>
          <p className="dim">{count(checked.ok)} new, {count(checked.exists)} there already, {count(checked.refused)} refused.</p>
          <Lines lines={checked.lines} />
        </Card>
      )}
      {done && (
        <Card title={run.isPending ? 'Adding…' : '3. Result'} side={<Button variant="default" leftSection={<IconDownload size={16} aria-hidden />} onClick={() => save('devices.csv', asCsv(done), 'text/csv')}>Download result</Button>}>
          <div className="stack">
            <Note tone="amber" title="The result holds the new secrets">They are shown this once: download it before you leave.</Note>
            <Lines lines={done} />
          </div>
        </Card>
      )}
      <ProblemNote error={run.error} title="The import stopped" />
      {run.isError && <div><Button onClick={() => run.mutate()}>Go on</Button></div>}
    </Page>
  )
}

const outcomes = { ok: ['green', 'New'], added: ['green', 'Added'], exists: ['grey', 'There already'], refused: ['red', 'Refused'] } as const

function Lines({ lines }: { lines: ImportLine[] }) {
  const worst = [...lines].sort((a, b) => Number(b.outcome === 'refused') - Number(a.outcome === 'refused'))
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label="Lines">
      <table className="plain">
        <thead><tr><th className="num">Line</th><th>Name</th><th>Result</th><th>Why</th></tr></thead>
        <tbody>
          {worst.slice(0, SHOWN).map((line) => {
            const [tone, word] = outcomes[line.outcome as keyof typeof outcomes] ?? ['grey', line.outcome]
            return <tr key={line.line}><td className="num">{line.line}</td><td>{line.name}</td><td><State tone={tone}>{word}</State></td><td className="dim">{line.outcome === 'refused' && line.message ? sentence(line.message) : ''}</td></tr>
          })}
        </tbody>
      </table>
      {lines.length > SHOWN && <p className="dim">{SHOWN} of {count(lines.length)} lines shown, refused ones first.</p>}
    </div>
  )
}

/** Runs the import and reports lines as the server writes them. */
async function readLines(csv: string, report: (lines: ImportLine[]) => void): Promise<void> {
  const response = await calls.importRun(csv)
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  const lines: ImportLine[] = []
  let rest = ''
  let ended = false
  for (;;) {
    const { done, value } = await reader.read()
    rest += value ?? ''
    const parts = rest.split('\n')
    rest = done ? '' : (parts.pop() ?? '')
    for (const part of parts) {
      if (!part.trim()) continue
      const line = JSON.parse(part) as ImportLine & { done?: boolean }
      if (line.done) ended = true
      else lines.push(line)
    }
    report([...lines])
    if (done) break
  }
  if (!ended) throw new Error('the connection broke before the last line; go on adds the rest')
}

function asCsv(lines: ImportLine[]): string {
  const cell = (text: unknown) => {
    const words = String(text ?? '')
    return /[",\n;]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words
  }
  const head = ['line', 'name', 'outcome', 'id', 'kind', 'username', 'password', 'token', 'message'] as const
  return [head.join(','), ...lines.map((line) => head.map((name) => cell(line[name])).join(','))].join('\n') + '\n'
}
