// What goes wrong at the hub for a while: the SDK bears it, and what was to be sent arrives.

import assert from 'node:assert/strict';

import { Devices } from './devices.mjs';
import { behaviour, chosen, run, waitUntil } from './harness.mjs';
import * as hub from './hub.mjs';

const { ExponentialBackOffWithJitter } = hub.require('azure-iot-common');

/** The SDK's own policy, with pauses that a test can wait for: when throttled it would wait ten seconds. */
class Patient extends ExponentialBackOffWithJitter {
  throttled = 0;

  nextRetryTimeout(count, isThrottled) {
    if (isThrottled) this.throttled += 1;
    return Math.min(super.nextRetryTimeout(count, isThrottled), 200);
  }
}

/** A case that has a connected device which tries again by itself; one message has arrived. */
const row = (name, test) =>
  behaviour(name, async (column, cleanup) => {
    hub.checkReach(column);
    const devices = new Devices(column, cleanup);
    const { identity, device } = await devices.make();
    const policy = new Patient();
    device.retrying(policy);
    await (await device.open()).send('before');
    await test({ id: identity.deviceId, device, devices, policy });
  });

const bodies = async (id, count) => (await hub.reader().waitFor(id, count)).map((event) => hub.bodyOf(event).toString());
const taken = (device, text) => waitUntil(`${text} to be taken`, () => device.send(text).then(() => true, () => false));

row('fault-throttle', async ({ id, device, devices, policy }) => {
  await hub.fault('throttle', { device: id, count: 2 });
  await device.send('throttled');
  assert.deepEqual(await hub.faultsOf(id), [], 'the hub refused it twice');
  // Over MQTT the hub has no word for it: it closes the connection.
  if (!devices.isMqtt) assert.equal(policy.throttled, 2);
  await device.send('after');
  assert.deepEqual(await bodies(id, 3), ['before', 'throttled', 'after']);
});

row('fault-delay', async ({ id, device }) => {
  await hub.fault('delay', { ms: 1000, device: id, count: 1 });
  await device.send('late');
  await device.send('after');
  assert.deepEqual(await bodies(id, 3), ['before', 'late', 'after']);
});

row('fault-drop', async ({ id, device }) => {
  await hub.fault('drop', { device: id, count: 1 });
  await device.send('twice');
  await device.send('after');
  // It was stored, and sent again because nobody could know that.
  assert.deepEqual(await bodies(id, 4), ['before', 'twice', 'twice', 'after']);
});

row('fault-stolen', async ({ id, device }) => {
  await hub.fault('link-stolen', { device: id, count: 2 });
  await waitUntil('the device to have lost its link twice', async () => {
    // By AMQP it attaches again when it has something to send.
    if ((await hub.faultsOf(id)).length > 0) await device.send('again').catch(() => {});
    return (await hub.faultsOf(id)).length === 0;
  });
  await taken(device, 'after');
  await waitUntil('the last to arrive', async () => (await bodies(id, 2)).at(-1) === 'after');
});

row('fault-disabled', async ({ id, device }) => {
  const number = await hub.fault('disabled', { device: id });
  // An SDK that is to try again does not tell at once that it was cut off.
  const gone = async () => (await hub.getIdentity(id)).connectionState === 'Disconnected';
  await waitUntil('the hub to have cut the device off', gone);
  await hub.clearFault(number);
  await taken(device, 'after');
  assert.deepEqual(await bodies(id, 2), ['before', 'after']);
});

await run({ atOnce: chosen() || 1, end: () => hub.closeReader() });
