// Reading the hub's built-in endpoint with Microsoft's Node reader, and what it is refused.

import assert from 'node:assert/strict';

import { Devices, Message } from './devices.mjs';
import { behaviour, PATIENCE, run, waitUntil, within } from './harness.mjs';
import * as hub from './hub.mjs';

const { EventHubConsumerClient, earliestEventPosition, latestEventPosition } = hub.require('@azure/event-hubs');
const WebSocket = hub.require('ws');
// Errors that end a reader at once are wanted here, so nothing is tried again.
const ONCE = { retryOptions: { maxRetries: 0 } };

const closings = [];
const fleet = await within(PATIENCE * 2, 'the fleet', makeFleet());

/** Twelve devices that sent messages before any case runs. */
async function makeFleet() {
  const devices = new Devices('node-mqtt', (close) => closings.push(close));
  const senders = new Map();
  for (let count = 0; count < 12; count += 1) {
    const { identity, device } = await devices.make('sender');
    await device.open();
    for (const number of [0, 1, 2]) await device.send(`${identity.deviceId} ${number}`);
    senders.set(identity.deviceId, device);
  }
  for (const id of senders.keys()) await hub.reader().waitFor(id, 3);
  const [id, device] = [...senders][0];
  const events = hub.reader().of(id);
  return { senders, id, device, events, partition: events[0].partition };
}

const text = (event) => hub.bodyOf(event).toString();

/** One SDK reader of one partition. */
class Reading {
  constructor(cleanup, partition, where, { string = hub.strings.eventhubs, group = '$Default', client = {}, subscribe = {} } = {}) {
    this.events = [];
    this.errors = [];
    this.calls = 0;
    this.client = new EventHubConsumerClient(group, string, client);
    const handlers = {
      processEvents: async (events, context) => {
        this.calls += 1;
        this.context = context;
        this.events.push(...events);
      },
      processError: async (error) => void this.errors.push(error),
    };
    const options = { startPosition: where, maxBatchSize: 100, maxWaitTimeInSeconds: 1, ...subscribe };
    this.subscription = this.client.subscribe(partition, handlers, options);
    cleanup(async () => {
      await this.subscription.close();
      await this.client.close();
    });
  }

  of(deviceId) {
    return this.events.filter((event) => event.systemProperties['iothub-connection-device-id'] === deviceId).map(text);
  }

  async waitFor(...bodies) {
    const all = () => this.events.map(text);
    await waitUntil(
      () => `${bodies}, got ${all().slice(-10)} (errors: ${this.errors})`,
      () => bodies.every((body) => all().includes(body)),
    );
    return this;
  }

  /** It is called with nothing when nothing came for a while: then the link is there for sure. */
  async ready() {
    await waitUntil(() => `the reader (${this.errors})`, () => this.calls > 0);
    return this;
  }

  error() {
    return waitUntil('an error', () => this.errors[0]);
  }
}

const row = (name, test) =>
  behaviour(name, (_, cleanup) => test((...arguments_) => new Reading(cleanup, ...arguments_), cleanup));

const all = () => [0, 1, 2].map((number) => `${fleet.id} ${number}`);

function clientOf(cleanup, string = hub.strings.eventhubs, options = {}) {
  const client = new EventHubConsumerClient('$Default', string, options);
  cleanup(() => client.close());
  return client;
}

row('hub-properties', async (_, cleanup) => {
  const found = await clientOf(cleanup).getEventHubProperties();
  assert.equal(found.name, hub.place.name);
  assert.deepEqual(found.partitionIds, found.partitionIds.map((_id, index) => String(index)));
  assert(found.partitionIds.length >= 2);
  assert(Math.abs(Date.now() - found.createdOn.getTime()) < 86_400_000);
});

row('partition-properties', async (_, cleanup) => {
  const client = clientOf(cleanup);
  const last = fleet.events.at(-1).sequenceNumber;
  const found = await waitUntil('the last event', async () => {
    const properties = await client.getPartitionProperties(fleet.partition);
    return properties.lastEnqueuedSequenceNumber >= last && properties;
  });
  assert.deepEqual([found.partitionId, found.isEmpty, found.beginningSequenceNumber <= last], [fleet.partition, false, true]);
  assert(Number(found.lastEnqueuedOffset) >= Number(fleet.events.at(-1).offset));
  assert(found.lastEnqueuedOnUtc >= fleet.events.at(-1).enqueuedTimeUtc);
});

