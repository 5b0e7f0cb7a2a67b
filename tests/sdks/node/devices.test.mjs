// What a device does with Microsoft's Node device SDK, and what it is refused.

import assert from 'node:assert/strict';

import { Devices, Message } from './devices.mjs';
import { behaviour, pause, run, waitUntil } from './harness.mjs';
import * as hub from './hub.mjs';

const { Client: ServiceClient } = hub.require('azure-iothub');
const { Message: ServiceMessage } = hub.require('azure-iot-common');
const LIMIT = 256 * 1024;

/** A case that has the column's device clients. */
const row = (name, test) =>
  behaviour(name, async (column, cleanup) => {
    hub.checkReach(column);
    await test(new Devices(column, cleanup), cleanup);
  });

row('d2c-content', async (devices) => {
  const { identity, device } = await devices.make();
  const message = new Message('{"temperature": 21.5}');
  Object.assign(message, { messageId: 'm-1', correlationId: 'c-1', contentType: 'application/json', contentEncoding: 'utf-8' });
  message.properties.add('room', 'kitchen');
  message.properties.add('alarm', 'false');
  await (await device.open()).send(message);
  const [event] = await hub.reader().waitFor(identity.deviceId);
  assert.deepEqual(event.body, { temperature: 21.5 });
  assert.deepEqual([event.messageId, event.correlationId, event.contentType], ['m-1', 'c-1', 'application/json']);
  assert.equal(event.systemProperties.contentEncoding, 'utf-8');
  assert.deepEqual(event.properties, { room: 'kitchen', alarm: 'false' });
});

row('d2c-binary', async (devices) => {
  const { identity, device } = await devices.make();
  await device.open();
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  await device.send(new Message(bytes));
  await device.send(new Message(Buffer.alloc(0)));
  const events = await hub.reader().waitFor(identity.deviceId, 2);
  assert.deepEqual(events.map(hub.bodyOf), [bytes, Buffer.alloc(0)]);
});

row('d2c-order', async (devices) => {
  const { identity, device } = await devices.make();
  await device.open();
  const numbers = Array.from({ length: 50 }, (_, index) => index);
  // As a program does: the next is given to the SDK before the last is acknowledged. Over HTTPS each is its own request.
  if (devices.isHttp) for (const number of numbers) await device.send(String(number));
  else await Promise.all(numbers.map((number) => device.send(String(number))));
  const events = await hub.reader().waitFor(identity.deviceId, 50);
  assert.deepEqual(events.map((event) => Number(hub.bodyOf(event))), numbers);
});

row('d2c-properties', async (devices) => {
  const { identity, device } = await devices.make();
  const wanted = { 'a b': 'c d', 'x&y': '1=2&3', '50%': '100%25', 'path/to': '/a//b/', größe: '°C ✓', 'plus+': '+', empty: '' };
  const message = new Message('x');
  for (const [name, value] of Object.entries(wanted)) message.properties.add(name, value);
  await (await device.open()).send(message);
  const [event] = await hub.reader().waitFor(identity.deviceId);
  assert.deepEqual(event.properties, wanted);
});

row('d2c-largest', async (devices) => {
  const { identity, device } = await devices.make();
  const bytes = Buffer.from(Array.from({ length: 255 * 1024 }, (_, index) => (index * 31) % 251));
  await (await device.open()).send(new Message(bytes));
  const [event] = await hub.reader().waitFor(identity.deviceId);
  assert(hub.bodyOf(event).equals(bytes));
});

row('d2c-origin', async (devices) => {
  const { identity, device } = await devices.make();
  await (await device.open()).send('hello');
  const [event] = await hub.reader().waitFor(identity.deviceId);
  const told = event.systemProperties;
  assert.equal(told['iothub-connection-auth-generation-id'], identity.generationId);
  assert.equal(told['iothub-message-source'], 'Telemetry');
  const { scope, type } = JSON.parse(told['iothub-connection-auth-method']);
  assert.deepEqual({ scope, type }, { scope: 'device', type: 'sas' });
});

