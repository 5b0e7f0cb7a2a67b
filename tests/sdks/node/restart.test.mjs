// The hub is killed and started again under a device of every transport; each has to go on by itself.

import assert from 'node:assert/strict';

import { Devices } from './devices.mjs';
import { behaviour, chosen, Meeting, PATIENCE, run, waitUntil } from './harness.mjs';
import * as hub from './hub.mjs';

const { ExponentialBackOffWithJitter } = hub.require('azure-iot-common');
// One restart serves all.
const connected = new Meeting(chosen, () => hub.restart('kill'));

behaviour('restart', async (column, cleanup) => {
  let identity, device;
  try {
    hub.checkReach(column);
    const devices = new Devices(column, cleanup);
    ({ identity, device } = await devices.make());
    device.retrying(new ExponentialBackOffWithJitter());
    await device.open();
    await device.send('before');
  } finally {
    await connected.arrive();
  }
  const taken = () => device.send('after').then(() => true, () => false);
  await waitUntil('a message to be taken', taken, 2 * PATIENCE);
  // What was taken before the kill is there after it, as often as it was sent.
  const events = await hub.reader().waitFor(identity.deviceId, 2);
  const bodies = events.map((event) => hub.bodyOf(event).toString());
  assert.equal(bodies.filter((body) => body === 'before').length, 1);
  assert(bodies.includes('after'));
});

await run({ atOnce: chosen() || 1, end: () => hub.closeReader() });
