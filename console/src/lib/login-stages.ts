// The four stages of a login, in the order in which the server meets them, and where each refusal belongs.

export const stageNames = ['The string', 'The hub', 'The key', 'The rights'] as const

const stageOf: Record<string, number> = {
  bad_connection_string: 0, missing_field: 0, duplicate_field: 0, unknown_field: 0, bad_key: 0, device_string: 0, event_hubs_string: 0,
  host_not_allowed: 1, unknown_host: 1, no_answer: 1, tls_not_trusted: 1, clock_skew: 1, hub_disabled: 1, throttled: 1, quota: 1,
  wrong_key: 2,
  no_read: 3, no_write: 3,
}

/** What a hub may say at any stage. */
const anywhere = new Set(['no_answer', 'throttled', 'quota'])

/** The first stage that is not good yet, after what the server told of: the hub, then the key. */
export const stageAfter = (told: string | undefined) => (told === 'key' ? 3 : told === 'hub' ? 2 : 1)

/** The stage that failed; one that is not known failed at the hub, the first that asks anybody. */
export const failedStage = (code: string, told: string | undefined) => (anywhere.has(code) ? stageAfter(told) : stageOf[code] ?? 1)
