// What a back end does with Microsoft's Node service SDK, and what it is refused.

import assert from 'node:assert/strict';

import { Devices } from './devices.mjs';
import { behaviour, pause, run, waitUntil } from './harness.mjs';
import * as hub from './hub.mjs';

const { Client, Registry } = hub.require('azure-iothub');
const { AmqpWs } = hub.require('azure-iothub/dist/amqp_ws.js');
const { Message } = hub.require('azure-iot-common');

/** A case that has a registry client with every right. */
const row = (name, test) =>
  behaviour(name, async (column, cleanup) => {
    hub.checkReach(column);
    await test(registryAs('iothubowner'), cleanup);
  });

const registryAs = (policy) => Registry.fromConnectionString(hub.strings[policy]);
const body = async (answer) => (await answer).responseBody;

/** The SDK rejects with an error of this name. */
async function refused(promise, ...names) {
  await assert.rejects(promise, (error) => {
    assert(names.includes(error.name), `${error.name}: ${error.message} ${error.responseBody ?? ''}`);
    return true;
  });
}

const keys = () => ({ type: 'sas', symmetricKey: { primaryKey: hub.newKey(), secondaryKey: hub.newKey() } });
const make = (registry, what = 'made', more = {}) => body(registry.create({ deviceId: hub.unique(what), ...more }));

row('device-generated', async (registry) => {
  const { authentication } = await make(registry);
  const { primaryKey, secondaryKey } = authentication.symmetricKey;
  assert.notEqual(primaryKey, secondaryKey);
  for (const key of [primaryKey, secondaryKey]) assert(Buffer.from(key, 'base64').length >= 16);
});

row('device-given', async (registry) => {
  const authentication = keys();
  const { deviceId } = await make(registry, 'made', { authentication });
  const got = await body(registry.get(deviceId));
  assert.deepEqual(got.authentication.symmetricKey, authentication.symmetricKey);
});

row('device-x509', async (registry) => {
  const x509Thumbprint = { primaryThumbprint: hub.thumbprint('first'), secondaryThumbprint: hub.thumbprint('second') };
  const { deviceId } = await make(registry, 'certified', { authentication: { type: 'selfSigned', x509Thumbprint } });
  const { authentication } = await body(registry.get(deviceId));
  assert.equal(authentication.type, 'selfSigned');
  assert.deepEqual({ ...authentication.x509Thumbprint }, x509Thumbprint);
});

row('device-get', async (registry) => {
  const made = await make(registry, 'made', { status: 'disabled', statusReason: 'not paid, größe' });
  const got = await body(registry.get(made.deviceId));
  assert.deepEqual(JSON.parse(JSON.stringify(got)), JSON.parse(JSON.stringify(made)));
  assert.deepEqual([got.status, got.statusReason, got.connectionState], ['disabled', 'not paid, größe', 'Disconnected']);
  assert(got.generationId && got.cloudToDeviceMessageCount === 0);
});

row('device-update', async (registry) => {
  const made = await make(registry);
  const changed = await body(registry.update({ deviceId: made.deviceId, status: 'disabled', statusReason: 'lost', authentication: made.authentication }));
  assert.deepEqual([changed.status, changed.statusReason, changed.generationId], ['disabled', 'lost', made.generationId]);
  assert.notEqual(changed.etag, made.etag);
  assert.equal((await body(registry.get(made.deviceId))).etag, changed.etag);
});

row('device-delete', async (registry) => {
  const { deviceId } = await make(registry);
  await registry.delete(deviceId);
  await refused(registry.get(deviceId), 'DeviceNotFoundError');
});

row('device-odd-id', async (registry) => {
  const { deviceId } = await make(registry, "a-:.+%_#*?!(),=@;$'");
  assert.equal((await body(registry.get(deviceId))).deviceId, deviceId);
  assert.equal((await body(registry.getTwin(deviceId))).deviceId, deviceId);
  await registry.delete(deviceId);
});

row('device-list', async (registry) => {
  const made = [];
  for (let count = 0; count < 3; count += 1) made.push((await make(registry)).deviceId);
  const listed = (await body(registry.list())).map((device) => device.deviceId);
  for (const id of made) assert(listed.includes(id));
});

row('device-recreated', async (registry) => {
  const made = await make(registry);
  await registry.updateTwin(made.deviceId, { tags: { old: true } }, '*');
  await registry.delete(made.deviceId);
  const again = await body(registry.create({ deviceId: made.deviceId }));
  assert.notEqual(again.generationId, made.generationId);
  assert.equal((await body(registry.getTwin(made.deviceId))).tags?.old, undefined);
});

