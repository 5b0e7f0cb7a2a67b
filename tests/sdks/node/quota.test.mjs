// A free hub takes 8,000 messages of 0.5 KB a day; what its devices and its operators are told beyond that.

import assert from 'node:assert/strict';

import { Devices, Message } from './devices.mjs';
import { behaviour, run, waitUntil } from './harness.mjs';
import * as hub from './hub.mjs';

const { Registry } = hub.require('azure-iothub');

/** Uses the day's quota up with the largest messages, and gives the devices that were connected before that. */
const usedUp = useUp();

async function useUp() {
  const connected = new Map();
  for (const column of new Set(JSON.parse(process.env.SDKS_CELLS).map(([, column]) => column))) {
    if (column === 'node-service') continue;
    try {
      hub.checkReach(column);
    } catch {
      continue;
    }
    const devices = new Devices(column, () => {});
    const { identity, device } = await devices.make();
    await device.open();
    await device.send('while there is some left');
    connected.set(column, { identity, device });
  }
  const { device } = await new Devices('node-amqp', () => {}).make('glutton');
  await device.open();
  const large = new Message(Buffer.alloc(255 * 1024, 120));
  // 510 messages each by the meter: 15 fit. At midnight UTC the count begins anew, so it may take twice as many.
  let taken = 0;
  while (taken < 31 && (await device.send(large).then(() => true, () => false))) taken += 1;
  assert(taken >= 15 && taken < 31, `${taken} were taken`);
  return connected;
}

behaviour('no-quota', async (column, cleanup) => {
  hub.checkReach(column);
  const { identity, device } = (await usedUp).get(column);
  cleanup(() => device.close());
  // Small ones fit as long as a few are left of the day.
  await waitUntil('a refusal', () => device.send('x'.repeat(32 * 1024)).then(() => false, () => true));
  const events = await hub.reader().waitFor(identity.deviceId);
  assert.equal(hub.bodyOf(events[0]).toString(), 'while there is some left');
});

behaviour('no-throttle', async (column) => {
  hub.checkReach(column);
  const registry = Registry.fromConnectionString(hub.strings.iothubowner);
  const ask = () => registry.get('nobody').then(() => undefined, (error) => error.name);
  // The tier takes a hundred at once and then not two a second: sooner or later it has had enough.
  let answers = [];
  for (let round = 0; round < 30 && !answers.includes('ThrottlingError'); round += 1) {
    answers = await Promise.all(Array.from({ length: 100 }, ask));
  }
  assert(answers.includes('ThrottlingError'), String(new Set(answers)));
});

await run({ atOnce: 1, end: () => hub.closeReader() });
