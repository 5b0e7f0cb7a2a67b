// `hubward up --local-hub` on free ports, with a data folder of its own.
import { execFile, spawn } from 'node:child_process'
import crypto from 'node:crypto'
import fs from 'node:fs'
import https from 'node:https'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
export const root = path.resolve(import.meta.dirname, '../../..')
const binary = process.env.TEST_HUBWARD ?? path.resolve(root, process.env.CARGO_TARGET_DIR ?? 'target', 'debug/hubward')
/** How long anything may take on a slow machine before a test gives up. */
export const PATIENCE = Number(process.env.TEST_PATIENCE_MS ?? 60_000)

/** Asks until the answer is true, and returns it. */
export async function until(what, ask) {
  const end = Date.now() + PATIENCE
  for (;;) {
    const answer = await ask()
    if (answer) return answer
    if (Date.now() > end) throw new Error(`gave up waiting for ${what}`)
    await new Promise((done) => setTimeout(done, 50))
  }
}

export class Server {
  static async start(...args) {
    const server = new Server()
    server.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hubward-console-'))
    server.data = path.join(server.folder, 'data')
    server.args = args
    await server.#spawn('127.0.0.1:0', '127.0.0.1:0')
    return server
  }

  async #spawn(mqtt, http) {
    const ports = path.join(this.folder, 'ports.json')
    fs.rmSync(ports, { force: true })
    const log = fs.openSync(path.join(this.folder, 'server.log'), 'a')
    this.process = spawn(binary, ['up', '--mqtt', mqtt, '--http', http, '--local-hub', '--data', this.data, '--port-file', ports, ...this.args], { stdio: ['ignore', log, log] })
    fs.closeSync(log)
    this.ended = new Promise((done) => this.process.once('exit', done))
    this.ports = await until('the port file', () => {
      if (this.process.exitCode !== null) throw new Error(`hubward ended:\n${this.log()}`)
      return fs.existsSync(ports) && JSON.parse(fs.readFileSync(ports, 'utf8'))
    })
    this.url = this.ports.http
    this.hub = this.ports.local_hub
  }

  log() {
    return fs.readFileSync(path.join(this.folder, 'server.log'), 'utf8')
  }

  /** An admin command with --json. */
  async cli(...args) {
    const { stdout } = await run(binary, [...args, '--json', '--data', this.data], { timeout: PATIENCE })
    return stdout.trim() ? JSON.parse(stdout) : null
  }

  /** Asks the API with the admin token. */
  async api(method, address, body) {
    const { token } = JSON.parse(fs.readFileSync(`${this.data}.admin.json`, 'utf8'))
    const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', 'If-Match': '*' }
    const response = await fetch(`${this.url}/api/v1${address}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${address}: ${response.status} ${text}`)
    return text ? JSON.parse(text) : null
  }

  /** Makes the local hub misbehave, or behave again. */
  async fault(body) {
    await this.govern(body ? 'POST' : 'DELETE', 'faults', body)
  }

  /** Asks the local hub's own administration. */
  async govern(method, what, body) {
    const { url, token } = JSON.parse(fs.readFileSync(path.join(`${this.data}.local-hub`, 'admin.json'), 'utf8'))
    const response = await fetch(`${url}/${what}`, { method, headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) })
    if (!response.ok) throw new Error(`${method} ${what}: ${response.status} ${await response.text()}`)
    return response.json()
  }

  /** Changes an identity in the hub, as somebody in the Azure portal would. */
  async identity(id, change) {
    const parts = Object.fromEntries(this.hub.connection_strings.registryReadWrite.split(';').map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]))
    const host = encodeURIComponent(parts.HostName.split(':')[0])
    const end = Math.floor(Date.now() / 1000) + 3600
    const signature = crypto.createHmac('sha256', Buffer.from(parts.SharedAccessKey, 'base64')).update(`${host}\n${end}`).digest('base64')
    const ask = (method, body) => new Promise((done, failed) => {
      const address = `https://${parts.HostName}/devices/${encodeURIComponent(id)}?api-version=2021-04-12`
      const headers = { Authorization: `SharedAccessSignature sr=${host}&sig=${encodeURIComponent(signature)}&se=${end}&skn=${parts.SharedAccessKeyName}`, 'Content-Type': 'application/json', 'If-Match': '*' }
      const request = https.request(address, { method, headers, ca: fs.readFileSync(this.hub.ca_file) }, (response) => {
        let text = ''
        response.on('data', (part) => { text += part })
        response.on('end', () => (response.statusCode < 300 ? done(JSON.parse(text)) : failed(new Error(`${method} ${id}: ${response.statusCode} ${text}`))))
      })
      request.on('error', failed)
      request.end(body && JSON.stringify(body))
    })
    await ask('PUT', { ...(await ask('GET')), ...change })
  }

  /** Publishes as a device by mosquitto_pub, one message a line. */
  async publish(device, secret, topic, ...payloads) {
    const [host, port] = this.ports.mqtt.split(':')
    for (const payload of payloads) {
      await run('mosquitto_pub', ['-h', host, '-p', port, '-i', device, '-u', device, '-P', secret, '-q', '1', '-t', `devices/${device}/signals/${topic}`, '-m', payload], { timeout: PATIENCE })
    }
  }

  /** Publishes a command that is kept for a device, as an app. */
  async command(device, name, payload) {
    const [host, port] = this.ports.mqtt.split(':')
    const { token } = JSON.parse(fs.readFileSync(`${this.data}.admin.json`, 'utf8'))
    await run('mosquitto_pub', ['-h', host, '-p', port, '-u', 'app', '-P', token, '-q', '1', '-r', '-t', `devices/${device}/commands/${name}`, '-m', payload], { timeout: PATIENCE })
  }

  /** Listens for commands as a device that takes packets of so many bytes alone; answers how to end it. */
  listen(device, secret, bytes) {
    const [host, port] = this.ports.mqtt.split(':')
    const listener = spawn('mosquitto_sub', ['-V', '5', '-D', 'connect', 'maximum-packet-size', String(bytes), '-h', host, '-p', port, '-i', device, '-u', device, '-P', secret, '-q', '1', '-t', `devices/${device}/commands/#`], { stdio: 'ignore' })
    const ended = new Promise((done) => listener.once('exit', done))
    return () => {
      listener.kill()
      return ended
    }
  }

  async stop() {
    this.process.kill('SIGTERM')
    const late = setTimeout(() => this.process.kill('SIGKILL'), PATIENCE)
    const code = await this.ended
    clearTimeout(late)
    if (code !== 0) throw new Error(`hubward ended with ${code}:\n${this.log().slice(-4000)}`)
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Microsoft's Python reader on the hub's built-in endpoint: every event from the start. */
export class HubReader {
  constructor(connectionString) {
    this.events = []
    this.process = spawn(path.join(root, '.venv/bin/python'), [path.join(import.meta.dirname, 'read_hub.py')], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.process.stdin.end(connectionString)
    let rest = ''
    this.process.stdout.setEncoding('utf8').on('data', (part) => {
      const lines = (rest + part).split('\n')
      rest = lines.pop()
      this.events.push(...lines.map((line) => JSON.parse(line)))
    })
  }

  /** The first event that fits. */
  find(what, fits) {
    return until(what, () => this.events.find(fits))
  }

  async close() {
    const ended = new Promise((done) => this.process.once('exit', done))
    this.process.kill('SIGKILL')
    await ended
  }
}
