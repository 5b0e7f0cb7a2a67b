// What the original service was: an MQTT broker (aedes) with one client of Microsoft's device SDK for each device.
// PUBACK leaves after the hub accepted the message (sendEvent), so the hub is the durable store.
//
//   node bridge.js DEVICES.json   {"mqtt": "127.0.0.1:0", "devices": {"<mqtt user name>": "<device connection string>"}}
//
// Prints "ready <port>" when every device is connected to the hub.
'use strict'

const fs = require('fs')
const net = require('net')
const { Aedes } = require('aedes')
const { Client, Message } = require('azure-iot-device')
const { Amqp } = require('azure-iot-device-amqp')

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'))
const upstream = new Map()

async function connectAll () {
  const waiting = Object.entries(plan.devices)
  const worker = async () => {
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const client = Client.fromConnectionString(next[1], Amqp)
      await client.open()
      upstream.set(next[0], client)
    }
  }
  await Promise.all(Array.from({ length: 16 }, worker))
}

async function main () {
  await connectAll()
  const broker = await Aedes.createBroker({
    concurrency: 1000,
    authenticate: (client, username, password, done) => {
      client.device = upstream.get(username)
      done(null, client.device !== undefined)
    },
    authorizePublish: (client, packet, done) => {
      const message = new Message(packet.payload)
      message.properties.add('topic', packet.topic)
      client.device.sendEvent(message, error => done(error || null))
    }
  })
  const [host, port] = plan.mqtt.split(':')
  const server = net.createServer(broker.handle)
  server.listen(Number(port), host, () => console.log(`ready ${server.address().port}`))
}

main().catch(error => {
  console.error(error)
  process.exitCode = 1
})
