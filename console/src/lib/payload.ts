// Bodies of signals: base64 as the API gives them, to bytes, text and hex.

export function fromBase64(text: string): Uint8Array {
  const raw = atob(text)
  const out = new Uint8Array(raw.length)
  for (let i = 0; i < raw.length; i += 1) out[i] = raw.charCodeAt(i)
  return out
}

/** "41 e0 c6 9f", at most `limit` bytes. */
export function hex(body: Uint8Array, limit = 12): string {
  const shown = Array.from(body.subarray(0, limit), (b) => b.toString(16).padStart(2, '0')).join(' ')
  return body.length > limit ? `${shown} …` : shown
}

/** The bytes as UTF-8, if they are that and printable; else nothing. */
export function text(body: Uint8Array): string | undefined {
  try {
    const decoded = new TextDecoder('utf-8', { fatal: true }).decode(body)
    // eslint-disable-next-line no-control-regex
    return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(decoded) ? undefined : decoded
  } catch {
    return undefined
  }
}

/** A hex dump with offsets and characters, eight bytes a line. */
export function dump(body: Uint8Array, limit = 512): string {
  const lines = []
  for (let at = 0; at < Math.min(body.length, limit); at += 8) {
    const part = body.subarray(at, at + 8)
    const codes = Array.from(part, (b) => b.toString(16).padStart(2, '0')).join(' ')
    const letters = Array.from(part, (b) => (b > 31 && b < 127 ? String.fromCharCode(b) : '·')).join('')
    lines.push(`${at.toString(16).padStart(4, '0')}  ${codes.padEnd(23)}  ${letters}`)
  }
  if (body.length > limit) lines.push(`… ${body.length - limit} more bytes`)
  return lines.join('\n')
}

/** What a signal says, as a number: its decoded value, or a payload that is one, or the first number of a JSON object. */
export function numberOf(value: unknown, body?: Uint8Array): number | undefined {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  const words = body && body.length <= 64 ? text(body) : undefined
  if (words === undefined || words.trim() === '') return undefined
  const number = Number(words)
  return Number.isFinite(number) ? number : undefined
}
