// What the API answers (interim: by hand from the notes)
export interface Session { user: { name: string; role: string } | null; csrf: string | null; created_at: string; expires_at: string; insecure?: boolean }
export interface Page<T> { items: T[]; next: string | null; total?: number | null }
export interface First { at: string; subject: string }
export interface Overview {
  devices: { total: number; connected: number }; signals_last_hour: number; waiting: number; oldest_waiting_at: string | null; dead_letters: number
  server_started_at: string
  disk: { free_bytes: number | null; total_bytes: number | null; journal_bytes: number; journal_limit_bytes: number; journal_health: string }
  integrations: Integration[]; integrations_total: number
  first: { device: First | null; connect: First | null; signal: First | null; integration: First | null; accepted: First | null }
}
export interface DeviceRow {
  id: string; name: string; kind: string; connected: boolean; last_seen: string | null; signals: number; state: string; signals_last_hour: number
  waiting: number; dead_letters: number; integration_names: string[]; added_at: string | null; refused_last_hour: number
}
export interface DeviceBinding { integration: string; integration_id: string; hub_device_id: string; host_name: string; state: string; waiting: number; delivered: number; dead_letters: number; last_error: string | null }
export interface Told {
  info: ({ at: string } & Record<string, unknown>) | null
  network: { at: string; mac: string; ip: string } | null
  scan: { at: string; networks: { bssid: string; channel: number; rssi: number }[]; lora_rssi?: number | null } | null
  battery: { at: string; level: number } | null
}
export interface Device extends DeviceRow { username: string | null; created_at: string; topics: string[]; integrations: DeviceBinding[]; told: Told }
export interface Credentials { id: string; name: string; kind: string; username: string | null; password?: string; token?: string }
export interface Snippets {
  kind: string; username: string | null; client_id: string; hosts: string[]; mqtt_port: number | null; mqtts_port: number | null; ws_port: number | null; wss_port: number | null
  loopback_only: boolean; publish: string[]; subscribe: string[]; example_topic: string
}
export interface Connection { id: string; outcome: string; connected_at: string; ended_at: string | null; duration_ms: number | null; peer: string; protocol: string | null; keep_alive_s: number | null; reason: string | null; words: string | null }
export interface Delivery { integration: string; state: string; message_id: string }
export interface Signal {
  device: string; device_id: string; offset: number; received_at: string; topic: string; qos: number; size: number; body_base64: string
  signal: number | null; value: unknown; deliveries: Delivery[]; test?: boolean; key: string | null; text: string | null
}
export interface Station { station: string; at: string | null; integration: string | null; message_id: string | null; detail: string | null }
export interface SignalTrace extends Signal { trace: Station[] }
export interface Series { key: string; number: number | null; name: string | null; unit: string | null; defined: boolean; last: { at: string; value: unknown; offset: number } | null; count: number; numeric: boolean }
export interface Point { at: string; value: number; min: number; max: number; count: number }
export interface Points { from: string; to: string; points: Point[]; samples: number; next: number | null }
export interface Cause { code: string; message: string; remedy: string; since: string | null; next_try_at: string | null }
export interface Integration {
  id: string; name: string; service: string; hub: string; host_name: string; topic: string; body: string; transport: string; state: string; all_devices: boolean
  created_at: string; last_error: string | null; device_count: number; policy: string; device_id_template: string; on_existing: string; on_missing: string
  cause: Cause | null; rate_per_s: number; delay_ms: { p50: number; p99: number } | null; waiting: number; oldest_waiting_at: string | null; dead_letters: number; delivered: number
  device_states: Record<string, number>; updated_at: string; content_type: string | null; on_full: string
}
export interface Bound { device: string; device_id: string; hub_device_id: string; state: string; made_by_us: boolean; delivered: number; backlog: number; dead_letters: number; last_error: string | null; remedy?: string | null; since?: string | null }
export interface Progress { state: string; total: number; created: number; creating: number; conflict: number; failed: number; removing: number; failed_devices: Failed[]; conflicts: Failed[]; done: boolean }
export interface Failed { device: string; hub_device_id: string; error: string | null }
export interface RemovalPreview { name: string; devices: number; deletes: number; deletes_first: string[]; leaves: number; leaves_first: string[]; waiting: number; dead_letters: number }
export interface Removal { deleted: number; already_gone: number; left: string[]; failed: { hub_device_id: string; error: string }[]; later: string[]; discarded: number }
export interface DeviceRemoval { device: string; signals: number; waiting: number; dead_letters: number; integrations: { integration: string; host_name: string; hub_device_id: string; identity: string; waiting: number; dead_letters: number }[] }
export interface LoginFound { hub: string; host_name: string; policy: string; can_read: boolean; can_write: boolean; identities: number; advice: string[]; elapsed_ms: number }
export interface MessageShown { device: string | null; sample: boolean; message_id: string; content_type: string | null; content_encoding: string | null; creation_time: string | null; properties: [string, string][]; body_base64: string; size: number; units_4k: number }
export interface Preview { names: { device: string; hub_device_id: string; clash: string | null }[]; total: number; clashes: number; message: MessageShown }
export interface Advice { devices: number; signals_per_day: number; average_bytes: number; largest_bytes: number; days: number; units_4k_per_day: number; units_half_k_per_day: number; tiers: { tier: string; units: number; messages_per_day: number; used_percent: number; fits: boolean }[]; best: { tier: string; units: number } | null }
export interface AzureCheck { field: string; ok: boolean; code: string | null; message: string | null; remedy: string | null }
export interface Draft { id: string; data: Record<string, unknown>; login: LoginFound | null; created_at: string; updated_at: string }
export interface TestOutcome { device: string; accepted: boolean; message_id: string | null; delay_ms: number | null; error: string | null }
export interface DeadLetter { id: string; integration: string; device: string; offset: number; message_id: string; reason: string; hub_error: string | null; attempts: number; at: string; size: number; remedy: string; integration_id: string | null; device_id: string | null; code: string }
export interface DeadLetterShown extends DeadLetter { topic: string; received_at: string; body_base64: string; message?: MessageShown; user_properties: [string, string][] }
export interface DeadLetterGroup { integration: string; reason: string; code: string; count: number; latest_at: string; remedy: string }
export interface Selection { ids?: string[]; all?: boolean; integration?: string; device?: string; code?: string }
export interface SelectionDone { done: number; failed: { id: string; code: string; message: string; remedy: string }[] }
export interface Hub { host_name: string; integrations: string[]; connections: number; links: number; lanes: number; away_since: string | null; throttled: boolean; holding: Cause | null; used_today: { messages: number; units_4k: number; forecast_units_4k: number; since: string }; last_error: string | null }
export interface User { name: string; role: string; created_at: string; last_login_at: string | null }
export interface Token { id: string; name: string; scopes: string[]; created_at: string; expires_at: string | null; last_used_at: string | null }
export interface TokenMade extends Token { token: string }
export interface SessionRow { id: string; user: string; created_at: string; last_used_at: string; expires_at: string; remote: string; user_agent: string | null; current: boolean }
export interface AuditEntry { id: string; at: string; who: string; remote: string | null; what: string; subject: string; detail: unknown }
export interface About { version: string; mqtt: string | null; mqtts?: string; ws?: string; wss?: string; http: string | null; data: string; reachable_at: string[]; insecure_http?: boolean; openapi?: string; local_hub?: { host_name: string } | null }
export interface JournalInfo { id: string; epoch: string; oldest: number; durable: number; bytes: number; segments: number; limit_bytes: number; records: number }
