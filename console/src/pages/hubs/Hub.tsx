import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from 'wouter'
import { calls } from '../../api/calls'
import { count, dateTime, plural, share } from '../../lib/format'
import type { Hub as HubShown } from '../../api/types'
import { Ago } from '../../ui/Ago'
import { Until } from '../../ui/Until'
import { IconRefresh } from '../../ui/icons'
import { Note, ProblemNote, sentence } from '../../ui/Note'
import { Card, Facts, Page, RoleButton, Tile } from '../../ui/Page'
import { StateOf } from '../../ui/State'
import { Waiting } from '../../ui/Waiting'
import { hubState } from './Hubs'
import { say } from '../../ui/toast'

/** A hub as Hubward meets it: connections, links, pauses, what was used today. */
export default function Hub({ host }: { host: string }) {
  const queries = useQueryClient()
  const asked = useQuery({ queryKey: ['hubs', host], queryFn: () => calls.hub(host) })
  const reconnect = useMutation({
    mutationFn: () => calls.reconnect(host),
    onSuccess: () => {
      say('All pauses ended; the next tries are now.')
      void queries.invalidateQueries({ queryKey: ['hubs'] })
    },
  })
  const crumbs = <><Link href="/hubs">Hubs</Link> / {host}</>
  if (asked.isPending) return <Waiting />
  if (!asked.data) return <Page title={host} crumbs={crumbs}><ProblemNote error={asked.error} /></Page>
  const hub = asked.data
  const used = hub.used_today
  return (
    <Page title={hub.host_name} crumbs={crumbs} sub={<StateOf shown={hubState(hub)} />}
      actions={<RoleButton role="operator" variant="default" leftSection={<IconRefresh size={16} aria-hidden />} loading={reconnect.isPending} onClick={() => reconnect.mutate()}>Try now</RoleButton>}>
      <ProblemNote error={reconnect.error} />
      {hub.away_since && <Note tone="amber" title="The hub does not answer">Since {dateTime(hub.away_since)}. Signals wait on disk; Hubward tries again by itself.</Note>}
      {hub.holding && <Note tone="amber" title={sentence(hub.holding.message)}>{hub.holding.next_try_at && <>Next try <Until at={hub.holding.next_try_at} /> ({dateTime(hub.holding.next_try_at)}). </>}Signals wait on disk. {sentence(hub.holding.remedy)}</Note>}
      {hub.throttled && !hub.holding && <Note tone="amber" title="The hub asks to slow down">All its lanes go slower together, fairly for each device.</Note>}
      <div className="tiles">
        <Tile label="Connections" value={count(hub.connections)} />
        <Tile label="Links" value={count(hub.links)} note="up to 995 on a connection" />
        <Tile label="Lanes" value={count(hub.lanes)} note="one for each device and integration" />
        <Tile label="Messages today" value={count(used.messages)} note={<>since <Ago at={used.since} /></>} />
        {used.quota
          ? <Tile label="Quota used today" value={share(used.quota.used_percent)} note={`${count(used.quota.used)} of ${count(used.quota.messages_per_day)}, forecast ${share(used.quota.forecast_percent)} by 00:00 UTC`} />
          : <Tile label="Billed at 4 KB" value={count(used.units_4k)} note={`forecast ${count(used.forecast_units_4k)} by 00:00 UTC`} />}
      </div>
      <Card title="Facts">
        <Facts items={[
          ['Hostname', <code key="h">{hub.host_name}</code>],
          ['Integrations', <span key="i">{hub.integrations.map((name, n) => <span key={name}>{n > 0 && ', '}<Link href={`/integrations/${encodeURIComponent(name)}`}>{name}</Link></span>)}</span>],
          ['Tier and units', used.quota ? `${used.quota.tier}, ${plural(used.quota.units, 'unit')}` : 'not said'],
          ['Throttled', hub.throttled ? 'yes, slowed down' : 'no'],
          ['TLS', hub.own_ca ? 'certificate checked, with the CA given for it' : 'certificate checked against the authorities of the web'],
          ['Its clock', hub.clock_offset_s === null ? 'not asked since the start' : <span key="c">{clock(hub.clock_offset_s)}{hub.clock_seen_at && <>, seen <Ago at={hub.clock_seen_at} /></>}</span>],
          ['Last error', hub.last_error ? sentence(hub.last_error) : 'none'],
        ]} />
        <p className="dim small" style={{ marginTop: 12 }}>Only messages that Hubward sent are counted here{used.quota ? <>, in pieces of {used.quota.tier === 'F1' ? '0.5 KB' : '4 KB'} as the meter of {used.quota.tier} does</> : null}. {!used.quota && <HowToShare hub={hub} />}</p>
      </Card>
    </Page>
  )
}

/** The share of the day is known once tier and units are. */
function HowToShare({ hub }: { hub: HubShown }) {
  const links = hub.integrations.map((name, n) => <span key={name}>{n > 0 && ', '}<Link href={`/integrations/${encodeURIComponent(name)}/edit`}>{name}</Link></span>)
  return <>To see the share of the day&apos;s quota, say the hub&apos;s tier and units: Edit {links}, Size of the hub.</>
}

/** Tokens of a clock that is more than five minutes off are refused. */
function clock(ahead: number): string {
  if (Math.abs(ahead) < 2) return 'agrees with this machine'
  return `${count(Math.abs(ahead))} s ${ahead > 0 ? 'ahead of' : 'behind'} this machine${Math.abs(ahead) > 240 ? '; beyond 300 s tokens are refused' : ''}`
}
