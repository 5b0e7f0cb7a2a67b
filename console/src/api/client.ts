import createClient, { type Middleware } from 'openapi-fetch'
import { ProblemError } from './problem'
import type { paths } from './schema'
import type { Whole } from './types'

let csrf: string | undefined
let ended: ((code: string) => void) | undefined

/** The token that changes by this session must carry. */
export function setCsrf(token: string | undefined) {
  csrf = token
}

/** Called when an answer says that nobody is logged in any more. */
export function onSessionEnd(listener: (code: string) => void) {
  ended = listener
}

const session: Middleware = {
  onRequest({ request }) {
    if (csrf && request.method !== 'GET' && request.method !== 'HEAD') request.headers.set('X-CSRF-Token', csrf)
    return request
  },
}

export const client = createClient<paths>({ baseUrl: '/' })
client.use(session)

interface Answer<T> { data?: T; error?: unknown; response: Response }

/** The answer's content, or the refusal thrown as a problem. */
export async function take<T>(asked: Promise<Answer<T>>): Promise<Whole<T>> {
  const { data, error, response } = await asked
  if (response.ok) return data as Whole<T>
  const problem = ProblemError.ofBody(response.status, error)
  if (response.status === 401 && (problem.code === 'session_expired' || problem.code === 'unauthorized')) ended?.(problem.code)
  throw problem
}

/** A content and its version, for an edit that must not overwrite somebody else's. */
export async function takeVersioned<T>(asked: Promise<Answer<T>>): Promise<{ it: Whole<T>; etag: string }> {
  const answer = await asked
  const it = await take(Promise.resolve(answer))
  return { it, etag: answer.response.headers.get('etag') ?? '*' }
}

/** For answers that are not JSON documents: streams of lines. */
export async function post(path: string, body: unknown): Promise<Response> {
  const headers: Record<string, string> = { 'Content-Type': 'application/json' }
  if (csrf) headers['X-CSRF-Token'] = csrf
  const response = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) })
  if (!response.ok) throw ProblemError.ofBody(response.status, await response.json().catch(() => null))
  return response
}
