// The hub is killed and started again under a device of every transport; each has to go on by itself.

import assert from 'node:assert/strict';

import { Devices } from './devices.mjs';
import { behaviour, chosen, PATIENCE, run, waitUntil } from './harness.mjs';
import * as hub from './hub.mjs';

const { ExponentialBackOffWithJitter } = hub.require('azure-iot-common');
const arrived = [];
let back;

behaviour('restart', async (column, cleanup) => {
  // One restart serves all: the last to arrive asks for it.
  let connected;
  try {
    hub.checkReach(column);
    const devices = new Devices(column, cleanup);
    const { identity, device } = await devices.make();
    device.retrying(new ExponentialBackOffWithJitter());
    await device.open();
    await device.send('before');
    connected = { identity, device };
  } finally {
    arrived.push(column);
    if (arrived.length === chosen()) back = hub.restart('kill');
  }
  await waitUntil('every other device to be connected', () => back !== undefined);
  await back;
  const { device, identity } = connected;
  const taken = () => device.send('after').then(() => true, () => false);
  await waitUntil('a message to be taken', taken, 2 * PATIENCE);
  // What was taken before the kill is there after it, as often as it was sent.
  const events = await hub.reader().waitFor(identity.deviceId, 2);
  const bodies = events.map((event) => hub.bodyOf(event).toString());
  assert.equal(bodies.filter((body) => body === 'before').length, 1);
  assert(bodies.includes('after'));
});

await run({ atOnce: chosen() || 1, end: () => hub.closeReader() });