row('partition-by-device', async () => {
  const partitions = new Set();
  for (const id of fleet.senders.keys()) {
    const own = new Set(hub.reader().of(id).map((event) => event.partition));
    assert.equal(own.size, 1);
    partitions.add([...own][0]);
  }
  assert(partitions.size > 1);
});

row('tls', async (read) => {
  await read(fleet.partition, earliestEventPosition, { string: hub.strings.eventhubs_tls }).waitFor(...all());
});

row('websocket', async (read) => {
  hub.checkReach('node-events-ws');
  const client = { webSocketOptions: { webSocket: WebSocket } };
  await read(fleet.partition, earliestEventPosition, { string: hub.strings.eventhubs_tls, client }).waitFor(...all());
});

row('emulator', async (read) => {
  assert.match(hub.strings.eventhubs, /UseDevelopmentEmulator=true/);
  await read(fleet.partition, earliestEventPosition).waitFor(...all());
});

row('from-start', async (read) => {
  const reading = await read(fleet.partition, earliestEventPosition).waitFor(...all());
  assert.deepEqual(reading.of(fleet.id).slice(0, 3), all());
  const numbers = reading.events.map((event) => event.sequenceNumber);
  assert.deepEqual(numbers, numbers.map((_, index) => numbers[0] + index));
});

row('from-offset', async (read) => {
  const { offset } = fleet.events[1];
  const after = await read(fleet.partition, { offset }).waitFor(`${fleet.id} 2`);
  assert.equal(after.of(fleet.id)[0], `${fleet.id} 2`);
  const at = await read(fleet.partition, { offset, isInclusive: true }).waitFor(`${fleet.id} 2`);
  assert.equal(at.of(fleet.id)[0], `${fleet.id} 1`);
});

row('from-sequence', async (read) => {
  const { sequenceNumber } = fleet.events[1];
  const after = await read(fleet.partition, { sequenceNumber }).waitFor(`${fleet.id} 2`);
  assert.equal(after.of(fleet.id)[0], `${fleet.id} 2`);
  const at = await read(fleet.partition, { sequenceNumber, isInclusive: true }).waitFor(`${fleet.id} 2`);
  assert.equal(at.of(fleet.id)[0], `${fleet.id} 1`);
});

row('from-time', async (read) => {
  await waitUntil('a later millisecond', () => Date.now() > fleet.events.at(-1).enqueuedTimeUtc.getTime() + 10);
  await fleet.device.send('later');
  const later = await waitUntil('the event', () => hub.reader().of(fleet.id).find((event) => text(event) === 'later'));
  const enqueuedOn = later.enqueuedTimeUtc.getTime() - 1;
  const reading = await read(fleet.partition, { enqueuedOn }).waitFor('later');
  assert(reading.events.every((event) => event.enqueuedTimeUtc >= later.enqueuedTimeUtc));
  assert(!all().some((body) => reading.of(fleet.id).includes(body)));
});

row('from-latest', async (read) => {
  const reading = await read(fleet.partition, latestEventPosition).ready();
  await fleet.device.send('newest');
  await reading.waitFor('newest');
  assert(!all().some((body) => reading.of(fleet.id).includes(body)));
});

row('event-annotations', async () => {
  const message = new Message('annotated');
  Object.assign(message, { messageId: 'annotated-1', contentType: 'text/plain', contentEncoding: 'utf-8' });
  message.properties.add('k', 'v');
  await fleet.device.send(message);
  const event = await waitUntil('the event', () => hub.reader().of(fleet.id).find((one) => one.messageId === 'annotated-1'));
  assert.deepEqual([typeof event.sequenceNumber, typeof event.offset], ['number', 'string']);
  assert(Math.abs(Date.now() - event.enqueuedTimeUtc.getTime()) < 300_000);
  assert(event.systemProperties['iothub-enqueuedtime']);
  assert.deepEqual([event.properties, event.contentType], [{ k: 'v' }, 'text/plain']);
});

