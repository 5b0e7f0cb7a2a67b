// Connection strings, looked at while they are pasted. The server checks again, with the same codes; tests compare the two.

export interface Recognised { host: string; hub: string; policy: string; keyLength: number; hint?: string }
export interface Mistake { code: string; message: string; remedy: string }
export type Parsed = { ok: true; is: Recognised; text: string } | { ok: false; mistake: Mistake }

const WHERE = 'Security settings > Shared access policies > registryReadWrite'

/** Quotes, blanks and line ends around it come from shells and mails; nobody means them. */
const trim = (text: string) => text.replace(/^[\s"'`\u201c\u201d\u2018\u2019\ufeff\u200b]+|[\s"'`\u201c\u201d\u2018\u2019\ufeff\u200b]+$/g, '')

export function parse(pasted: string): Parsed {
  const text = trim(pasted)
  const wrong = (code: string, message: string, remedy: string): Parsed => ({ ok: false, mistake: { code, message, remedy } })
  const bad = (what: string) => wrong('bad_connection_string', `This is not a connection string: ${what}.`, 'Copy the whole line; it begins with HostName= and ends with the key, often with "=". The copy button of the portal takes it whole.')
  if (!text) return bad('it is empty')
  if (/\s/.test(text)) return bad('there is a blank or a line end in it')
  if (text.endsWith(';')) return bad('it ends in ";", so a part of it may be missing')
  const fields = new Map<string, string>()
  for (const part of text.split(';')) {
    const at = part.indexOf('=')
    if (at <= 0) return bad(fields.size === 0 ? 'no HostName=' : 'a part has no "="')
    const name = part.slice(0, at)
    if (fields.has(name)) return wrong('duplicate_field', `${name}= stands twice in it.`, `Leave one ${name}= in it, or copy it again.`)
    fields.set(name, part.slice(at + 1))
  }
  if (fields.has('Endpoint') || fields.has('EntityPath')) {
    return wrong('event_hubs_string', 'This is the string of the built-in endpoint (EntityPath=…, Endpoint=sb://…). It can read messages, not make devices.', `You are on Hub settings > Built-in endpoints. Go to ${WHERE}.`)
  }
  const device = fields.get('DeviceId')
  if (device !== undefined) {
    return wrong('device_string', `This is the connection string of one device (DeviceId=${device}), not of the hub.`, 'Hubward makes a device in the hub for each of yours, so it needs a policy: Shared access policies > registryReadWrite.')
  }
  const known = ['HostName', 'SharedAccessKeyName', 'SharedAccessKey']
  for (const name of fields.keys()) {
    if (!known.includes(name)) return unknown(name, known.filter((one) => !fields.has(one)))
  }
  for (const name of known) {
    if (!fields.get(name)) return missing(name)
  }
  const host = fields.get('HostName')!
  if (host.includes('/')) return bad('HostName= is an address with a scheme or a path, not a host name')
  if (!/^[\w.-]+(:\d{1,5})?$/.test(host) && !/^\[[0-9a-f:.]+\](:\d{1,5})?$/i.test(host)) return bad('what stands behind HostName= is not a host name')
  const key = fields.get('SharedAccessKey')!
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$/.test(key)) {
    return wrong('bad_key', 'The key is cut off: SharedAccessKey= is not whole.', 'Copy the connection string again with the copy button; a key ends with "=" more often than not.')
  }
  const policy = fields.get('SharedAccessKeyName')!
  const hint = policy === 'iothubowner' ? 'This policy may do everything in the hub. registryReadWrite is enough; better use that.' : undefined
  return { ok: true, text, is: { host, hub: host.split(/[.:]/)[0]!, policy, keyLength: key.length, ...(hint ? { hint } : {}) } }

  function missing(name: string): Parsed {
    const why = name === 'SharedAccessKeyName' ? ', so the hub would not know which policy this key belongs to' : name === 'HostName' ? ', so nobody knows which hub it is for' : ', which is the secret itself'
    return wrong('missing_field', `${name}= is missing${why}.`, 'Copy the connection string, not the key. In a shell put the string in quotes: everything after the first ";" is lost otherwise.')
  }
  function unknown(name: string, open: string[]): Parsed {
    const meant = open.find((one) => one.toLowerCase() === name.toLowerCase() || one.toLowerCase().startsWith(name.toLowerCase()))
    const shown = /^[A-Za-z]{1,24}$/.test(name) ? `${name}=` : 'A part of it'
    return wrong('unknown_field', `${shown} does not belong in the connection string of a hub.`, meant ? `Did you mean ${meant}=? Upper and lower case matter.` : 'It holds HostName, SharedAccessKeyName and SharedAccessKey, nothing else. Copy it again.')
  }
}

const CLOCK = 'this server\'s clock is off'

/** What to do about each refusal of a login; the server's own words stand beside it. */
export const remedies: Record<string, string> = {
  unknown_host: 'Check the hub\'s name in the portal. A new hub needs some minutes to appear. If other names fail too, this server has no DNS: hubward check.',
  no_answer: 'A firewall or proxy here, or the hub accepts only private or listed addresses (Networking in the portal). Signals need port 5671, or 443 with transport amqp-ws.',
  tls_not_trusted: 'Something between here and Azure opens TLS: add its CA (--hub-ca). Or this server\'s clock is wrong. There is no switch to ignore this.',
  wrong_key: `In order of likelihood: the key was regenerated (copy again); the policy was renamed or deleted; ${CLOCK}; the hub has shared access keys switched off (disableLocalAuth).`,
  no_write: 'Use registryReadWrite, or tick Registry Write on this policy, save, and press Login again.',
  no_read: 'Use registryReadWrite, or tick Registry Read on this policy, save, and press Login again.',
  quota: 'Messages: goes on after 00:00 UTC, nothing is lost meanwhile; raise tier or units to go on now. Devices: remove some or take a larger tier.',
  hub_disabled: 'Usually a disabled subscription: see Subscriptions in the portal. Signals wait here.',
  throttled: 'The hub asks us to slow down. Wait a little, then press Login again.',
}
