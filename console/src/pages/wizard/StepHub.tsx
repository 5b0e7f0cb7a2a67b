import { Autocomplete, Button, NumberInput, Radio, SegmentedControl, Select, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { calls } from '../../api/calls'
import { count } from '../../lib/format'
import { CopyBlock, save } from '../../ui/Copy'
import { Note, sentence } from '../../ui/Note'
import type { DraftState } from './draft'
import { TierAdvice } from './TierAdvice'

const regions = ['australiaeast', 'brazilsouth', 'canadacentral', 'centralindia', 'centralus', 'eastasia', 'eastus', 'eastus2', 'francecentral', 'germanywestcentral', 'japaneast', 'koreacentral', 'northeurope', 'norwayeast', 'southafricanorth', 'southcentralus', 'southeastasia', 'swedencentral', 'switzerlandnorth', 'uaenorth', 'uksouth', 'westeurope', 'westus2', 'westus3']
const tiers = [['F1', 'F1, free, 8,000 messages a day'], ['B1', 'B1, basic, 400,000 a day and unit'], ['S1', 'S1, 400,000 a day and unit'], ['S2', 'S2, 6,000,000 a day and unit'], ['S3', 'S3, 300,000,000 a day and unit']] as const

/** Step 1: a hub that is there, or how to make one, checked as it is typed. */
export function StepHub({ draft }: { draft: DraftState }) {
  const { plan, change } = draft
  const next = () => {
    change({ step: 1 })
    void draft.ensure().catch(() => undefined)
  }
  return (
    <form className="card stack" onSubmit={(e) => { e.preventDefault(); next() }} noValidate>
      <Radio.Group label="Your IoT hub" value={plan.have ? 'have' : 'make'} onChange={(v) => change({ have: v === 'have' })}>
        <div className="stack-s" style={{ marginTop: 6 }}>
          <Radio value="have" label="I have a hub" />
          <Radio value="make" label="I need to make one" />
        </div>
      </Radio.Group>
      {!plan.have && <MakeHub draft={draft} />}
      <div className="row-wide">
        <Button variant="default" onClick={() => change({ service: '' })}>Back</Button>
        <Button type="submit">{plan.have ? 'Next' : 'I have made it'}</Button>
      </div>
    </form>
  )
}

function MakeHub({ draft }: { draft: DraftState }) {
  const { plan, change } = draft
  const [typed] = useDebouncedValue({ hub: plan.hub, group: plan.group }, 150)
  const checks = useQuery({ queryKey: ['azure-check', typed], queryFn: () => calls.azureCheck(typed), enabled: Boolean(typed.hub || typed.group), placeholderData: (before) => before })
  const wrong = (field: string, text: string) => {
    const found = text ? checks.data?.find((one) => one.field === field) : undefined
    return found && !found.ok ? sentence(found.message ?? 'Not allowed') : undefined
  }
  const hubWrong = wrong('hub', plan.hub)
  const groupWrong = wrong('group', plan.group)
  const ready = Boolean(plan.hub && plan.group && plan.region) && !hubWrong && !groupWrong
  const wanted = { hub: typed.hub, group: typed.group, region: plan.region, tier: plan.tier, units: plan.units }
  const script = useQuery({ queryKey: ['azure-script', wanted], queryFn: () => calls.azureScript(wanted), enabled: ready && typed.hub === plan.hub && typed.group === plan.group, placeholderData: (before) => before, retry: false })
  const [form, setForm] = useState<'az' | 'bicep'>('az')
  return (
    <>
      <div className="choices">
        <TextInput label="Hub name" description="3 to 50 letters, digits and hyphens. It becomes NAME.azure-devices.net, so it must be free in all of Azure, and cannot be changed later." value={plan.hub} onChange={(e) => change({ hub: e.currentTarget.value.trim() })} error={hubWrong} classNames={{ input: 'mono' }} spellCheck={false} autoComplete="off" />
        <TextInput label="Resource group" description="Letters, digits and . _ - ( ), no period at the end. It is made if it is not there." value={plan.group} onChange={(e) => change({ group: e.currentTarget.value.trim() })} error={groupWrong} spellCheck={false} autoComplete="off" />
      </div>
      <div className="choices">
        <Autocomplete label="Region" description="Near your devices; az account list-locations names all." data={regions} value={plan.region} onChange={(v) => change({ region: v.trim() })} error={plan.region ? undefined : 'Choose a region.'} />
        <div className="row" style={{ alignItems: 'flex-end', flexWrap: 'nowrap' }}>
          <Select className="grow" label="Tier" description="What a day may carry" allowDeselect={false} data={tiers.map(([value, label]) => ({ value, label }))} value={plan.tier} onChange={(v) => change({ tier: v ?? 'S1', units: v === 'F1' ? 1 : plan.units })} />
          <NumberInput w={90} label="Units" min={1} max={plan.tier === 'F1' ? 1 : plan.tier === 'S3' ? 10 : 200} value={plan.units} onChange={(v) => change({ units: Math.max(1, Number(v) || 1) })} hideControls />
        </div>
      </div>
      <TierAdvice onTake={(tier, units) => change({ tier, units })} />
      {!ready ? <p className="dim">With a name and a group, the commands stand here.</p> : script.isError ? <Note tone="red">{sentence(script.error.message)}</Note> : script.data && (
        <div className="stack-s">
          <div className="row-wide">
            <SegmentedControl size="xs" aria-label="Form" value={form} onChange={(v) => setForm(v as typeof form)} data={[{ value: 'az', label: 'az commands' }, { value: 'bicep', label: 'Bicep file' }]} />
            <Button size="xs" variant="default" onClick={() => (form === 'az' ? save('hub.sh', script.data.az, 'text/plain') : save('hub.bicep', script.data.bicep, 'text/plain'))}>Download</Button>
          </div>
          <CopyBlock text={form === 'az' ? script.data.az : script.data.bicep} label={form === 'az' ? 'az commands' : 'Bicep file'} />
          <p className="dim">{form === 'az' ? 'The last line prints the connection string for the next page. ' : 'For an existing resource group. '}Or in the portal: Create a resource, IoT Hub. It takes about two minutes for {count(plan.units)} × {plan.tier}; you can close this page, the draft stays.</p>
        </div>
      )}
    </>
  )
}