const many = (count) => Array.from({ length: count }, () => ({ deviceId: hub.unique('bulk'), status: 'enabled', authentication: keys() }));

row('bulk-create', async (registry) => {
  const devices = many(100);
  const result = await body(registry.addDevices(devices));
  assert.equal(result.isSuccessful, true);
  assert.deepEqual(result.errors, []);
  assert.equal((await body(registry.get(devices[99].deviceId))).status, 'enabled');
});

row('bulk-update', async (registry) => {
  const devices = many(2);
  await registry.addDevices(devices);
  const off = devices.map((device) => ({ ...device, status: 'disabled' }));
  assert.equal((await body(registry.updateDevices(off, true))).isSuccessful, true);
  const { etag, status } = await body(registry.get(devices[0].deviceId));
  assert.equal(status, 'disabled');
  const result = await body(registry.updateDevices([{ ...devices[0], etag }], false));
  assert.equal(result.isSuccessful, true);
  assert.equal((await body(registry.get(devices[0].deviceId))).status, 'enabled');
});

row('bulk-delete', async (registry) => {
  const devices = many(2);
  await registry.addDevices(devices);
  assert.equal((await body(registry.removeDevices(devices, true))).isSuccessful, true);
  for (const { deviceId } of devices) await refused(registry.get(deviceId), 'DeviceNotFoundError');
});

row('statistics', async (registry) => {
  const count = () => body(registry.getRegistryStatistics());
  // Other cases make and delete devices meanwhile: a whole number of each is all that can be held.
  const all = await count();
  assert.equal(all.totalDeviceCount, all.enabledDeviceCount + all.disabledDeviceCount);
  await make(registry, 'made', { status: 'disabled' });
  assert((await count()).disabledDeviceCount >= 1);
});

async function query(registry, text, pageSize) {
  const rows = [];
  let pages = 0;
  const results = registry.createQuery(text, pageSize);
  do {
    // Without the token the SDK would begin anew.
    rows.push(...(await results.next(results.continuationToken)).result);
    pages += 1;
  } while (results.hasMoreResults);
  return { rows, pages };
}

row('query-pages', async (registry) => {
  const made = [];
  for (let count = 0; count < 5; count += 1) made.push((await make(registry, 'paged')).deviceId);
  const text = `SELECT * FROM devices WHERE deviceId IN [${made.map((id) => `'${id}'`).join(', ')}]`;
  const { rows, pages } = await query(registry, text, 2);
  assert.deepEqual(rows.map((twin) => twin.deviceId).sort(), made.sort());
  assert(pages >= 3);
});

row('query-status', async (registry) => {
  const off = await make(registry, 'made', { status: 'disabled' });
  const on = await make(registry);
  const ids = (await query(registry, "SELECT * FROM devices WHERE status = 'disabled'")).rows.map((twin) => twin.deviceId);
  assert(ids.includes(off.deviceId) && !ids.includes(on.deviceId));
});

async function tagged(registry, tag) {
  const ids = [];
  for (const floor of [1, 2, 2]) {
    const { deviceId } = await make(registry);
    await registry.updateTwin(deviceId, { tags: { [tag]: { floor } }, properties: { desired: { [tag]: floor } } }, '*');
    ids.push(deviceId);
  }
  return ids;
}

row('query-tags', async (registry) => {
  const ids = await tagged(registry, 'byTag');
  const { rows } = await query(registry, 'SELECT * FROM devices WHERE tags.byTag.floor > 1');
  assert.deepEqual(rows.map((twin) => twin.deviceId).sort(), ids.slice(1).sort());
  assert.deepEqual(rows[0].tags, { byTag: { floor: 2 } });
});

row('query-properties', async (registry) => {
  const ids = await tagged(registry, 'byProperty');
  const { rows } = await query(registry, 'SELECT * FROM devices WHERE properties.desired.byProperty = 1 OR properties.desired.byProperty = 7');
  assert.deepEqual(rows.map((twin) => twin.deviceId), [ids[0]]);
});

row('query-select', async (registry) => {
  const ids = await tagged(registry, 'chosen');
  const { rows } = await query(registry, 'SELECT deviceId, tags.chosen.floor AS level FROM devices WHERE tags.chosen.floor = 1');
  assert.deepEqual(rows, [{ deviceId: ids[0], level: 1 }]);
});

