// What the build made: small enough, and of the API's document as it is.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import zlib from 'node:zlib'
import { root } from './kit/server.mjs'

const dist = path.join(root, 'console/dist')
/** The promise is 300 KB; this leaves room to notice. */
const LIMIT = 250 * 1024

/** What a browser fetches before a page of the console shows: what the start page names, and what that imports. */
function reached(name, seen = new Set()) {
  if (seen.has(name)) return seen
  seen.add(name)
  const text = fs.readFileSync(path.join(dist, name), 'utf8')
  for (const [, next] of text.matchAll(name === 'index.html' ? /(?:src|href)="\/([^"]+)"/g : /(?:from|import)\s*"\.\/([^"]+\.js)"/g)) {
    reached(name === 'index.html' ? next : path.posix.join(path.posix.dirname(name), next), seen)
  }
  return seen
}

const packed = (names) => [...names].reduce((sum, name) => sum + zlib.gzipSync(fs.readFileSync(path.join(dist, name)), { level: 9 }).length, 0)

test('the first page of the console loads in less than 250 KB, compressed', () => {
  const names = reached('index.html')
  // The first page that a person sees besides: the overview and what it needs.
  const overview = fs.readdirSync(path.join(dist, 'assets')).find((name) => /^Overview-.*\.js$/.test(name))
  reached(`assets/${overview}`, names)
  const size = packed(names)
  assert.ok(size < LIMIT, `${size} bytes: ${[...names].join(', ')}`)
  assert.ok([...names].some((name) => name.endsWith('.css')) && names.size > 3, 'all of it was found')
})

test('the client\'s types are those of the API\'s document', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hubward-schema-'))
  const made = path.join(folder, 'schema.d.ts')
  try {
    execFileSync(path.join(root, 'console/node_modules/.bin/openapi-typescript'), [path.join(root, 'crates/api/openapi.json'), '-o', made], { stdio: 'pipe' })
    assert.equal(fs.readFileSync(path.join(root, 'console/src/api/schema.d.ts'), 'utf8'), fs.readFileSync(made, 'utf8'), 'run: npm run schema (in console/), then commit src/api/schema.d.ts')
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
})

test('the console is sound TypeScript', () => {
  execFileSync(path.join(root, 'console/node_modules/.bin/tsc'), ['--noEmit', '-p', path.join(root, 'console')], { stdio: 'pipe', encoding: 'utf8' })
})

test('the lock file names no registry', () => {
  const lock = fs.readFileSync(path.join(root, 'console/package-lock.json'), 'utf8')
  assert.doesNotMatch(lock, /"resolved"|https?:\/\/(?!(?:opencollective|github|www\.patreon|paypal|tidelift|funding)\b)[^"]*\.tgz/)
})