row('two-groups', async (read) => {
  for (const group of ['$Default', 'second']) await read(fleet.partition, earliestEventPosition, { group }).waitFor(...all());
});

row('two-readers', async (read) => {
  const both = [read(fleet.partition, earliestEventPosition), read(fleet.partition, earliestEventPosition)];
  for (const reading of both) await reading.waitFor(...all());
});

row('owner', async (read) => {
  const own = (ownerLevel) => ({ group: 'owners', client: ONCE, subscribe: { ownerLevel } });
  const first = await read(fleet.partition, earliestEventPosition, own(1)).ready();
  const second = await read(fleet.partition, earliestEventPosition, own(2)).waitFor(...all());
  assert.equal((await first.error()).code, 'ReceiverDisconnectedError');
  assert.deepEqual(second.errors, []);
});

row('last-enqueued', async (read) => {
  const subscribe = { trackLastEnqueuedEventProperties: true };
  const reading = await read(fleet.partition, earliestEventPosition, { subscribe }).waitFor(...all());
  const last = reading.context.lastEnqueuedEventProperties;
  assert(last.sequenceNumber >= fleet.events.at(-1).sequenceNumber);
  assert(last.offset && last.enqueuedOn && last.retrievedOn);
});

const changed = (string, parts) =>
  Object.entries({ ...hub.partsOf(string), ...parts }).map(([key, value]) => `${key}=${value}`).join(';');

row('no-reader-key', async (read) => {
  const string = changed(hub.strings.eventhubs, { SharedAccessKey: hub.newKey() });
  assert.equal((await read('0', earliestEventPosition, { string, client: ONCE }).error()).code, 'UnauthorizedError');
});

row('no-reader-right', async (read) => {
  const policy = { SharedAccessKeyName: 'registryRead', SharedAccessKey: hub.keyOf('registryRead') };
  const string = changed(hub.strings.eventhubs, policy);
  assert.equal((await read('0', earliestEventPosition, { string, client: ONCE }).error()).code, 'UnauthorizedError');
});

row('no-reader-token', async (read) => {
  const resource = `sb://${hub.place.host}/${hub.place.name}`;
  const token = hub.sas(resource, hub.keyOf('service'), { policy: 'service', lifetime: -60, asText: true });
  const { Endpoint, EntityPath } = hub.partsOf(hub.strings.eventhubs);
  const string = `Endpoint=${Endpoint};SharedAccessSignature=${token};EntityPath=${EntityPath};UseDevelopmentEmulator=true`;
  assert.equal((await read('0', earliestEventPosition, { string, client: ONCE }).error()).code, 'UnauthorizedError');
});

row('no-partition', async (read) => {
  assert((await read('999', earliestEventPosition, { client: ONCE }).error()) instanceof Error);
});

row('no-hub', async (_, cleanup) => {
  const client = clientOf(cleanup, changed(hub.strings.eventhubs, { EntityPath: 'another-hub' }), ONCE);
  await assert.rejects(client.getEventHubProperties(), (error) => ['MessagingEntityNotFoundError', 'UnauthorizedError'].includes(error.code));
});

row('no-owner', async (read) => {
  await read(fleet.partition, earliestEventPosition, { group: 'owned', subscribe: { ownerLevel: 1 } }).ready();
  const plain = read(fleet.partition, earliestEventPosition, { group: 'owned', client: ONCE });
  assert.equal((await plain.error()).code, 'ReceiverDisconnectedError');
});

row('no-lower-owner', async (read) => {
  const own = (ownerLevel) => ({ group: 'levels', client: ONCE, subscribe: { ownerLevel } });
  const high = await read(fleet.partition, earliestEventPosition, own(5)).ready();
  const low = read(fleet.partition, earliestEventPosition, own(4));
  assert.equal((await low.error()).code, 'ReceiverDisconnectedError');
  assert.deepEqual(high.errors, []);
});

await run({
  atOnce: 6,
  end: async () => {
    for (const close of closings) await close();
    await hub.closeReader();
  },
});
