// What to paste on a device so that its first signal comes: filled in with host, port, id and topic.
import type { Credentials, Snippets } from '../api/types'

export interface Snippet { name: string; text: string; note?: string }

/** Where the secret belongs when it is not known any more. */
const SECRET = 'THE_SECRET'

export function snippetsFor(facts: Snippets, device: { id: string; username?: string | null | undefined }, made?: Credentials): Snippet[] {
  const host = facts.hosts[0] ?? '127.0.0.1'
  const port = facts.mqtt_port ?? facts.mqtts_port ?? 1883
  return facts.kind === 'pycom' ? pycom(host, port, made) : mqtt(host, port, facts.example_topic, made?.username ?? facts.username ?? device.id, made?.password ?? SECRET)
}

function mqtt(host: string, port: number, topic: string, user: string, secret: string): Snippet[] {
  return [
    {
      name: 'mosquitto_pub',
      text: `mosquitto_pub -h ${host} -p ${port} -i ${user} -u ${user} -P '${secret}' \\\n  -q 1 -t ${topic} -m 28.1`,
    },
    {
      name: 'Python',
      note: 'pip install paho-mqtt',
      text: `import paho.mqtt.publish as publish

publish.single("${topic}", "28.1", qos=1, hostname="${host}", port=${port},
               auth={"username": "${user}", "password": "${secret}"})`,
    },
    {
      name: 'Arduino',
      note: 'Library PubSubClient; put your network in.',
      text: `#include <WiFi.h>
#include <PubSubClient.h>

WiFiClient net;
PubSubClient mqtt(net);

void setup() {
  WiFi.begin("NETWORK", "PASSWORD");
  while (WiFi.status() != WL_CONNECTED) delay(200);
  mqtt.setServer("${host}", ${port});
}

void loop() {
  if (!mqtt.connected()) mqtt.connect("${user}", "${user}", "${secret}");
  mqtt.publish("${topic}", "28.1");
  mqtt.loop();
  delay(10000);
}`,
    },
    {
      name: 'MicroPython',
      text: `from umqtt.simple import MQTTClient

client = MQTTClient("${user}", "${host}", port=${port}, user="${user}", password="${secret}", keepalive=60)
client.connect()
client.publish(b"${topic}", b"28.1", qos=1)`,
    },
  ]
}

function pycom(host: string, port: number, made?: Credentials): Snippet[] {
  const token = made?.token ?? 'THE_TOKEN'
  const user = made?.username ?? 'user@example.net'
  return [
    {
      name: 'pybytes.set_config',
      note: 'In the board\'s REPL; then it restarts.',
      text: `pybytes.set_config("server", "${host}", permanent=False)
pybytes.set_config("port", ${port}, permanent=False)
pybytes.set_config("username", "${user}", permanent=False)
pybytes.set_config("device_id", "${token}")
import machine; machine.reset()`,
    },
    {
      name: 'pybytes_config.json',
      note: 'On the board\'s flash; keep its other keys, such as wifi and lora.',
      text: `{
  "username": "${user}",
  "device_id": "${token}",
  "server": "${host}",
  "port": ${port},
  "network_preferences": ["wifi"],
  "pybytes_autostart": true
}`,
    },
    {
      name: 'Send a signal',
      note: 'In main.py, once the board is connected.',
      text: 'pybytes.send_signal(0, 28.1)',
    },
  ]
}
