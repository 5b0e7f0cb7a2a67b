import { Button, PasswordInput, Select, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { calls } from '../../api/calls'
import { ProblemError } from '../../api/problem'
import { useSession } from '../../api/session'
import type { User } from '../../api/types'
import { date } from '../../lib/format'
import { Ago } from '../../ui/Ago'
import { ConfirmName } from '../../ui/ConfirmName'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { IconPlus } from '../../ui/icons'
import { ProblemNote, sentence } from '../../ui/Note'
import { Card } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'
import { say } from '../../ui/toast'

const roles = [{ value: 'viewer', label: 'Viewer: sees everything but secrets' }, { value: 'operator', label: 'Operator: changes devices and integrations' }, { value: 'admin', label: 'Admin: everything' }]

export default function Users() {
  const queries = useQueryClient()
  const me = useSession().data?.user?.name
  const list = useQuery({ queryKey: ['users'], queryFn: calls.users })
  const [adding, setAdding] = useState(false)
  const [removing, remove] = useState<User>()
  const [changing, change] = useState<User>()
  const refresh = () => void queries.invalidateQueries({ queryKey: ['users'] })
  const role = useMutation({ mutationFn: (to: Pick<User, 'name' | 'role'>) => calls.editUser(to.name, to.role), onSettled: refresh })
  const gone = useMutation({ mutationFn: (name: string) => calls.removeUser(name), onSuccess: () => { refresh(); remove(undefined) } })
  if (list.isPending) return <Waiting />
  return (
    <Card title="Users" side={<Button size="xs" leftSection={<IconPlus size={14} aria-hidden />} onClick={() => setAdding(true)}>Add user</Button>}>
      <ProblemNote error={list.error ?? role.error} />
      <div className="table-scroll" tabIndex={0} role="region" aria-label="Users">
        <table className="plain">
          <thead><tr><th>Name</th><th>Role</th><th>Last login</th><th>Since</th><th><span className="hidden-label">Actions</span></th></tr></thead>
          <tbody>
            {list.data?.items.map((user) => (
              <tr key={user.name}>
                <td>{user.name}{user.name === me && <span className="dim"> (you)</span>}</td>
                <td><Select aria-label={`Role of ${user.name}`} size="xs" w={130} allowDeselect={false} data={['viewer', 'operator', 'admin']} value={user.role} onChange={(v) => v && v !== user.role && role.mutate({ name: user.name, role: v as User['role'] })} /></td>
                <td><Ago at={user.last_login_at} /></td>
                <td>{date(user.created_at)}</td>
                <td><div className="row" style={{ justifyContent: 'flex-end', flexWrap: 'nowrap' }}><Button size="xs" variant="default" onClick={() => change(user)}>Password</Button><Button size="xs" variant="default" onClick={() => remove(user)}>Remove</Button></div></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <Dialog open={adding} onClose={() => setAdding(false)} title="Add a user"><AddUser onDone={() => { refresh(); setAdding(false) }} /></Dialog>
      <Dialog open={changing !== undefined} onClose={() => change(undefined)} title={`New password of ${changing?.name ?? ''}`}>{changing && <NewPassword name={changing.name} onDone={() => change(undefined)} />}</Dialog>
      <Dialog open={removing !== undefined} onClose={() => { remove(undefined); gone.reset() }} title={`Remove ${removing?.name ?? ''}`}>
        <p>Their sessions end at once. What they made stays.</p>
        <ProblemNote error={gone.error} />
        {removing && <ConfirmName name={removing.name} action="Remove user" keep="Keep" busy={gone.isPending} onCancel={() => remove(undefined)} onConfirm={() => gone.mutate(removing.name)} />}
      </Dialog>
    </Card>
  )
}

function AddUser({ onDone }: { onDone: () => void }) {
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const [role, setRole] = useState<User['role']>('viewer')
  const add = useMutation({ mutationFn: () => calls.addUser({ name: name.trim(), password, role }), onSuccess: onDone })
  const problem = add.error ? ProblemError.from(add.error) : undefined
  const blame = (field: string) => (problem?.field === field ? sentence(problem.message) : undefined)
  return (
    <form className="stack" onSubmit={(e: FormEvent) => { e.preventDefault(); add.mutate() }} noValidate>
      <TextInput label="Name" value={name} onChange={(e) => setName(e.currentTarget.value)} error={blame('name')} autoComplete="off" data-autofocus />
      <PasswordInput label="Password" description="10 characters at least. Give it to them on a safe way; they can change it." value={password} onChange={(e) => setPassword(e.currentTarget.value)} error={blame('password')} autoComplete="new-password" visibilityToggleButtonProps={{ 'aria-label': 'Show password' }} />
      <Select label="Role" allowDeselect={false} data={roles} value={role} onChange={(v) => setRole((v ?? 'viewer') as User['role'])} />
      {problem && !['name', 'password'].includes(problem.field ?? '') && <ProblemNote error={add.error} />}
      <DialogFoot><Button type="submit" loading={add.isPending}>Add user</Button></DialogFoot>
    </form>
  )
}

function NewPassword({ name, onDone }: { name: string; onDone: () => void }) {
  const [password, setPassword] = useState('')
  const set = useMutation({ mutationFn: () => calls.setPassword(name, password), onSuccess: () => { say(`The password of ${name} is changed; their sessions ended.`); onDone() } })
  return (
    <form className="stack" onSubmit={(e: FormEvent) => { e.preventDefault(); set.mutate() }} noValidate>
      <PasswordInput label="New password" description="10 characters at least. Their sessions end." value={password} onChange={(e) => setPassword(e.currentTarget.value)} autoComplete="new-password" data-autofocus visibilityToggleButtonProps={{ 'aria-label': 'Show password' }} />
      <ProblemNote error={set.error} />
      <DialogFoot><Button type="submit" loading={set.isPending}>Change password</Button></DialogFoot>
    </form>
  )
}
