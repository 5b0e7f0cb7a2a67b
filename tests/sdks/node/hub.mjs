// The hub of this part: addresses, identities made over plain REST, and a reader that has every event.

import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { createRequire } from 'node:module';

import { SkipCase, waitUntil, PATIENCE } from './harness.mjs';

export const require = createRequire(import.meta.url);
const { EventHubConsumerClient, earliestEventPosition } = require('@azure/event-hubs');

export const info = JSON.parse(readFileSync(process.env.SDKS_HUB, 'utf8'));
export const place = JSON.parse(process.env.SDKS_PLACE);
export const strings = info.connection_strings;
const certificates = process.env.SDKS_CERTIFICATES;
const agent = new https.Agent({ keepAlive: true });
let names = 0;

/** The string of a policy for AMQP: Node's service SDK would take the HTTPS port in it for AMQP's. */
export const amqpString = (policy) => strings[policy].replace(/HostName=[^;]*/, `HostName=${place.host}`);

/** Skips what this SDK cannot reach on the ports that the hub could bind. */
export function checkReach(column) {
  const needs443 = column.endsWith('-ws') || ['node-http', 'node-service'].includes(column);
  if (needs443 && place.https !== 443) {
    throw new SkipCase(
      'this SDK reaches the hub on port 443 only, which this user may not bind;' +
        ' allow network namespaces, or: sysctl net.ipv4.ip_unprivileged_port_start=443',
    );
  }
}

export const newKey = () => randomBytes(32).toString('base64');
export const unique = (what) => `${what}-${++names}`;
export const partsOf = (string) =>
  Object.fromEntries(string.split(';').filter(Boolean).map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
export const keyOf = (policy) => partsOf(strings[policy]).SharedAccessKey;

/** A token: for `host/devices/id` with a device's key, or with a policy's. Event Hubs signs with the key as text. */
export function sas(resource, key, { policy, lifetime = 3600, asText = false } = {}) {
  const encoded = encodeURIComponent(resource);
  const expires = Math.floor(Date.now() / 1000 + lifetime);
  const secret = asText ? key : Buffer.from(key, 'base64');
  const signature = createHmac('sha256', secret).update(`${encoded}\n${expires}`).digest('base64');
  const token = `SharedAccessSignature sr=${encoded}&sig=${encodeURIComponent(signature)}&se=${expires}`;
  return policy ? `${token}&skn=${policy}` : token;
}

/** One request to the service API, as its owner. */
export async function rest(method, path, body, headers = {}) {
  const text = body === undefined ? '' : JSON.stringify(body);
  const authorization = sas(place.host, keyOf('iothubowner'), { policy: 'iothubowner' });
  const { status, answer } = await new Promise((resolve, reject) => {
    const request = https.request(
      {
        agent,
        host: place.host,
        port: place.https,
        method,
        path: `${path}?api-version=2021-04-12`,
        headers: { authorization, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers },
      },
      (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode, answer: Buffer.concat(chunks).toString() }));
        response.on('error', reject);
      },
    );
    request.on('error', reject);
    request.end(text);
  });
  return { status, body: answer ? JSON.parse(answer) : undefined };
}

async function ok(answer) {
  const { status, body } = await answer;
  assert(status < 300, `${status} ${JSON.stringify(body)}`);
  return body;
}

const path = (kind, id) => `/${kind}/${encodeURIComponent(id)}`;

/** A new identity with keys of our own. */
export const makeIdentity = (what = 'device', status = 'enabled') => {
  const deviceId = unique(what);
  const authentication = { type: 'sas', symmetricKey: { primaryKey: newKey(), secondaryKey: newKey() } };
  return ok(rest('PUT', path('devices', deviceId), { deviceId, status, authentication }));
};

