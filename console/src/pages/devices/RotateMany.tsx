import { Button, Radio } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { calls } from '../../api/calls'
import { ProblemError } from '../../api/problem'
import type { Credentials } from '../../api/types'
import { count, dateTime, plural } from '../../lib/format'
import { save } from '../../ui/Copy'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { Note, sentence } from '../../ui/Note'
import { overlaps } from '../device/RotateDevice'
import type { ChosenDevices } from './choice'

/** So many are asked for at once: what was made is seen to grow, and one broken answer loses few. */
const AT_A_TIME = 100

interface Outcome { made: Credentials[]; failed: string[] }

/** New secrets for many devices. They are in this dialog and in the file that it offers, and nowhere else. */
export function RotateMany({ chosen, open, onDone, onClose }: { chosen: ChosenDevices; open: boolean; onDone: () => void; onClose: () => void }) {
  const queries = useQueryClient()
  const [overlap, setOverlap] = useState<string>('86400')
  const [saved, setSaved] = useState(false)
  const [outcome, setOutcome] = useState<Outcome>()
  const rotate = useMutation({
    mutationFn: async () => {
      const so: Outcome = { made: [], failed: [] }
      const ids = [...chosen.keys()]
      for (let at = 0; at < ids.length; at += AT_A_TIME) {
        const part = ids.slice(at, at + AT_A_TIME)
        try {
          const { rotated, failed } = await calls.rotateMany(part, Number(overlap))
          so.made.push(...rotated)
          so.failed.push(...failed.map((one) => `${chosen.get(one.id) ?? one.id}: ${one.message}`))
        } catch (error) {
          // What was made before must be seen all the same.
          so.failed.push(`${part.map((id) => chosen.get(id) ?? id).slice(0, 3).join(', ')}${part.length > 3 ? ` and ${count(part.length - 3)} more` : ''}: ${ProblemError.from(error).message}`)
        }
        setOutcome({ made: [...so.made], failed: [...so.failed] })
      }
    },
    onSettled: () => void queries.invalidateQueries({ queryKey: ['device'] }),
  })
  const many = plural(chosen.size, 'device')
  const finished = outcome !== undefined && !rotate.isPending
  const until = outcome?.made[0]?.old_until
  return (
    <Dialog open={open} onClose={rotate.isPending ? () => undefined : finished ? onDone : onClose} title={finished ? `New secrets of ${plural(outcome.made.length, 'device')}` : `Rotate the secrets of ${many}`}>
      {finished ? (
        <>
          {outcome.made.length > 0 && (
            <>
              <Note tone="amber" title="Save them now">Hubward keeps only hashes of them. A secret that is lost is rotated once more.</Note>
              <div><Button onClick={() => { save('secrets.csv', csv(outcome.made), 'text/csv'); setSaved(true) }}>Download as CSV</Button></div>
              <div className="table-scroll" tabIndex={0} role="region" aria-label="New secrets" style={{ maxHeight: 260 }}>
                <table className="plain">
                  <thead><tr><th>Device</th><th>Secret</th></tr></thead>
                  <tbody>{outcome.made.map((one) => <tr key={one.id}><td>{one.name}</td><td><code>{one.token ?? one.password}</code></td></tr>)}</tbody>
                </table>
              </div>
              {until && <Note title={`The old secrets count until ${dateTime(until)}`}>Give the devices the new ones before.</Note>}
            </>
          )}
          {outcome.failed.length > 0 && <Note tone="red" role="alert" title="Not all were rotated"><ul>{outcome.failed.map((one) => <li key={one}>{sentence(one)}</li>)}</ul></Note>}
          <DialogFoot><Button variant={saved ? 'filled' : 'default'} onClick={onDone}>I have saved them</Button></DialogFoot>
        </>
      ) : (
        <>
          <Radio.Group label="How long do the old secrets count?" value={overlap} onChange={setOverlap}>
            <div className="stack-s" style={{ marginTop: 8 }}>{overlaps.map(([seconds, words]) => <Radio key={seconds} value={seconds} label={words} disabled={rotate.isPending} />)}</div>
          </Radio.Group>
          {overlap === '0' ? <Note tone="amber">Each device must get its new secret before it can connect again. Open connections end at once.</Note>
            : <p className="dim">Both count meanwhile. What a device opened with its old secret is closed when its time is over.</p>}
          {rotate.isPending && <p role="status">{count(outcome?.made.length ?? 0)} of {many}</p>}
          <DialogFoot><Button variant="default" onClick={onClose} disabled={rotate.isPending}>Keep the old ones</Button><Button onClick={() => rotate.mutate()} loading={rotate.isPending}>Rotate {many}</Button></DialogFoot>
        </>
      )}
    </Dialog>
  )
}

/** One line a device, quoted where a field needs it. */
function csv(made: Credentials[]): string {
  const field = (text: string) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
  const row = (one: Credentials) => [one.name, one.id, one.kind, one.username ?? '', one.password ?? '', one.token ?? '', one.old_until ?? ''].map(field).join(',')
  return `${['name,id,kind,username,password,token,old_until', ...made.map(row)].join('\r\n')}\r\n`
}
