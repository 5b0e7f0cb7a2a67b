// Runs the cases of one file, several at once, and writes what became of each.

import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';

const CELLS = JSON.parse(process.env.SDKS_CELLS);
const ONLY = process.env.SDKS_ONLY.split(' ').filter(Boolean);
const CASE_MAY_TAKE = 180_000;
export const PATIENCE = 60_000;

const cases = [];

/** One case for every column that has this row of tests/sdks/features.py. `run` gets the column. */
export function behaviour(row, run) {
  const columns = CELLS.filter(([known]) => known === row).map(([, column]) => column);
  assert(columns.length > 0, `no column has the row ${row}: see tests/sdks/features.py`);
  for (const column of columns) {
    const name = `${row} [${column}]`;
    if (ONLY.length === 0 || ONLY.some((word) => name.includes(word))) cases.push({ row, column, run });
  }
}

/** How many cases will run: for those that wait for each other. */
export const chosen = () => cases.length;

/** Where cases wait for each other: when all `expected()` of them have arrived, `act` is done once, and all go on. */
export class Meeting {
  #arrived = 0;
  #resolve;
  #done = new Promise((resolve) => (this.#resolve = resolve));

  constructor(expected, act) {
    Object.assign(this, { expected, act });
  }

  async arrive() {
    this.#arrived += 1;
    if (this.#arrived === this.expected()) this.#resolve(this.act());
    await this.#done;
  }
}

/** A case that cannot run here says so by throwing one of these. */
export class SkipCase extends Error {}

/** Runs all cases, `atOnce` side by side, then `end`, and ends the process. */
export async function run({ atOnce, end = async () => {} }) {
  // Something that no case waits for went wrong: the run must not pass.
  process.on('uncaughtException', (error) => fatal('an error that nobody caught', error));
  process.on('unhandledRejection', (error) => fatal('a rejection that nobody caught', error));
  const waiting = [...cases];
  const worker = async () => {
    for (let one = waiting.shift(); one; one = waiting.shift()) await runOne(one);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  await end();
  process.exit(0);
}

function fatal(what, error) {
  console.error(`${what}: ${error?.stack ?? error}`);
  process.exit(1);
}

async function runOne({ row, column, run }) {
  const started = Date.now();
  const cleanups = [];
  let outcome = 'passed';
  let why = '';
  try {
    await within(CASE_MAY_TAKE, `${row} [${column}]`, run(column, (cleanup) => cleanups.push(cleanup)));
  } catch (error) {
    outcome = error instanceof SkipCase ? 'skipped' : 'failed';
    why = error instanceof SkipCase ? error.message : describe(error);
  }
  for (const cleanup of cleanups.reverse()) {
    // What is left of a refused or dropped connection is none of the case's business, nor how long it takes to close.
    await Promise.race([Promise.resolve().then(cleanup).catch(() => {}), pause(5_000)]);
  }
  const seconds = (Date.now() - started) / 1000;
  appendFileSync(process.env.SDKS_RESULTS, JSON.stringify({ row, column, outcome, why, seconds }) + '\n');
}

function describe(error) {
  const stack = error?.stack ?? String(error);
  const own = stack.split('\n').find((line) => line.includes('.test.mjs')) ?? '';
  return `${error?.name ?? 'error'}: ${error?.message ?? error}\n${own.trim()}`;
}

/** A promise that rejects when `promise` takes longer than `milliseconds`. */
export async function within(milliseconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`gave up waiting for ${what}`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits until condition() gives something true, and gives it. */
export async function waitUntil(what, condition, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    assert(Date.now() < deadline, `gave up waiting for ${typeof what === 'function' ? what() : what}`);
    await pause(20);
  }
}
