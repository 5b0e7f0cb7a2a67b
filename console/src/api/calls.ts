// Everything that the console asks of the API, one function each. Nothing else in the console speaks HTTP.
import { client, post, take, takeVersioned } from './client'
import type * as t from './types'

const path = <P extends object>(p: P) => ({ params: { path: p } })
const query = <Q extends object>(q: Q) => ({ params: { query: clean(q) } })
const both = <P extends object, Q extends object>(p: P, q: Q) => ({ params: { path: p, query: clean(q) } })

/** Without what was not chosen. */
function clean<Q extends object>(q: Q): Q {
  return Object.fromEntries(Object.entries(q).filter(([, value]) => value !== undefined && value !== '' && value !== null)) as Q
}

export interface DeviceFilter { q?: string; kind?: string; state?: string; integration?: string; sort?: string; order?: string; limit?: number; cursor?: string }
export interface SignalFilter { device?: string; integration?: string; state?: string; topic?: string; q?: string; since?: string; until?: string; before?: number; limit?: number }
export interface IntegrationInput {
  name: string; topic: string; devices: { device: string; hub_device_id?: string }[]; all_devices: boolean; body?: string; transport?: string
  device_id_template?: string; on_existing?: string; on_missing?: string; content_type?: string
}
export type IntegrationChange = Partial<Omit<IntegrationInput, 'devices'>> & { connection_string?: string; add_devices?: { device: string }[]; remove_devices?: string[]; discard_backlog?: boolean }

