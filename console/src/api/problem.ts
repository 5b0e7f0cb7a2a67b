/** A refusal of the server (RFC 9457), or that it could not be reached. */
export class ProblemError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly remedy: string,
    readonly field?: string,
    readonly details?: Record<string, unknown>,
  ) {
    super(message)
  }

  /** Whatever was thrown, as a problem with a remedy. */
  static from(error: unknown): ProblemError {
    if (error instanceof ProblemError) return error
    if (error instanceof TypeError) {
      return new ProblemError(0, 'unreachable', 'the server did not answer', 'look whether it runs, then try again')
    }
    return new ProblemError(0, 'unexpected', error instanceof Error ? error.message : String(error), 'reload the page and try again')
  }

  /** The body of an answer, if it is problem details. */
  static ofBody(status: number, body: unknown): ProblemError {
    const told = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>
    const word = (name: string) => (typeof told[name] === 'string' ? told[name] : undefined)
    return new ProblemError(
      status,
      word('code') ?? `http_${status}`,
      word('message') ?? word('detail') ?? `the server answered ${status}`,
      word('remedy') ?? 'try again; if it stays, look at the server\'s log',
      word('field'),
      told,
    )
  }
}
