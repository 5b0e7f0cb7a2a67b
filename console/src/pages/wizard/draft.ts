import { useEffect, useRef, useState } from 'react'
import { useQuery } from '@tanstack/react-query'
import { useSearchParams } from 'wouter'
import { calls } from '../../api/calls'
import type { Integration, LoginFound } from '../../api/types'

/** What the wizard knows; never the connection string. The server keeps it, so that the page can be closed. */
export interface Plan {
  service: '' | 'azure' | 'own'
  step: 0 | 1 | 2
  have: boolean
  hub: string
  group: string
  region: string
  tier: string
  units: number
  name: string
  topic: string
  body: 'raw' | 'json'
  transport: Integration['transport']
  template: string
  all: boolean
  devices: string[]
  existing: 'refuse' | 'adopt' | 'rename'
}

const fresh: Plan = { service: '', step: 0, have: true, hub: '', group: '', region: 'westeurope', tier: 'S1', units: 1, name: '', topic: '', body: 'raw', transport: 'amqp', template: '{name}-{id}', all: false, devices: [], existing: 'refuse' }

export interface DraftState {
  plan: Plan
  change: (part: Partial<Plan>) => void
  found: LoginFound | null
  setFound: (found: LoginFound | null) => void
  /** The draft's id; made when it is first needed. */
  ensure: () => Promise<string>
  id: string | null
  loading: boolean
  error: unknown
}

/** The plan, saved half a second after the last change. */
export function useDraft(): DraftState {
  const [search, setSearch] = useSearchParams()
  const id = search.get('draft')
  const [plan, setPlan] = useState<Plan>(fresh)
  const [found, setFound] = useState<LoginFound | null>(null)
  const stored = useQuery({ queryKey: ['draft', id], queryFn: () => calls.draft(id!), enabled: id !== null, staleTime: Infinity, retry: false })
  const known = useRef<string | null>(null)
  const latest = useRef(plan)
  latest.current = plan

  // What the server has counts once, when the page opens on it.
  useEffect(() => {
    if (!stored.data || known.current === stored.data.id) return
    known.current = stored.data.id
    setPlan({ ...fresh, ...(stored.data.data as Partial<Plan>) })
    setFound(stored.data.login)
  }, [stored.data])

  useEffect(() => {
    if (!id || known.current !== id) return
    const timer = setTimeout(() => void calls.saveDraft(id, { ...plan }).catch(() => undefined), 500)
    return () => clearTimeout(timer)
  }, [id, plan])

  const ensure = async () => {
    if (id) return id
    const made = await calls.newDraft({ ...latest.current })
    known.current = made.id
    setSearch({ draft: made.id }, { replace: true })
    return made.id
  }
  return { plan, change: (part) => setPlan((before) => ({ ...before, ...part })), found, setFound, ensure, id, loading: id !== null && known.current !== id && stored.isPending, error: stored.error }
}