row('d2c-batch', async (devices) => {
  const { identity, device } = await devices.make();
  const messages = Array.from({ length: 5 }, (_, index) => new Message(`in one ${index}`));
  messages.forEach((message, index) => message.properties.add('number', String(index)));
  await (await device.open()).call('sendEventBatch', messages);
  const events = await hub.reader().waitFor(identity.deviceId, 5);
  assert.deepEqual(events.map((event) => hub.bodyOf(event).toString()), messages.map((message) => message.data.toString()));
  assert.deepEqual(events.map((event) => event.properties.number), ['0', '1', '2', '3', '4']);
});

/** Messages to devices, sent with Microsoft's service SDK. */
async function service(cleanup) {
  const client = ServiceClient.fromConnectionString(hub.amqpString('service'));
  client.on('error', () => {});
  await client.open();
  cleanup(() => client.close());
  return client;
}

async function sendTo(client, deviceId, body, properties = {}) {
  const message = new ServiceMessage(body);
  for (const name of ['messageId', 'correlationId', 'ack', 'contentType', 'contentEncoding']) {
    if (properties[name]) message[name] = properties[name];
    delete properties[name];
  }
  for (const [name, value] of Object.entries(properties)) message.properties.add(name, value);
  await client.send(deviceId, message);
}

const waiting = async (deviceId) => (await hub.getIdentity(deviceId)).cloudToDeviceMessageCount;

row('c2d-content', async (devices, cleanup) => {
  const { identity, device } = await devices.make();
  const messages = (await device.open()).listen();
  const wanted = { messageId: 'm-7', correlationId: 'c-7', contentType: 'text/plain', contentEncoding: 'utf-8', lamp: 'hall', odd: 'a&c=%' };
  await sendTo(await service(cleanup), identity.deviceId, 'turn on', { ...wanted });
  const message = await waitUntil('the message', () => messages[0]);
  assert.equal(message.data.toString(), 'turn on');
  assert.deepEqual([message.messageId, message.correlationId], ['m-7', 'c-7']);
  // Over HTTPS this SDK leaves out the type, and names properties by their headers.
  const prefix = devices.isHttp ? 'iothub-app-' : '';
  if (!devices.isHttp) assert.deepEqual([message.contentType, message.contentEncoding], ['text/plain', 'utf-8']);
  assert.equal(message.properties.getValue(`${prefix}lamp`), 'hall');
  assert.equal(message.properties.getValue(`${prefix}odd`), 'a&c=%');
  await waitUntil('the message to be completed', async () => (await waiting(identity.deviceId)) === 0);
});

row('c2d-waiting', async (devices, cleanup) => {
  const { identity, device } = await devices.make();
  const client = await service(cleanup);
  for (let number = 0; number < 5; number += 1) await sendTo(client, identity.deviceId, String(number));
  assert.equal(await waiting(identity.deviceId), 5);
  const messages = (await device.open()).listen();
  await waitUntil('the messages', () => messages.length >= 5);
  assert.deepEqual(messages.map((message) => message.data.toString()), ['0', '1', '2', '3', '4']);
});

row('c2d-reject', async (devices, cleanup) => {
  const { identity, device } = await devices.make();
  const messages = (await device.open()).listen((message) => device.call('reject', message));
  const client = await service(cleanup);
  const told = await feedback();
  await sendTo(client, identity.deviceId, 'no thanks', { messageId: `reject-${identity.deviceId}`, ack: 'full' });
  await waitUntil('the message', () => messages[0]);
  const found = () => told.find((record) => record.originalMessageId === `reject-${identity.deviceId}`);
  const record = await waitUntil(() => `the feedback, got ${JSON.stringify(told)}`, found);
  assert.equal(record.statusCode, 'Rejected');
  assert.equal(await waiting(identity.deviceId), 0);
});