row('query-count', async (registry) => {
  await tagged(registry, 'counted');
  const { rows } = await query(registry, 'SELECT COUNT() AS devices FROM devices WHERE tags.counted.floor > 0');
  assert.deepEqual(rows, [{ devices: 3 }]);
});

row('twin-patch', async (registry) => {
  const { deviceId } = await make(registry);
  const fresh = await body(registry.getTwin(deviceId));
  assert.deepEqual([fresh.properties.desired.$version, fresh.properties.reported.$version], [1, 1]);
  await registry.updateTwin(deviceId, { tags: { a: 1, b: { c: 2, d: 3 } }, properties: { desired: { x: 1, y: 2 } } }, '*');
  const twin = await body(registry.updateTwin(deviceId, { tags: { b: { c: null } }, properties: { desired: { x: null } } }, '*'));
  assert.deepEqual(twin.tags, { a: 1, b: { d: 3 } });
  const { $version, $metadata, ...desired } = twin.properties.desired;
  assert.deepEqual([desired, $version], [{ y: 2 }, 3]);
  assert($metadata.y.$lastUpdated);
  assert(twin.version > fresh.version && twin.etag !== fresh.etag);
});

row('twin-etag', async (registry) => {
  const { deviceId } = await make(registry);
  const twin = await body(registry.getTwin(deviceId));
  const before = twin.etag;
  const { result: changed } = await twin.update({ tags: { a: 1 } });
  assert.notEqual(changed.etag, before);
  assert.deepEqual((await changed.update({ tags: { a: 2 } })).result.tags, { a: 2 });
});

/** The SDK's client for messages and methods. */
async function service(cleanup, transport, string = hub.strings.iothubowner) {
  const client = transport ? Client.fromConnectionString(string, transport) : Client.fromConnectionString(string);
  client.on('error', () => {});
  cleanup(() => client.close());
  await client.open();
  return client;
}

row('method-payload', async (registry, cleanup) => {
  const devices = new Devices('node-mqtt', cleanup);
  const { identity, device } = await devices.make();
  (await device.open()).client.onDeviceMethod('echo', (request, response) => response.send(200, request.payload, () => {}));
  await hub.callMethod(identity.deviceId, 'echo', 'are you there?');
  const client = await service(cleanup);
  for (const payload of [{ a: [1, { b: null }] }, [1, 'two'], 'text', 12.5, true, null]) {
    const { result } = await client.invokeDeviceMethod(identity.deviceId, { methodName: 'echo', payload, responseTimeoutInSeconds: 30 });
    assert.deepEqual(result, { status: 200, payload });
  }
});

const waiting = async (registry, deviceId) => (await body(registry.get(deviceId))).cloudToDeviceMessageCount;

row('c2d-send', async (registry, cleanup) => {
  const { deviceId } = await make(registry);
  const client = await service(cleanup);
  for (let count = 0; count < 3; count += 1) await client.send(deviceId, new Message('hello'));
  assert.equal(await waiting(registry, deviceId), 3);
});

row('c2d-websocket', async (registry, cleanup) => {
  const { deviceId } = await make(registry);
  const client = await service(cleanup, AmqpWs);
  await client.send(deviceId, new Message('hello'));
  assert.equal(await waiting(registry, deviceId), 1);
});

/** All feedback: the hub has one queue of it, so one receiver serves every case. */
let feedbackRecords;
let feedbackClient;
function feedback() {
  feedbackRecords ??= (async () => {
    feedbackClient = await service(() => {});
    const { result: receiver } = await feedbackClient.getFeedbackReceiver();
    const records = [];
    receiver.on('message', (message) => records.push(...JSON.parse(message.getData().toString())));
    receiver.on('errorReceived', () => {});
    return records;
  })();
  return feedbackRecords;
}

async function hears(messageId) {
  const records = await feedback();
  const found = () => records.find((record) => record.originalMessageId === messageId);
  return waitUntil(() => `feedback on ${messageId}, got ${JSON.stringify(records)}`, found);
}

function asking(messageId, ack = 'full') {
  const message = new Message('please confirm');
  return Object.assign(message, { messageId, ack });
}

row('c2d-feedback', async (registry, cleanup) => {
  const devices = new Devices('node-mqtt', cleanup);
  const { identity, device } = await devices.make();
  (await device.open()).listen();
  await feedback();
  await (await service(cleanup)).send(identity.deviceId, asking('confirm-1', 'positive'));
  const record = await hears('confirm-1');
  assert.deepEqual([record.statusCode, record.deviceId, record.deviceGenerationId], ['Success', identity.deviceId, identity.generationId]);
  assert(record.enqueuedTimeUtc);
});

