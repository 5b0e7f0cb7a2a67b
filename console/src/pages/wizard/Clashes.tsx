import { Radio } from '@mantine/core'
import type { Preview } from '../../api/types'
import { plural } from '../../lib/format'
import { Note } from '../../ui/Note'

/** Identities that exist already are never overwritten: somebody says what is meant. */
export function Clashes({ preview, existing, onChange }: { preview: Preview; existing: string; onChange: (to: 'refuse' | 'adopt' | 'rename') => void }) {
  const clashing = preview.names.filter((one) => one.clash)
  return (
    <Note tone="amber" title={`${plural(preview.clashes, 'identity exists', 'identities exist')} in the hub already`}>
      <ul>{clashing.slice(0, 5).map((one) => <li key={one.device}><code>{one.hub_device_id}</code> {one.clash}</li>)}</ul>
      <Radio.Group aria-label="What to do with identities that exist" value={existing} onChange={(v) => onChange(v as 'refuse' | 'adopt' | 'rename')}>
        <div className="stack-s" style={{ marginTop: 8 }}>
          <Radio value="refuse" label="Leave it, and mark the device as a conflict" />
          <Radio value="adopt" label="Use it (its keys are read)" />
          <Radio value="rename" label="Choose another name" />
        </div>
      </Radio.Group>
    </Note>
  )
}