row('c2d-abandon', async (devices, cleanup) => {
  const { identity, device } = await devices.make();
  const settle = (message, count) => device.call(count === 1 ? 'abandon' : 'complete', message);
  const messages = (await device.open()).listen(settle);
  await sendTo(await service(cleanup), identity.deviceId, 'later please', { messageId: 'again' });
  await waitUntil('the message to come twice', () => messages.length >= 2);
  assert.deepEqual(messages.slice(0, 2).map((message) => message.messageId), ['again', 'again']);
  await waitUntil('the message to be completed', async () => (await waiting(identity.deviceId)) === 0);
});

row('twin-get', async (devices) => {
  const { identity, device } = await devices.make();
  await hub.patchTwin(identity.deviceId, { properties: { desired: { interval: 5, nested: { on: true, names: ['a', 'b'] } } } });
  const twin = await (await device.open()).call('getTwin');
  await report(twin, { firmware: '1.2' });
  await new Promise((resolve, reject) => twin.get((error) => (error ? reject(error) : resolve())));
  assert.equal(twin.properties.desired.interval, 5);
  assert.deepEqual(twin.properties.desired.nested, { on: true, names: ['a', 'b'] });
  assert.equal(twin.properties.desired.$version, 2);
  assert.equal(twin.properties.reported.firmware, '1.2');
});

const report = (twin, patch) =>
  new Promise((resolve, reject) => twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve())));

row('twin-reported', async (devices) => {
  const { identity, device } = await devices.make();
  const twin = await (await device.open()).call('getTwin');
  await report(twin, { a: 1, b: { c: 2, d: 3 } });
  await report(twin, { a: null, b: { c: 20 } });
  const { reported } = (await hub.getTwin(identity.deviceId)).properties;
  assert.deepEqual([reported.a, reported.b, reported.$version], [undefined, { c: 20, d: 3 }, 3]);
});

row('twin-desired', async (devices) => {
  const { identity, device } = await devices.make();
  const twin = await (await device.open()).call('getTwin');
  const patches = [];
  twin.on('properties.desired', (patch) => patches.push(patch));
  // The SDK tells nobody when it has subscribed: the property is set anew until a change arrives.
  let speed = 0;
  const patch = await waitUntil('a change', async () => {
    await hub.patchTwin(identity.deviceId, { properties: { desired: { speed: ++speed } } });
    await pause(200);
    return patches.find((one) => one.speed > 0);
  });
  assert.equal(patch.$version, patch.speed + 1);
});

row('method-call', async (devices) => {
  const { identity, device } = await devices.make();
  (await device.open()).client.onDeviceMethod('reboot', (request, response) =>
    response.send(200, { name: request.methodName, got: request.payload }, () => {}),
  );
  const answer = await hub.callMethod(identity.deviceId, 'reboot', { delay: 3 });
  assert.deepEqual(answer, { status: 200, payload: { name: 'reboot', got: { delay: 3 } } });
});

row('method-error', async (devices) => {
  const { identity, device } = await devices.make();
  (await device.open()).client.onDeviceMethod('brew', (_, response) => response.send(418, { why: 'a teapot' }, () => {}));
  const answer = await hub.callMethod(identity.deviceId, 'brew', null);
  assert.deepEqual(answer, { status: 418, payload: { why: 'a teapot' } });
});

row('auth-x509', async (devices) => {
  const { deviceId } = await hub.makeCertified('first');
  await (await devices.withCertificate(deviceId, 'first').open()).send('hello');
  const [event] = await hub.reader().waitFor(deviceId);
  assert.equal(JSON.parse(event.systemProperties['iothub-connection-auth-method']).type, 'x509');
});

row('auth-x509-second', async (devices) => {
  const { deviceId } = await hub.makeCertified('first', 'second');
  await (await devices.withCertificate(deviceId, 'second').open()).send('hello');
  assert.equal((await hub.reader().waitFor(deviceId)).length, 1);
});