row('c2d-expired', async (registry, cleanup) => {
  const devices = new Devices('node-mqtt', cleanup);
  const { identity, device } = await devices.make();
  await feedback();
  const client = await service(cleanup);
  const message = asking('too-late-1');
  message.expiryTimeUtc = Date.now() + 2_000;
  await client.send(identity.deviceId, message);
  await pauseUntil(message.expiryTimeUtc + 500);
  const messages = (await device.open()).listen();
  await client.send(identity.deviceId, new Message('in time'));
  await waitUntil('the next message', () => messages.length);
  assert.deepEqual(messages.map((one) => one.data.toString()), ['in time']);
  assert.equal((await hears('too-late-1')).statusCode, 'Expired');
});

const pauseUntil = (time) => pause(Math.max(0, time - Date.now()));

row('no-key', async () => {
  const string = hub.strings.iothubowner.replace(hub.keyOf('iothubowner'), hub.newKey());
  await refused(Registry.fromConnectionString(string).list(), 'UnauthorizedError');
});

row('no-key-amqp', async (_, cleanup) => {
  const string = hub.strings.service.replace(hub.keyOf('service'), hub.newKey());
  await assert.rejects(service(cleanup, undefined, string), (error) => {
    assert.equal((error.amqpError ?? error).name, 'UnauthorizedError');
    return true;
  });
});

row('no-token-expired', async () => {
  const token = hub.sas(hub.place.host, hub.keyOf('iothubowner'), { policy: 'iothubowner', lifetime: -60 });
  await refused(Registry.fromSharedAccessSignature(token).list(), 'UnauthorizedError');
});

row('no-read-only', async () => {
  const reader = registryAs('registryRead');
  await reader.list();
  await refused(reader.create({ deviceId: hub.unique('never') }), 'UnauthorizedError');
});

row('no-registry-right', async (registry) => {
  const { deviceId } = await make(registry);
  await refused(registryAs('service').get(deviceId), 'UnauthorizedError');
});

row('no-service-right', async (registry) => {
  const { deviceId } = await make(registry);
  await refused(registryAs('registryReadWrite').getTwin(deviceId), 'UnauthorizedError');
});

row('no-exists', async (registry) => {
  const made = await make(registry);
  await refused(registry.create({ deviceId: made.deviceId }), 'DeviceAlreadyExistsError');
  assert.equal((await body(registry.get(made.deviceId))).etag, made.etag);
});

row('no-device', async (registry) => {
  const nobody = hub.unique('nobody');
  await refused(registry.get(nobody), 'DeviceNotFoundError');
  await refused(registry.update({ deviceId: nobody, status: 'enabled' }), 'DeviceNotFoundError');
  await refused(registry.delete(nobody), 'DeviceNotFoundError');
  await refused(registry.getTwin(nobody), 'DeviceNotFoundError');
});

row('no-stale-update', async (registry) => {
  const made = await make(registry);
  await registry.update({ deviceId: made.deviceId, status: 'disabled', authentication: made.authentication });
  // Only its bulk calls let a program name the ETag.
  const stale = { deviceId: made.deviceId, status: 'enabled', authentication: made.authentication, etag: made.etag };
  await assert.rejects(registry.updateDevices([stale], false), (error) => {
    assert.match(String(error.responseBody), /PreconditionFailed/);
    return true;
  });
  assert.equal((await body(registry.get(made.deviceId))).status, 'disabled');
});

row('no-stale-delete', async (registry) => {
  const made = await make(registry);
  await registry.update({ deviceId: made.deviceId, status: 'disabled', authentication: made.authentication });
  await assert.rejects(registry.removeDevices([{ deviceId: made.deviceId, etag: made.etag }], false), (error) => {
    assert.match(String(error.responseBody), /PreconditionFailed/);
    return true;
  });
  assert.equal((await body(registry.get(made.deviceId))).status, 'disabled');
});

row('no-stale-twin', async (registry) => {
  const { deviceId } = await make(registry);
  const { etag } = await body(registry.getTwin(deviceId));
  await registry.updateTwin(deviceId, { tags: { a: 1 } }, etag);
  await refused(registry.updateTwin(deviceId, { tags: { a: 2 } }, etag), 'InvalidEtagError');
  assert.deepEqual((await body(registry.getTwin(deviceId))).tags, { a: 1 });
});

