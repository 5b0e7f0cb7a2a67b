import { useQuery, useQueryClient } from '@tanstack/react-query'
import { client, setCsrf, take } from './client'
import { ProblemError } from './problem'
import type { Session } from './types'

export type Role = 'viewer' | 'operator' | 'admin'
const ranks: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 }

export const may = (has: Role | undefined, needs: Role) => has !== undefined && ranks[has] >= ranks[needs]

async function ask(): Promise<Session | null> {
  try {
    const session = await take(client.GET('/api/v1/session'))
    setCsrf(session.csrf ?? undefined)
    return session
  } catch (error) {
    if (error instanceof ProblemError && error.status === 401) return null
    throw error
  }
}

export const sessionKey = ['session'] as const

/** Who is logged in; null: nobody. */
export function useSession() {
  return useQuery({ queryKey: sessionKey, queryFn: ask, staleTime: Infinity, retry: false })
}

export function useRole(): Role | undefined {
  return useSession().data?.user?.role as Role | undefined
}

/** Takes a login's answer as the session, and forgets what another user saw. */
export function useEnter() {
  const queries = useQueryClient()
  return (session: Session) => {
    setCsrf(session.csrf ?? undefined)
    queries.clear()
    queries.setQueryData(sessionKey, session)
  }
}