row('auth-secondary', async (devices) => {
  const identity = await hub.makeIdentity();
  const device = devices.of(identity, identity.authentication.symmetricKey.secondaryKey);
  await (await device.open()).send('hello');
  assert.equal((await hub.reader().waitFor(identity.deviceId)).length, 1);
});

row('auth-policy', async (devices) => {
  const { deviceId } = await hub.makeIdentity();
  const token = hub.sas(`${hub.place.host}/devices/${deviceId}`, hub.keyOf('device'), { policy: 'device' });
  await (await devices.withToken(token).open()).send('hello');
  const [event] = await hub.reader().waitFor(deviceId);
  assert.equal(JSON.parse(event.systemProperties['iothub-connection-auth-method']).scope, 'hub');
});

row('presence', async (devices) => {
  const { identity, device } = await devices.make();
  const state = async () => (await hub.getIdentity(identity.deviceId)).connectionState;
  assert.equal(await state(), 'Disconnected');
  await (await device.open()).send('here I am');
  await waitUntil('Connected', async () => (await state()) === 'Connected');
  await device.call('close');
  await waitUntil('Disconnected', async () => (await state()) === 'Disconnected');
});

/** Does `use` with a token that has run out `seconds` later; longer if this machine needs longer to get that far. */
async function withShortToken(make, use) {
  for (const lifetime of [4, 20, 60]) {
    const expires = Date.now() + lifetime * 1000;
    try {
      return await use(make(lifetime), expires);
    } catch (error) {
      if (Date.now() < expires - 1000 || lifetime === 60) throw error;
    }
  }
  return undefined;
}

const expired = (expires) => waitUntil('the token to expire', () => Date.now() > expires + 1000, 120_000);

row('renewal', async (devices) => {
  const identity = await hub.makeIdentity();
  const short = (lifetime) => devices.withToken(devices.tokenOf(identity, { lifetime }));
  const { device, expires } = await withShortToken(short, async (device, expires) => {
    await (await device.open()).send('before');
    await new Promise((resolve, reject) => {
      const done = (error) => (error ? reject(error) : resolve());
      device.client.updateSharedAccessSignature(devices.tokenOf(identity), done);
    });
    return { device, expires };
  });
  await expired(expires);
  await device.send('after');
  const events = await hub.reader().waitFor(identity.deviceId, 2);
  assert.equal(hub.bodyOf(events.at(-1)).toString(), 'after');
});

/** The hub refuses the device at the latest when it sends, and the SDK says so by one of these names. */
async function refused(device, ...names) {
  await assert.rejects(
    async () => {
      await device.open();
      await device.send('let me in');
    },
    (error) => {
      assert(names.includes(error.name), `${error.name}: ${error.message}`);
      // Over MQTT the SDK takes a hub that is not there for one that refuses.
      assert.doesNotMatch(error.message, /ECONNREFUSED|ENOTFOUND|Unable to establish/);
      return true;
    },
  );
}

const WHO = ['UnauthorizedError'];
const WHICH = ['UnauthorizedError', 'DeviceNotFoundError'];
// Over HTTPS this SDK takes every 403 for a quota, also that of a disabled device.
const OFF = [...WHICH, 'IotHubQuotaExceededError'];

row('no-signature', async (devices) => {
  await refused(devices.of(await hub.makeIdentity(), hub.newKey()), ...WHO);
});

row('no-expired', async (devices) => {
  const token = devices.tokenOf(await hub.makeIdentity(), { lifetime: -60 });
  await refused(devices.withToken(token), ...WHO);
});

row('no-scope', async (devices) => {
  const [mine, other] = [await hub.makeIdentity(), await hub.makeIdentity()];
  await refused(devices.withCredentials(other.deviceId, devices.tokenOf(mine)), ...WHO);
});

row('no-unknown', async (devices) => {
  await refused(devices.ofId(hub.unique('nobody'), hub.newKey()), ...WHICH);
});

