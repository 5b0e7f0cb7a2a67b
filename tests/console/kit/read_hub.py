"""Prints every event of a hub's built-in endpoint as a line of JSON, read by Microsoft's azure-eventhub."""

import base64
import json
import sys

from azure.eventhub import EventHubConsumerClient


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def show(_, events):
    for event in events:
        properties = {text(name): text(value) for name, value in (event.properties or {}).items()}
        system = {text(name): text(value) for name, value in event.system_properties.items()}
        body = base64.b64encode(b"".join(event.body)).decode()
        line = {"device": system.get("iothub-connection-device-id"), "properties": properties, "body": body}
        print(json.dumps(line), flush=True)


client = EventHubConsumerClient.from_connection_string(sys.stdin.read(), consumer_group="$Default", retry_total=0)
client.receive_batch(on_event_batch=show, starting_position="-1")
