// The hub refuses connections for a while, under a device of every transport; each has to go on by itself.

import assert from 'node:assert/strict';

import { Devices } from './devices.mjs';
import { behaviour, chosen, Meeting, run, waitUntil } from './harness.mjs';
import * as hub from './hub.mjs';

const { ExponentialBackOffWithJitter } = hub.require('azure-iot-common');
// One outage serves all.
let outage;
const connected = new Meeting(chosen, async () => {
  outage = await hub.fault('outage', { as: 'refuse' });
});
const cutOff = new Meeting(chosen, () => hub.clearFault(outage));

behaviour('fault-outage', async (column, cleanup) => {
  let identity, device;
  try {
    hub.checkReach(column);
    const devices = new Devices(column, cleanup);
    ({ identity, device } = await devices.make());
    await (await device.open()).send('before');
  } finally {
    await connected.arrive();
  }
  try {
    await device.waitUntilCutOff();
  } finally {
    await cutOff.arrive();
  }
  device.retrying(new ExponentialBackOffWithJitter());
  await waitUntil('a message to be taken', () => device.send('after').then(() => true, () => false));
  const events = await hub.reader().waitFor(identity.deviceId, 2);
  assert.deepEqual(events.map((event) => hub.bodyOf(event).toString()), ['before', 'after']);
});

await run({ atOnce: chosen() || 1, end: () => hub.closeReader() });
