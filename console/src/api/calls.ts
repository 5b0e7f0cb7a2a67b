// Everything that the console asks of the API, one function each. Nothing else in the console speaks HTTP.
import { client, post, take, takeVersioned } from './client'
import { ProblemError } from './problem'
import type * as t from './types'

type Role = t.User['role']

const path = <P extends object>(p: P) => ({ params: { path: p } })
const query = <Q extends object>(q: Q) => ({ params: { query: clean(q) } })
const both = <P extends object, Q extends object>(p: P, q: Q) => ({ params: { path: p, query: clean(q) } })

/** Without what was not chosen. */
function clean<Q extends object>(q: Q): Q {
  return Object.fromEntries(Object.entries(q).filter(([, value]) => value !== undefined && value !== '' && value !== null)) as Q
}

export interface DeviceFilter { q?: string; kind?: 'mqtt' | 'pycom'; state?: string; integration?: string; sort?: string; order?: 'asc' | 'desc'; limit?: number; cursor?: string }
export interface SignalFilter { device?: string; integration?: string; state?: string; topic?: string; q?: string; since?: string; until?: string; before?: number; limit?: number }

export const calls = {
  // Who is here
  setupNeeded: () => take(client.GET('/api/v1/setup')),
  setup: (body: { token: string; name: string; password: string }) => take(client.POST('/api/v1/setup', { body })),
  login: (body: { name: string; password: string }) => take(client.POST('/api/v1/session', { body })),
  logout: () => take(client.DELETE('/api/v1/session')),
  changePassword: (body: { old: string; new: string }) => take(client.PUT('/api/v1/session/password', { body })),

  overview: () => take(client.GET('/api/v1/overview')),
  about: () => take(client.GET('/api/v1/about')),
  dropped: () => take(client.GET('/api/v1/mqtt/dropped')),
  journal: () => take(client.GET('/api/v1/journal/info')),

  // Devices
  devices: (filter: DeviceFilter) => take(client.GET('/api/v1/devices', query(filter))),
  device: async (device: string) => {
    const it = await take(client.GET('/api/v1/devices/{device}', path({ device })))
    return { ...it, told: it.told as t.Told }
  },
  addDevice: (body: { name: string; kind: 'mqtt' | 'pycom'; token?: string; username?: string; topics?: string[] }) => take(client.POST('/api/v1/devices', { body })),
  editDevice: async (device: string, body: { name?: string; topics?: string[] }) => {
    const { etag } = await takeVersioned(client.GET('/api/v1/devices/{device}', path({ device })))
    return take(client.PATCH('/api/v1/devices/{device}', { params: { path: { device }, header: { 'If-Match': etag } }, body }))
  },
  rotate: (device: string, overlap: number) => take(client.POST('/api/v1/devices/{device}/rotate', both({ device }, { overlap }))),
  rotateMany: (devices: string[], overlap: number) => take(client.POST('/api/v1/device-credentials/rotate', { body: { devices, overlap } })),
  disconnect: (device: string) => take(client.POST('/api/v1/devices/{device}/disconnect', path({ device }))),
  deviceRemoval: (device: string) => take(client.GET('/api/v1/devices/{device}/removal', path({ device }))),
  removeDevice: (device: string, discard_backlog: boolean) => take(client.DELETE('/api/v1/devices/{device}', both({ device }, { discard_backlog }))),
  snippets: (device: string) => take(client.GET('/api/v1/devices/{device}/snippets', path({ device }))),
  connections: (device: string, cursor?: string) => take(client.GET('/api/v1/devices/{device}/connections', both({ device }, { limit: 50, cursor }))),
  importCheck: (csv: string) => take(client.POST('/api/v1/devices/import/check', { body: { csv } })),
  importRun: (csv: string) => post('/api/v1/devices/import', { csv }),

  // Signals
  deviceSignals: (device: string, filter: { before?: number; signal?: string; limit?: number }) => take(client.GET('/api/v1/devices/{device}/signals', both({ device }, filter))),
  signal: (device: string, offset: string | number) => take(client.GET('/api/v1/devices/{device}/signals/{offset}', path({ device, offset: Number(offset) }))),
  signals: (filter: SignalFilter) => take(client.GET('/api/v1/signals', query(filter))),
  series: (device: string) => take(client.GET('/api/v1/devices/{device}/series', path({ device }))),
  defineSeries: (device: string, key: string, body: { name: string; unit?: string }) => take(client.PUT('/api/v1/devices/{device}/series/{key}', { ...path({ device, key }), body })),
  undefineSeries: (device: string, key: string) => take(client.DELETE('/api/v1/devices/{device}/series/{key}', path({ device, key }))),
  points: (device: string, key: string, filter: { from?: string; to?: string; points?: number; before?: number }) => take(client.GET('/api/v1/devices/{device}/series/{key}/points', both({ device, key }, filter))),

  // Integrations
  integrations: (filter: { q?: string; cursor?: string; limit?: number }) => take(client.GET('/api/v1/integrations', query(filter))),
  integration: (integration: string) => take(client.GET('/api/v1/integrations/{integration}', both({ integration }, { devices: false }))),
  bound: (integration: string, filter: { q?: string; limit?: number; cursor?: string }) => take(client.GET('/api/v1/integrations/{integration}/devices', both({ integration }, filter))),
  delivered: (integration: string) => take(client.GET('/api/v1/integrations/{integration}/delivered', path({ integration }))),
  progress: (integration: string) => take(client.GET('/api/v1/integrations/{integration}/progress', path({ integration }))),
  editIntegration: async (integration: string, body: t.IntegrationChange) => {
    const { etag } = await takeVersioned(client.GET('/api/v1/integrations/{integration}', both({ integration }, { devices: false })))
    return take(client.PATCH('/api/v1/integrations/{integration}', { params: { path: { integration }, header: { 'If-Match': etag } }, body }))
  },
  drift: (integration: string) => take(client.GET('/api/v1/integrations/{integration}/drift', path({ integration }))),
  pause: (integration: string) => take(client.POST('/api/v1/integrations/{integration}/pause', path({ integration }))),
  resume: (integration: string) => take(client.POST('/api/v1/integrations/{integration}/resume', path({ integration }))),
  reconcile: (integration: string) => take(client.POST('/api/v1/integrations/{integration}/reconcile', path({ integration }))),
  test: (integration: string, device?: string) => take(client.POST('/api/v1/integrations/{integration}/test', both({ integration }, { device }))),
  removal: (integration: string) => take(client.GET('/api/v1/integrations/{integration}/removal', path({ integration }))),
  removeIntegration: (integration: string, keep_identities: boolean, discard_backlog: boolean) => take(client.DELETE('/api/v1/integrations/{integration}', both({ integration }, { keep_identities, discard_backlog }))),
  preview: (body: t.PreviewInput) => take(client.POST('/api/v1/integrations/preview', { body })),
  advice: (filter: { signals_per_day?: number; bytes?: number }) => take(client.GET('/api/v1/integrations/advice', query(filter))),
  azureCheck: (filter: { hub?: string; group?: string; topic?: string; template?: string; name?: string }) => take(client.GET('/api/v1/azure/check', query(filter))),
  azureScript: (filter: { hub: string; group: string; region: string; tier: string; units: number }) => take(client.GET('/api/v1/azure/script', query(filter))),

  // The wizard's draft, kept by the server
  newDraft: (data: Record<string, unknown>) => take(client.POST('/api/v1/drafts', { body: { data } })),
  draft: (draft: string) => take(client.GET('/api/v1/drafts/{draft}', path({ draft }))),
  drafts: () => take(client.GET('/api/v1/drafts')),
  saveDraft: (draft: string, data: Record<string, unknown>) => take(client.PATCH('/api/v1/drafts/{draft}', { params: { path: { draft }, header: { 'If-Match': '*' } }, body: { data } })),
  dropDraft: (draft: string) => take(client.DELETE('/api/v1/drafts/{draft}', path({ draft }))),
  draftLogin: (draft: string, body: { connection_string: string }) => take(client.POST('/api/v1/drafts/{draft}/login', { ...path({ draft }), body })),
  draftOwnHub: (draft: string) => take(client.POST('/api/v1/drafts/{draft}/login/own-hub', path({ draft }))),
  draftCreate: (draft: string, body: t.IntegrationInput, key: string) => take(client.POST('/api/v1/drafts/{draft}/create', { params: { path: { draft }, header: { 'Idempotency-Key': key } }, body })),

  // Dead letters and hubs
  deadLetters: (filter: { integration?: string; device?: string; code?: string; order?: 'asc' | 'desc'; limit?: number; cursor?: string }) => take(client.GET('/api/v1/deadletters', query(filter))),
  deadLetterGroups: () => take(client.GET('/api/v1/deadletters/groups')),
  deadLetter: (id: string) => take(client.GET('/api/v1/deadletters/{id}', path({ id }))),
  retryDeadLetters: (body: t.Selection) => take(client.POST('/api/v1/deadletters/retry', { body })),
  discardDeadLetters: (body: t.Selection) => take(client.POST('/api/v1/deadletters/discard', { body })),
  alarms: (filter: { state?: 'open' | 'cleared' | 'all'; limit?: number; cursor?: string }) => take(client.GET('/api/v1/alarms', query(filter))),
  acknowledgeAlarm: (id: string) => take(client.POST('/api/v1/alarms/{id}/acknowledge', path({ id }))),
  silence: (device: string) => take(client.GET('/api/v1/devices/{device}/silence', path({ device }))),
  watchSilence: (device: string, watched: boolean) => take(client.PUT('/api/v1/devices/{device}/silence', { ...path({ device }), body: { watched } })),
  /** None is set: null. */
  webhook: () => take(client.GET('/api/v1/webhook')).catch((error: unknown) => {
    if (ProblemError.from(error).status === 404) return null
    throw error
  }),
  setWebhook: (body: { url: string; ca?: string }) => take(client.PUT('/api/v1/webhook', { body })),
  testWebhook: () => take(client.POST('/api/v1/webhook/test')),
  removeWebhook: () => take(client.DELETE('/api/v1/webhook')),
  hubs: () => take(client.GET('/api/v1/hubs')),
  hub: (host: string) => take(client.GET('/api/v1/hubs/{host}', path({ host }))),
  reconnect: (host: string) => take(client.POST('/api/v1/hubs/{host}/reconnect', path({ host }))),

  // Settings
  settings: () => take(client.GET('/api/v1/settings')),
  keys: () => take(client.GET('/api/v1/keys')),
  rotateKeys: () => take(client.POST('/api/v1/keys/rotate')),
  users: () => take(client.GET('/api/v1/users', query({ limit: 1000 }))),
  addUser: (body: { name: string; password: string; role: Role }) => take(client.POST('/api/v1/users', { body })),
  editUser: (user: string, role: Role) => take(client.PATCH('/api/v1/users/{user}', { params: { path: { user }, header: { 'If-Match': '*' } }, body: { role } })),
  removeUser: (user: string) => take(client.DELETE('/api/v1/users/{user}', path({ user }))),
  setPassword: (user: string, password: string) => take(client.PUT('/api/v1/users/{user}/password', { ...path({ user }), body: { password } })),
  tokens: () => take(client.GET('/api/v1/tokens', query({ limit: 1000 }))),
  addToken: (body: { name: string; scopes: string[]; expires_in?: number }) => take(client.POST('/api/v1/tokens', { body })),
  revokeToken: (token: string) => take(client.DELETE('/api/v1/tokens/{token}', path({ token }))),
  sessions: () => take(client.GET('/api/v1/sessions')),
  endSession: (session: string) => take(client.DELETE('/api/v1/sessions/{session}', path({ session }))),
  audit: (filter: { who?: string; what?: string; cursor?: string; limit?: number }) => take(client.GET('/api/v1/audit', query(filter))),
}

