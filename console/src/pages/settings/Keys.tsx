import { Button } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { calls } from '../../api/calls'
import { count } from '../../lib/format'
import { Dialog, DialogFoot } from '../../ui/Dialog'
import { Note, ProblemNote } from '../../ui/Note'
import { Card, Facts } from '../../ui/Page'
import { Waiting } from '../../ui/Waiting'

/** The keys that seal connection strings and the keys of identities. None of them is ever shown. */
export default function Keys() {
  const queries = useQueryClient()
  const [asking, ask] = useState(false)
  const keys = useQuery({ queryKey: ['keys'], queryFn: calls.keys })
  const rotate = useMutation({
    mutationFn: calls.rotateKeys,
    onSuccess: () => {
      ask(false)
      void queries.invalidateQueries({ queryKey: ['keys'] })
    },
  })
  if (keys.isPending) return <Waiting />
  if (!keys.data) return <ProblemNote error={keys.error} />
  const { master_key_id, key_file } = keys.data
  const done = rotate.data
  return (
    <div className="split even">
      <Card title="Master key">
        <div className="stack">
          <Facts items={[['Id', <code key="id">{master_key_id}</code>], ['Kept in', key_file ? <code key="f">{key_file}</code> : 'the environment of the server (HUBWARD_MASTER_KEY)']]} />
          <Note tone="amber" title="Keep a copy elsewhere">Without it no connection string and no key of an identity can be opened, and a backup of the data folder is of no use.</Note>
        </div>
      </Card>
      <Card title="Rotation">
        <div className="stack">
          <p className="dim">Makes a new key and seals every stored secret with it again. Devices, hubs and users notice nothing. Do it when somebody who had the key leaves, or once a year.</p>
          {done && (
            <Note tone="green" role="status" title={`${count(done.resealed)} ${done.resealed === 1 ? 'secret' : 'secrets'} sealed again`}>
              {done.master_key_changed ? <>The master key is now <code>{done.master_key_id}</code>. The old one stays in the file for older backups: copy the file again.</> : 'The master key comes from the environment and stays; the key under it is new. For a new master key put it before the old one in HUBWARD_MASTER_KEY and start again.'}
            </Note>
          )}
          <div><Button variant="default" onClick={() => { rotate.reset(); ask(true) }}>Rotate keys</Button></div>
        </div>
      </Card>
      <Dialog open={asking} onClose={() => ask(false)} title="Rotate the keys">
        <p>{key_file ? <>A new master key is written into <code>{key_file}</code>, before the old ones. Copy the file to where you keep its copy afterwards.</> : 'A new key is made under the master key of the environment.'} Nothing stops meanwhile.</p>
        <ProblemNote error={rotate.error} />
        <DialogFoot><Button variant="default" onClick={() => ask(false)}>Cancel</Button><Button data-autofocus loading={rotate.isPending} onClick={() => rotate.mutate()}>Rotate keys</Button></DialogFoot>
      </Dialog>
    </div>
  )
}
