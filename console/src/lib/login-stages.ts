// The four stages of a login, in the order in which the server meets them, and where each refusal belongs.

export const stageNames = ['The string', 'The hub', 'The key', 'The rights'] as const

const stageOf: Record<string, number> = {
  bad_connection_string: 0, missing_field: 0, duplicate_field: 0, unknown_field: 0, bad_key: 0, device_string: 0, event_hubs_string: 0,
  host_not_allowed: 1, unknown_host: 1, no_answer: 1, tls_not_trusted: 1, clock_skew: 1, hub_disabled: 1, throttled: 1, quota: 1,
  wrong_key: 2,
  no_read: 3, no_write: 3,
}

/** The stage that failed; one that is not known failed at the hub, the first that asks anybody. */
export const failedStage = (code: string) => stageOf[code] ?? 1