/** A new identity with the thumbprints of two of our certificates. */
export const makeCertified = (primary, secondary = 'second') => {
  const deviceId = unique('certified');
  const x509Thumbprint = { primaryThumbprint: thumbprint(primary), secondaryThumbprint: thumbprint(secondary) };
  return ok(rest('PUT', path('devices', deviceId), { deviceId, status: 'enabled', authentication: { type: 'selfSigned', x509Thumbprint } }));
};

export const thumbprint = (name) => readFileSync(`${certificates}/${name}.thumbprint`, 'utf8');
export const certificate = (name) => ({
  cert: readFileSync(`${certificates}/${name}.pem`, 'utf8'),
  key: readFileSync(`${certificates}/${name}.key`, 'utf8'),
});
export const getIdentity = (id) => ok(rest('GET', path('devices', id)));
export const putIdentity = (identity) => ok(rest('PUT', path('devices', identity.deviceId), identity, { 'if-match': '"*"' }));
export const deleteIdentity = (id) => ok(rest('DELETE', path('devices', id), undefined, { 'if-match': '"*"' }));
export const getTwin = (id) => ok(rest('GET', path('twins', id)));
export const patchTwin = (id, patch) => ok(rest('PATCH', path('twins', id), patch));

/** Calls a method as soon as the device answers methods: Node's device SDK tells nobody when it has subscribed. */
export const callMethod = (id, methodName, payload, responseTimeoutInSeconds = 30) =>
  waitUntil(`device ${id} to take methods`, async () => {
    const call = { methodName, payload, responseTimeoutInSeconds };
    const answer = await rest('POST', `${path('twins', id)}/methods`, call);
    if (answer.status === 404) return undefined;
    return ok(answer);
  });

/** Has something go wrong (docs/local-hub.md, "Let something go wrong"); gives its number. */
export const fault = async (fault, more) => (await admin('POST', '/faults', { fault, ...more })).id;
export const clearFault = (number) => admin('DELETE', `/faults/${number}`);
/** The faults of one device that are in force. */
export const faultsOf = async (id) => (await admin('GET', '/faults')).filter(({ device }) => device === id);

/** One request to the hub's admin API. */
async function admin(method, path, body) {
  const { url, token } = JSON.parse(readFileSync(`${process.env.SDKS_FOLDER}/data/admin.json`, 'utf8'));
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

/** Stops the hub (or kills it) and starts it again. */
export async function restart(how = 'stop') {
  const request = `${process.env.SDKS_FOLDER}/restart`;
  writeFileSync(`${request}.part`, how);
  renameSync(`${request}.part`, request);
  await waitUntil('the hub to be back', () => !existsSync(request), 2 * PATIENCE);
}

/** Collects every event of the hub, from the first on. */
class Reader {
  constructor() {
    this.events = [];
    this.errors = [];
    this.client = new EventHubConsumerClient('$Default', strings.eventhubs);
    this.subscription = this.client.subscribe(
      {
        processEvents: async (events, context) => {
          for (const event of events) this.events.push({ ...event, partition: context.partitionId });
        },
        processError: async (error) => void this.errors.push(error),
      },
      { startPosition: earliestEventPosition, maxBatchSize: 100, maxWaitTimeInSeconds: 1 },
    );
  }

  of(deviceId) {
    return this.events.filter((event) => event.systemProperties['iothub-connection-device-id'] === deviceId);
  }

  waitFor(deviceId, count = 1) {
    return waitUntil(
      () => `${count} events of ${deviceId}, got ${this.of(deviceId).length} (reader's errors: ${this.errors})`,
      () => this.of(deviceId).length >= count && this.of(deviceId),
    );
  }

  async close() {
    await this.subscription.close();
    await this.client.close();
  }
}

let theReader;
export const reader = () => (theReader ??= new Reader());
export const closeReader = async () => theReader?.close();

/** The bytes of an event: the SDK has parsed what looked like JSON. */
export function bodyOf(event) {
  const { body } = event;
  if (Buffer.isBuffer(body) || body instanceof Uint8Array) return Buffer.from(body);
  return typeof body === 'string' ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
}
