import { Button, Select, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { calls } from '../../api/calls'
import type { Token } from '../../api/types'
import { date, dateTime } from '../../lib/format'
import { Ago } from '../../ui/Ago'
import { ConfirmName } from '../../ui/ConfirmName'
import { CopyBlock } from '../../ui/Copy'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { IconPlus } from '../../ui/icons'
import { Note, ProblemNote } from '../../ui/Note'
import { Card, Empty } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'

const scopes = [{ value: 'read', label: 'read: see everything but secrets' }, { value: 'operate', label: 'operate: change devices and integrations' }, { value: 'admin', label: 'admin: everything' }, { value: 'metrics', label: 'metrics: the metrics page alone' }, { value: 'subscribe:devices/#', label: 'subscribe: all signals by MQTT' }]
const ends = [{ value: '2592000', label: 'in 30 days' }, { value: '31536000', label: 'in a year' }, { value: '', label: 'never' }]

export default function Tokens() {
  const queries = useQueryClient()
  const list = useQuery({ queryKey: ['tokens'], queryFn: calls.tokens })
  const [adding, setAdding] = useState(false)
  const [revoking, revoke] = useState<Token>()
  const refresh = () => void queries.invalidateQueries({ queryKey: ['tokens'] })
  const gone = useMutation({ mutationFn: (id: string) => calls.revokeToken(id), onSuccess: () => { refresh(); revoke(undefined) } })
  if (list.isPending) return <Waiting />
  const items = list.data?.items ?? []
  return (
    <Card title="Tokens for programs" side={<Button size="xs" leftSection={<IconPlus size={14} aria-hidden />} onClick={() => setAdding(true)}>Make a token</Button>}>
      <ProblemNote error={list.error} />
      {items.length === 0 ? <Empty>No tokens yet. Scripts, the commands on other machines and MQTT apps use them.</Empty> : (
        <div className="table-scroll" tabIndex={0} role="region" aria-label="Tokens">
          <table className="plain">
            <thead><tr><th>Name</th><th>Scopes</th><th>Last used</th><th>Ends</th><th>Made</th><th><span className="hidden-label">Actions</span></th></tr></thead>
            <tbody>
              {items.map((token) => (
                <tr key={token.id}>
                  <td>{token.name}</td>
                  <td>{token.scopes.map((scope) => <code key={scope}>{scope} </code>)}</td>
                  <td><Ago at={token.last_used_at} /></td>
                  <td>{token.expires_at ? dateTime(token.expires_at) : <span className="dim">never</span>}</td>
                  <td>{date(token.created_at)}</td>
                  <td className="num"><Button size="xs" variant="default" onClick={() => revoke(token)}>Revoke</Button></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Dialog open={adding} onClose={() => setAdding(false)} title="Make a token">{adding && <AddToken onMade={refresh} onDone={() => setAdding(false)} />}</Dialog>
      <Dialog open={revoking !== undefined} onClose={() => { revoke(undefined); gone.reset() }} title={`Revoke ${revoking?.name ?? ''}`}>
        <p>Whoever uses it is cut off at once.</p>
        <ProblemNote error={gone.error} />
        {revoking && <ConfirmName name={revoking.name} action="Revoke token" keep="Keep it" busy={gone.isPending} onCancel={() => revoke(undefined)} onConfirm={() => gone.mutate(revoking.id)} />}
      </Dialog>
    </Card>
  )
}

function AddToken({ onMade, onDone }: { onMade: () => void; onDone: () => void }) {
  const [name, setName] = useState('')
  const [scope, setScope] = useState('read')
  const [end, setEnd] = useState('31536000')
  const add = useMutation({ mutationFn: () => calls.addToken({ name: name.trim(), scopes: [scope], ...(end ? { expires_in: Number(end) } : {}) }), onSuccess: onMade })
  if (add.data) {
    return (
      <>
        <CopyBlock text={add.data.token} label="token" />
        <Note tone="amber" title="Copy it now">It is shown this once; Hubward keeps only a hash of it.</Note>
        <DialogFoot><Button onClick={onDone}>I have copied it</Button></DialogFoot>
      </>
    )
  }
  return (
    <form className="stack" onSubmit={(e: FormEvent) => { e.preventDefault(); add.mutate() }} noValidate>
      <TextInput label="Name" description="What it is for." value={name} onChange={(e) => setName(e.currentTarget.value)} autoComplete="off" data-autofocus />
      <Select label="May" allowDeselect={false} data={scopes} value={scope} onChange={(v) => setScope(v ?? 'read')} />
      <Select label="Ends" allowDeselect={false} data={ends} value={end} onChange={(v) => setEnd(v ?? '')} />
      <ProblemNote error={add.error} />
      <DialogFoot><Button type="submit" loading={add.isPending}>Make token</Button></DialogFoot>
    </form>
  )
}
