"""Sends the message of the parity suite by Microsoft's Python device SDK, which speaks MQTT alone."""

import os
import pathlib

from azure.iot.device import IoTHubDeviceClient, Message

client = IoTHubDeviceClient.create_from_connection_string(
    os.environ["PARITY_CONNECTION_STRING"],
    server_verification_cert=pathlib.Path(os.environ["PARITY_CA"]).read_text(encoding="ascii"),
)
message = Message("parity", message_id="parity-1", content_encoding="utf-8", content_type="application/json")
message.custom_properties["iothub-creation-time-utc"] = "2026-11-22T22:19:00.123Z"
message.custom_properties["topic"] = "Temp in C"
message.custom_properties["signal"] = "0"
client.connect()
client.send_message(message)
client.shutdown()
