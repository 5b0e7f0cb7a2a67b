import { NumberInput, Select } from '@mantine/core'

export interface Size { tier: string; units: number }
interface Props { size: Size; onChange: (size: Size) => void; blame: (field: string) => string | undefined }

const tiers = [
  { value: '', label: 'Not said' },
  { value: 'F1', label: 'F1, free, 8,000 messages a day' },
  { value: 'S1', label: 'S1, 400,000 a day and unit' },
  { value: 'S2', label: 'S2, 6,000,000 a day and unit' },
  { value: 'S3', label: 'S3, 300,000,000 a day and unit' },
]
const most: Record<string, number> = { F1: 1, S3: 10 }

/** What the hub is, as the Azure portal says it on the hub's overview. */
export function HubSize({ size, onChange, blame }: Props) {
  return (
    <div className="row" style={{ alignItems: 'flex-start', flexWrap: 'nowrap' }}>
      <Select className="grow" label="Tier" description="Said, the hub's page shows the share of the day's quota, and a backlog goes up as fast as the tier allows." allowDeselect={false} data={tiers} value={size.tier} onChange={(tier) => onChange({ tier: tier ?? '', units: Math.min(size.units, most[tier ?? ''] ?? 200) })} error={blame('tier')} />
      {size.tier !== '' && <NumberInput w={90} label="Units" description={<>&nbsp;</>} min={1} max={most[size.tier] ?? 200} value={size.units} onChange={(units) => onChange({ ...size, units: Math.max(1, Number(units) || 1) })} hideControls error={blame('units')} />}
    </div>
  )
}
