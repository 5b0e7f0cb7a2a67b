// Microsoft's Node device client over each of its transports, and what the cases do with it.

import { once } from 'node:events';

import * as hub from './hub.mjs';
import { PATIENCE, waitUntil, within } from './harness.mjs';

const { Client, Message } = hub.require('azure-iot-device');
const { Mqtt, MqttWs } = hub.require('azure-iot-device-mqtt');
const { Amqp, AmqpWs } = hub.require('azure-iot-device-amqp');
const { Http } = hub.require('azure-iot-device-http');
const { NoRetry } = hub.require('azure-iot-common');

const TRANSPORTS = { 'node-mqtt': Mqtt, 'node-mqtt-ws': MqttWs, 'node-amqp': Amqp, 'node-amqp-ws': AmqpWs, 'node-http': Http };

export { Message };

/** The clients of one case, closed after it. */
export class Devices {
  constructor(column, cleanup) {
    this.column = column;
    this.cleanup = cleanup;
    this.transport = TRANSPORTS[column];
    this.isHttp = column === 'node-http';
    this.isMqtt = column.startsWith('node-mqtt');
  }

  /** A new identity and a client for it that has its primary key. */
  async make(what = 'device') {
    const identity = await hub.makeIdentity(what);
    return { identity, device: this.of(identity) };
  }

  of(identity, key = identity.authentication.symmetricKey.primaryKey) {
    return this.ofId(identity.deviceId, key);
  }

  ofId(deviceId, key) {
    const string = `HostName=${hub.place.host};DeviceId=${deviceId};SharedAccessKey=${key}`;
    return this.keep(Client.fromConnectionString(string, this.transport));
  }

  withToken(token) {
    return this.keep(Client.fromSharedAccessSignature(token, this.transport));
  }

  /** A client for `deviceId` with whatever token it is given. */
  withCredentials(deviceId, token) {
    const credentials = { host: hub.place.host, deviceId, sharedAccessSignature: token };
    const provider = {
      type: 1, // AuthenticationType.Token
      getDeviceCredentials: (done) => done(null, credentials),
      on: () => provider,
      once: () => provider,
      removeListener: () => provider,
      stop: () => {},
    };
    return this.keep(Client.fromAuthenticationProvider(provider, this.transport));
  }

  withCertificate(deviceId, name) {
    const string = `HostName=${hub.place.host};DeviceId=${deviceId};x509=true`;
    const device = this.keep(Client.fromConnectionString(string, this.transport));
    // Over HTTPS this SDK never says that it has taken the options; it takes them at once.
    device.client.setOptions(hub.certificate(name), () => {});
    return device;
  }

  tokenOf(identity, options) {
    return hub.sas(`${hub.place.host}/devices/${identity.deviceId}`, identity.authentication.symmetricKey.primaryKey, options);
  }

  keep(client) {
    const device = new Device(client, this.isHttp);
    this.cleanup(() => device.close());
    return device;
  }
}

/** One device client. Every call waits for its end, at most PATIENCE. */
export class Device {
  constructor(client, isHttp) {
    this.client = client;
    this.isHttp = isHttp;
    this.cutOff = false;
    client.setRetryPolicy(new NoRetry());
    client.on('error', () => {});
    client.on('disconnect', () => (this.cutOff = true));
  }

  retrying(policy) {
    this.client.setRetryPolicy(policy);
    return this;
  }

  async open() {
    await this.call('open');
    return this;
  }

  async send(message) {
    await this.call('sendEvent', message instanceof Message ? message : new Message(message));
  }

  call(name, ...values) {
    return within(PATIENCE, name, this.client[name](...values));
  }

  /** Collects messages and settles each: `settle` is complete, reject or abandon. */
  listen(settle = async (message) => this.call('complete', message)) {
    const messages = [];
    // Over HTTPS the SDK polls; once a second is the shortest it knows.
    if (this.isHttp) this.client.setOptions({ http: { receivePolicy: { interval: 1 } } }, () => {});
    this.client.on('message', (message) => {
      messages.push(message);
      Promise.resolve(settle(message, messages.length)).catch((error) => messages.push(error));
    });
    return messages;
  }

  /** Waits until the hub dropped the connection, or over HTTPS until it refuses a request. */
  async waitUntilCutOff() {
    if (!this.isHttp) return waitUntil('the hub to drop the connection', () => this.cutOff);
    return waitUntil('the hub to refuse a request', () => this.send('still here').then(() => false, () => true));
  }

  close() {
    this.client.removeAllListeners('message');
    return this.client.close();
  }
}

export { once };