row('no-bulk-item', async (registry) => {
  const there = (await make(registry)).deviceId;
  const [fresh] = many(1);
  const again = { ...fresh, deviceId: there };
  await assert.rejects(registry.addDevices([again, fresh]), (error) => {
    const { isSuccessful, errors } = JSON.parse(error.responseBody);
    assert.equal(isSuccessful, false);
    assert.deepEqual(errors.map((one) => [one.deviceId, one.errorCode]), [[there, 'DeviceAlreadyExists']]);
    return true;
  });
  assert.equal((await body(registry.get(fresh.deviceId))).status, 'enabled');
});

row('no-bulk-many', async (registry) => {
  const devices = many(101);
  await assert.rejects(async () => registry.addDevices(devices));
  await refused(registry.get(devices[0].deviceId), 'DeviceNotFoundError');
});

row('no-bad-id', async (registry) => {
  for (const deviceId of ['with space', 'größe', 'x'.repeat(129)]) await refused(registry.create({ deviceId }), 'ArgumentError');
});

row('no-bad-query', async (registry) => {
  for (const text of ['SELECT', 'DELETE FROM devices', 'SELECT * FROM devices WHERE', 'SELECT * FROM nothing']) {
    await refused(registry.createQuery(text).next(), 'ArgumentError');
  }
});

row('no-twin-large', async (registry) => {
  const { deviceId } = await make(registry);
  const tags = Object.fromEntries([0, 1, 2].map((number) => [`tag${number}`, 'x'.repeat(3000)]));
  await assert.rejects(registry.updateTwin(deviceId, { tags }, '*'), (error) => {
    assert([400, 413].includes(error.response.statusCode), String(error.responseBody));
    return true;
  });
  assert.deepEqual((await body(registry.getTwin(deviceId))).tags ?? {}, {});
});

const reboot = (responseTimeoutInSeconds = 30) => ({ methodName: 'reboot', payload: null, responseTimeoutInSeconds });

row('no-method-absent', async (registry, cleanup) => {
  const { deviceId } = await make(registry);
  const client = await service(cleanup);
  await assert.rejects(client.invokeDeviceMethod(deviceId, reboot()), (error) => {
    assert.equal(error.response.statusCode, 404);
    assert.match(String(error.responseBody), /DeviceNotOnline/);
    return true;
  });
});

row('no-method-silent', async (_, cleanup) => {
  const devices = new Devices('node-mqtt', cleanup);
  const { identity, device } = await devices.make();
  let called = 0;
  (await device.open()).client.onDeviceMethod('reboot', () => (called += 1));
  const client = await service(cleanup);
  // Until the device has subscribed it is not online for methods; the SDK tells nobody when that is.
  await waitUntil('the call to reach the device', async () => {
    await assert.rejects(client.invokeDeviceMethod(identity.deviceId, reboot(5)), (error) => {
      if (called) assert.equal(error.name, 'GatewayTimeoutError');
      return true;
    });
    return called;
  });
});

row('no-method-unknown', async (_, cleanup) => {
  const client = await service(cleanup);
  await assert.rejects(client.invokeDeviceMethod(hub.unique('nobody'), reboot()), (error) => error.response.statusCode === 404);
});

row('no-c2d-unknown', async (_, cleanup) => {
  const client = await service(cleanup);
  await refused(client.send(hub.unique('nobody'), new Message('hello')), 'DeviceNotFoundError');
});

row('no-c2d-full', async (registry, cleanup) => {
  const { deviceId } = await make(registry);
  const client = await service(cleanup);
  for (let count = 0; count < 50; count += 1) await client.send(deviceId, new Message(String(count)));
  await refused(client.send(deviceId, new Message('one too many')), 'DeviceMaximumQueueDepthExceededError');
  assert.equal(await waiting(registry, deviceId), 50);
});

row('no-c2d-large', async (registry, cleanup) => {
  const { deviceId } = await make(registry);
  const client = await service(cleanup);
  await assert.rejects(client.send(deviceId, new Message('x'.repeat(64 * 1024 + 1))));
  assert.equal(await waiting(registry, deviceId), 0);
});

row('no-modules', async (registry) => {
  const { deviceId } = await make(registry);
  await assert.rejects(registry.addModule({ deviceId, moduleId: 'camera' }), (error) => {
    assert.equal(error.response.statusCode, 501);
    assert.match(String(error.responseBody), /module/i);
    return true;
  });
});

await run({
  atOnce: 6,
  end: async () => {
    await feedbackClient?.close();
  },
});