row('no-disabled', async (devices) => {
  await refused(devices.of(await hub.makeIdentity('device', 'disabled')), ...OFF);
});

row('no-right', async (devices) => {
  const { deviceId } = await hub.makeIdentity();
  const token = hub.sas(`${hub.place.host}/devices/${deviceId}`, hub.keyOf('service'), { policy: 'service' });
  await refused(devices.withToken(token), ...WHO);
});

row('no-certificate', async (devices) => {
  const { deviceId } = await hub.makeCertified('first', 'second');
  await refused(devices.withCertificate(deviceId, 'stranger'), ...WHICH);
});

row('no-certificate-kind', async (devices) => {
  const { deviceId } = await hub.makeIdentity();
  await refused(devices.withCertificate(deviceId, 'first'), ...WHICH);
});

row('no-too-large', async (devices) => {
  const { identity, device } = await devices.make();
  await (await device.open()).send('fits');
  const large = new Message(Buffer.alloc(LIMIT, 120));
  // The SDK's own check over MQTT forgets the properties; the service counts them.
  large.properties.add('one', 'more');
  await assert.rejects(device.send(large));
  const again = devices.of(identity);
  await (await again.open()).send('still fits');
  const events = await hub.reader().waitFor(identity.deviceId, 2);
  assert.deepEqual(events.map((event) => hub.bodyOf(event).toString()), ['fits', 'still fits']);
});

row('no-twin-too-large', async (devices) => {
  const { identity, device } = await devices.make();
  const twin = await (await device.open()).call('getTwin');
  const parts = Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`part${index}`, 'x'.repeat(3000)]));
  await assert.rejects(report(twin, parts));
  assert.equal((await hub.getTwin(identity.deviceId)).properties.reported.part1, undefined);
});

row('cut-takeover', async (devices) => {
  const { identity, device } = await devices.make();
  await (await device.open()).send('mine');
  const second = devices.of(identity);
  await (await second.open()).send('mine now');
  await device.waitUntilCutOff();
  await second.send('still mine');
  assert.equal((await hub.reader().waitFor(identity.deviceId, 3)).length, 3);
});

row('cut-expired', async (devices) => {
  const identity = await hub.makeIdentity();
  await withShortToken(
    (lifetime) => devices.withToken(devices.tokenOf(identity, { lifetime })),
    async (device) => {
      await (await device.open()).send('for now');
      await device.waitUntilCutOff();
    },
  );
});

/** The device is cut off by a change of its identity, and cannot come back. */
const cutBy = (change) => async (devices) => {
  const { identity, device } = await devices.make();
  await (await device.open()).send('here');
  await change(identity);
  await device.waitUntilCutOff();
  await refused(devices.of(identity), ...OFF);
};

row('cut-disabled', cutBy((identity) => hub.putIdentity({ ...identity, status: 'disabled' })));
row('cut-deleted', cutBy((identity) => hub.deleteIdentity(identity.deviceId)));
row(
  'cut-rekeyed',
  cutBy((identity) => {
    const symmetricKey = { primaryKey: hub.newKey(), secondaryKey: hub.newKey() };
    return hub.putIdentity({ ...identity, authentication: { type: 'sas', symmetricKey } });
  }),
);

/** All feedback of the hub: it has one queue of it, so one receiver serves every case. */
let feedbackRecords;
let feedbackClient;
async function feedback() {
  feedbackRecords ??= (async () => {
    feedbackClient = ServiceClient.fromConnectionString(hub.amqpString('service'));
    feedbackClient.on('error', () => {});
    await feedbackClient.open();
    const { result: receiver } = await feedbackClient.getFeedbackReceiver();
    const records = [];
    receiver.on('message', (message) => records.push(...JSON.parse(message.getData().toString())));
    receiver.on('errorReceived', () => {});
    return records;
  })();
  return feedbackRecords;
}

await run({
  atOnce: 6,
  end: async () => {
    await feedbackClient?.close();
    await hub.closeReader();
  },
});