export const calls = {
  // Who is here
  setupNeeded: (): Promise<{ needed: boolean }> => take(client.GET('/api/v1/setup')),
  setup: (body: { token: string; name: string; password: string }): Promise<t.Session> => take(client.POST('/api/v1/setup', { body })),
  login: (body: { name: string; password: string }): Promise<t.Session> => take(client.POST('/api/v1/session', { body })),
  logout: () => take(client.DELETE('/api/v1/session')),
  changePassword: (body: { old: string; new: string }) => take(client.PUT('/api/v1/session/password', { body })),

  overview: (): Promise<t.Overview> => take(client.GET('/api/v1/overview')),
  about: (): Promise<t.About> => take(client.GET('/api/v1/about')),
  journal: (): Promise<t.JournalInfo> => take(client.GET('/api/v1/journal/info')),

  // Devices
  devices: (filter: DeviceFilter): Promise<t.Page<t.DeviceRow>> => take(client.GET('/api/v1/devices', query(filter))),
  device: (device: string): Promise<t.Device> => take(client.GET('/api/v1/devices/{device}', path({ device }))),
  addDevice: (body: { name: string; kind: string; token?: string; username?: string; topics?: string[] }): Promise<t.Credentials> => take(client.POST('/api/v1/devices', { body })),
  editDevice: async (device: string, body: { name?: string; topics?: string[] }): Promise<t.Device> => {
    const { etag } = await takeVersioned(client.GET('/api/v1/devices/{device}', path({ device })))
    return take(client.PATCH('/api/v1/devices/{device}', { params: { path: { device }, header: { 'If-Match': etag } }, body }))
  },
  rotate: (device: string): Promise<t.Credentials> => take(client.POST('/api/v1/devices/{device}/rotate', path({ device }))),
  disconnect: (device: string): Promise<{ disconnected: number }> => take(client.POST('/api/v1/devices/{device}/disconnect', path({ device }))),
  deviceRemoval: (device: string): Promise<t.DeviceRemoval> => take(client.GET('/api/v1/devices/{device}/removal', path({ device }))),
  removeDevice: (device: string, discard_backlog: boolean): Promise<t.Removal> => take(client.DELETE('/api/v1/devices/{device}', both({ device }, { discard_backlog }))),
  snippets: (device: string): Promise<t.Snippets> => take(client.GET('/api/v1/devices/{device}/snippets', path({ device }))),
  connections: (device: string, cursor?: string): Promise<t.Page<t.Connection>> => take(client.GET('/api/v1/devices/{device}/connections', both({ device }, { limit: 50, cursor }))),
  importCheck: (csv: string): Promise<ImportCheck> => take(client.POST('/api/v1/devices/import/check', { body: { csv } })),
  importRun: (csv: string) => post('/api/v1/devices/import', { csv }),

  // Signals
  deviceSignals: (device: string, filter: { before?: number; signal?: string; limit?: number }): Promise<t.Page<t.Signal>> => take(client.GET('/api/v1/devices/{device}/signals', both({ device }, filter))),
  signal: (device: string, offset: string | number): Promise<t.SignalTrace> => take(client.GET('/api/v1/devices/{device}/signals/{offset}', path({ device, offset: Number(offset) }))),
  signals: (filter: SignalFilter): Promise<t.Page<t.Signal>> => take(client.GET('/api/v1/signals', query(filter))),
  series: (device: string): Promise<t.Page<t.Series>> => take(client.GET('/api/v1/devices/{device}/series', path({ device }))),
  defineSeries: (device: string, key: string, body: { name: string; unit?: string }): Promise<t.Series> => take(client.PUT('/api/v1/devices/{device}/series/{key}', { ...path({ device, key }), body })),
  undefineSeries: (device: string, key: string) => take(client.DELETE('/api/v1/devices/{device}/series/{key}', path({ device, key }))),
  points: (device: string, key: string, filter: { from?: string; to?: string; points?: number; before?: number }): Promise<t.Points> => take(client.GET('/api/v1/devices/{device}/series/{key}/points', both({ device, key }, filter))),

  // Integrations
  integrations: (filter: { q?: string; cursor?: string; limit?: number }): Promise<t.Page<t.Integration>> => take(client.GET('/api/v1/integrations', query(filter))),
  integration: (integration: string): Promise<t.Integration> => take(client.GET('/api/v1/integrations/{integration}', both({ integration }, { devices: false }))),
  bound: (integration: string, filter: { q?: string; state?: string; limit?: number; cursor?: string }): Promise<t.Page<t.Bound>> => take(client.GET('/api/v1/integrations/{integration}/devices', both({ integration }, filter))),
  progress: (integration: string): Promise<t.Progress> => take(client.GET('/api/v1/integrations/{integration}/progress', path({ integration }))),
  editIntegration: async (integration: string, body: IntegrationChange): Promise<t.Integration & { removed?: t.Removal }> => {
    const { etag } = await takeVersioned(client.GET('/api/v1/integrations/{integration}', both({ integration }, { devices: false })))
    return take(client.PATCH('/api/v1/integrations/{integration}', { params: { path: { integration }, header: { 'If-Match': etag } }, body }))
  },
  pause: (integration: string): Promise<t.Integration> => take(client.POST('/api/v1/integrations/{integration}/pause', path({ integration }))),
  resume: (integration: string): Promise<t.Integration> => take(client.POST('/api/v1/integrations/{integration}/resume', path({ integration }))),
  reconcile: (integration: string): Promise<t.Integration> => take(client.POST('/api/v1/integrations/{integration}/reconcile', path({ integration }))),
  test: (integration: string, device?: string): Promise<t.TestOutcome[]> => take(client.POST('/api/v1/integrations/{integration}/test', both({ integration }, { device }))),
  removal: (integration: string): Promise<t.RemovalPreview> => take(client.GET('/api/v1/integrations/{integration}/removal', path({ integration }))),
  removeIntegration: (integration: string, keep_identities: boolean, discard_backlog: boolean): Promise<t.Removal> => take(client.DELETE('/api/v1/integrations/{integration}', both({ integration }, { keep_identities, discard_backlog }))),
  preview: (body: PreviewInput): Promise<t.Preview> => take(client.POST('/api/v1/integrations/preview', { body })),
  advice: (filter: { all?: boolean; signals_per_day?: number; bytes?: number }): Promise<t.Advice> => take(client.GET('/api/v1/integrations/advice', query(filter))),
  azureCheck: (filter: { hub?: string; group?: string; topic?: string; template?: string; name?: string }): Promise<t.AzureCheck[]> => take(client.GET('/api/v1/azure/check', query(filter))),
  azureScript: (filter: { hub: string; group: string; region: string; tier: string; units: number }): Promise<{ az: string; bicep: string }> => take(client.GET('/api/v1/azure/script', query(filter))),

  // The wizard's draft, kept by the server
  newDraft: (data: Record<string, unknown>): Promise<t.Draft> => take(client.POST('/api/v1/drafts', { body: { data } })),
  draft: (draft: string): Promise<t.Draft> => take(client.GET('/api/v1/drafts/{draft}', path({ draft }))),
  drafts: (): Promise<t.Page<t.Draft>> => take(client.GET('/api/v1/drafts')),
  saveDraft: (draft: string, data: Record<string, unknown>): Promise<t.Draft> => take(client.PATCH('/api/v1/drafts/{draft}', { params: { path: { draft }, header: { 'If-Match': '*' } }, body: { data } })),
  dropDraft: (draft: string) => take(client.DELETE('/api/v1/drafts/{draft}', path({ draft }))),
  draftLogin: (draft: string, body: { connection_string: string; hub_ca?: string; hub_endpoint?: string } | { own_hub: true }): Promise<t.LoginFound> => take(client.POST('/api/v1/drafts/{draft}/login', { ...path({ draft }), body })),
  draftCreate: (draft: string, body: IntegrationInput, key: string): Promise<t.Integration> => take(client.POST('/api/v1/drafts/{draft}/create', { params: { path: { draft }, header: { 'Idempotency-Key': key } }, body })),

  // Dead letters and hubs
  deadLetters: (filter: { integration?: string; device?: string; code?: string; order?: string; limit?: number; cursor?: string }): Promise<t.Page<t.DeadLetter>> => take(client.GET('/api/v1/deadletters', query(filter))),
  deadLetterGroups: (): Promise<t.DeadLetterGroup[]> => take(client.GET('/api/v1/deadletters/groups')),
  deadLetter: (id: string): Promise<t.DeadLetterShown> => take(client.GET('/api/v1/deadletters/{id}', path({ id }))),
  retryDeadLetters: (body: t.Selection): Promise<t.SelectionDone> => take(client.POST('/api/v1/deadletters/retry', { body })),
  discardDeadLetters: (body: t.Selection): Promise<t.SelectionDone> => take(client.POST('/api/v1/deadletters/discard', { body })),
  hubs: (): Promise<t.Page<t.Hub>> => take(client.GET('/api/v1/hubs')),
  hub: (host: string): Promise<t.Hub> => take(client.GET('/api/v1/hubs/{host}', path({ host }))),
  reconnect: (host: string) => take(client.POST('/api/v1/hubs/{host}/reconnect', path({ host }))),

  // Settings
  users: (): Promise<t.Page<t.User>> => take(client.GET('/api/v1/users', query({ limit: 1000 }))),
  addUser: (body: { name: string; password: string; role: string }): Promise<t.User> => take(client.POST('/api/v1/users', { body })),
  editUser: (user: string, role: string): Promise<t.User> => take(client.PATCH('/api/v1/users/{user}', { params: { path: { user }, header: { 'If-Match': '*' } }, body: { role } })),
  removeUser: (user: string) => take(client.DELETE('/api/v1/users/{user}', path({ user }))),
  setPassword: (user: string, password: string) => take(client.PUT('/api/v1/users/{user}/password', { ...path({ user }), body: { password } })),
  tokens: (): Promise<t.Page<t.Token>> => take(client.GET('/api/v1/tokens', query({ limit: 1000 }))),
  addToken: (body: { name: string; scopes: string[]; expires_in?: number }): Promise<t.TokenMade> => take(client.POST('/api/v1/tokens', { body })),
  revokeToken: (token: string) => take(client.DELETE('/api/v1/tokens/{token}', path({ token }))),
  sessions: (): Promise<t.Page<t.SessionRow>> => take(client.GET('/api/v1/sessions')),
  endSession: (session: string) => take(client.DELETE('/api/v1/sessions/{session}', path({ session }))),
  audit: (filter: { who?: string; what?: string; cursor?: string; limit?: number }): Promise<t.Page<t.AuditEntry>> => take(client.GET('/api/v1/audit', query(filter))),
}

export interface ImportLine { line: number; name: string; kind?: string; outcome: string; code?: string | null; message?: string | null; field?: string | null; id?: string; username?: string | null; password?: string; token?: string }
export interface ImportCheck { columns: string[]; lines: ImportLine[]; ok: number; exists: number; refused: number }
export interface PreviewInput { name?: string; topic: string; body?: string; content_type?: string; device_id_template?: string; host_name?: string; devices?: string[]; all_devices?: boolean; device?: string }
