// Sends the message of the parity suite by Microsoft's Node device SDK over amqp, mqtt or https.

import { createRequire } from 'node:module';

const require = createRequire(new URL('../sdks/package.json', import.meta.url));
const { Client, Message } = require('azure-iot-device');
const transports = {
  amqp: () => require('azure-iot-device-amqp').Amqp,
  mqtt: () => require('azure-iot-device-mqtt').Mqtt,
  https: () => require('azure-iot-device-http').Http,
};

const client = Client.fromConnectionString(process.env.PARITY_CONNECTION_STRING, transports[process.argv[2]]());
const message = new Message('parity');
message.messageId = 'parity-1';
message.contentType = 'application/json';
message.contentEncoding = 'utf-8';
message.properties.add('iothub-creation-time-utc', '2026-11-22T22:19:00.123Z');
message.properties.add('topic', 'Temp in C');
message.properties.add('signal', '0');
await client.open();
await client.sendEvent(message);
await client.close();
process.exit(0);
