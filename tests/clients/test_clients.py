"""What goes in through real MQTT clients comes out, byte for byte, through Microsoft's own reader."""

import json
import subprocess

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from conftest import BINARY, PATIENCE, wait_until

EVERY_BYTE = bytes(range(256)) * 3
LARGE = bytes(i * 31 % 251 for i in range(200 * 1024))
PAYLOADS = {"every-byte": EVERY_BYTE, "empty": b"", "200-KB": LARGE}


def body(event):
    return b"".join(event.body)


def properties(event):
    return {key.decode(): value.decode() for key, value in (event.properties or {}).items()}


@pytest.mark.parametrize("what", PAYLOADS)
def test_mosquitto_pub_file_arrives_byte_for_byte(server, reader, bound_device, tmp_path, what):
    device = bound_device()
    file = tmp_path / "some.bin"
    file.write_bytes(PAYLOADS[what])
    host, port = server.mqtt
    subprocess.run(
        ["mosquitto_pub", "-h", host, "-p", str(port), "-q", "1", "-u", device.username, "-P", device.password]
        + ["-i", "any client id", "-t", f"devices/{device.id}/signals/file"]
        # mosquitto_pub refuses an empty file; -n is its way to send nothing.
        + (["-f", str(file)] if PAYLOADS[what] else ["-n"]),
        check=True,
        timeout=PATIENCE,
    )
    (event,) = reader.wait_for(device.hub_device_id, 1)
    assert body(event) == PAYLOADS[what]
    assert properties(event)["topic"] == "Temp"


def connect(server, device, protocol, client_id="paho"):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    client.username_pw_set(device.username, device.password)
    connected = []
    client.on_connect = lambda c, u, f, reason, p: connected.append(reason)
    client.connect(*server.mqtt, keepalive=30)
    client.loop_start()
    wait_until("CONNACK", lambda: connected)
    return client, connected[0]


@pytest.mark.parametrize("protocol", [paho.MQTTv311, paho.MQTTv5], ids=["3.1.1", "5.0"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho_signals_arrive_in_order(server, reader, bound_device, protocol, qos):
    device = bound_device()
    client, reason = connect(server, device, protocol)
    assert not reason.is_failure
    sent = [f"{number}".encode() for number in range(50)]
    messages = [client.publish(f"devices/{device.id}/signals/n", payload, qos=qos) for payload in sent]
    wait_until("all acknowledgements", lambda: all(message.is_published() for message in messages))
    client.disconnect()
    client.loop_stop()
    events = reader.wait_for(device.hub_device_id, len(sent))
    assert [body(event) for event in events] == sent
    assert len({event.message_id for event in events}) == len(sent)


def test_mqtt5_content_type_and_user_properties_arrive(server, reader, bound_device):
    device = bound_device()
    client, _ = connect(server, device, paho.MQTTv5)
    publish = Properties(PacketTypes.PUBLISH)
    publish.ContentType = "application/json"
    publish.UserProperty = [("room", "kitchen"), ("topic", "not mine"), ("unit", "°C")]
    message = client.publish(f"devices/{device.id}/signals/n", b'{"t":21}', qos=1, properties=publish)
    wait_until("the acknowledgement", message.is_published)
    client.disconnect()
    client.loop_stop()
    (event,) = reader.wait_for(device.hub_device_id, 1)
    assert event.content_type == "application/json"
    arrived = properties(event)
    assert arrived["room"] == "kitchen"
    assert arrived["topic"] == "Temp", "ours wins"
    assert arrived["unit"] == "%C2%B0C", "what is not printable ASCII is percent-encoded"
    assert arrived["iothub-creation-time-utc"].endswith("Z")


def test_pycom_frames_arrive_byte_for_byte_and_a_ping_is_answered(server, reader, bound_device):
    device = bound_device("pycom")
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=device.token, protocol=paho.MQTTv311)
    client.username_pw_set("owner@example.org", device.token)
    downlink = []
    client.on_message = lambda c, u, message: downlink.append((message.topic, message.payload))
    subscribed = []
    client.on_subscribe = lambda c, u, mid, reasons, p: subscribed.append(reasons[0])
    client.connect(*server.mqtt, keepalive=60)
    client.loop_start()
    wait_until("CONNACK", client.is_connected)
    client.subscribe(f"d{device.token}", 0)
    wait_until("SUBACK", lambda: subscribed)
    info = bytes.fromhex("0104") + bytes.fromhex("a00584")
    integer = bytes.fromhex("0e05010000001900")
    single = bytes.fromhex("0e0501a0c6e04101")
    text = bytes.fromhex("0e0502686933")
    for frame in (info, b"\x00", integer, single, text):
        client.publish(f"u{device.token}", frame, qos=0)
    wait_until("PONG", lambda: (f"d{device.token}", b"\x07") in downlink)
    events = reader.wait_for(device.hub_device_id, 3)
    client.disconnect()
    client.loop_stop()
    assert [body(event) for event in events] == [integer, single, text], "only signals go to the hub"
    assert [properties(event)["signal"] for event in events] == ["1", "1", "2"]
    assert device.token not in device.hub_device_id
    for event in events:
        assert device.token not in str(properties(event)) + str(event.system_properties)


def test_the_official_registry_client_sees_the_identity(server, bound_device, monkeypatch):
    from azure.iot.hub import IoTHubRegistryManager

    device = bound_device()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.hub["ca_file"])
    manager = IoTHubRegistryManager.from_connection_string(server.hub["connection_strings"]["iothubowner"])
    identity = manager.get_device(device.hub_device_id)
    assert identity.device_id == device.hub_device_id
    assert identity.status == "enabled"
    assert identity.authentication.symmetric_key.primary_key
    assert device.id in device.hub_device_id


def test_signals_shows_each_as_received_durable_and_accepted(server, reader, bound_device):
    device = bound_device()
    client, _ = connect(server, device, paho.MQTTv311)
    message = client.publish(f"devices/{device.id}/signals/t", b"21.5", qos=1)
    wait_until("the acknowledgement", message.is_published)
    client.disconnect()
    client.loop_stop()
    (event,) = reader.wait_for(device.hub_device_id, 1)

    def accepted():
        shown = subprocess_lines(server, "signals", device.name)
        return shown if shown and shown[-1]["deliveries"][0]["state"] == "accepted" else None

    (signal,) = wait_until("the signal's delivery", accepted)
    assert signal["qos"] == 1 and signal["size"] == 4 and signal["topic"] == f"devices/{device.id}/signals/t"
    assert signal["deliveries"][0]["message_id"] == event.message_id


def subprocess_lines(server, *args):
    import json

    from conftest import BINARY

    run = subprocess.run(
        [BINARY, *args, "--json", "--data", str(server.data)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def signals(server, device):
    """What `hubward signals` prints of a device with --json: a line for each."""
    command = [BINARY, "signals", device.name, "--json", "--data", str(server.data)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_watch_and_signals_show_each_signal_received_durable_and_accepted(server, bound_device, tmp_path):
    device = bound_device()
    shown = tmp_path / "watch.txt"
    with open(shown, "wb") as output:
        watch = subprocess.Popen(
            [BINARY, "watch", "--device", device.name, "--data", str(server.data)],
            stdin=subprocess.DEVNULL,
            stdout=output,
        )
    try:
        client, _ = connect(server, device, paho.MQTTv311)
        topic = f"devices/{device.id}/signals/n"

        def watching():
            client.publish(topic, b"probe", qos=1).wait_for_publish(PATIENCE)
            return b"probe" in shown.read_bytes()

        wait_until("the first signal that watch shows", watching)
        for payload in PAYLOADS.values():
            client.publish(topic, payload, qos=1).wait_for_publish(PATIENCE)
        client.disconnect()
        client.loop_stop()
        *_, empty_line, large_line = signals(server, device)
        assert (empty_line["size"], large_line["size"]) == (0, len(LARGE))

        def accepted(offset):
            lines = [line for line in shown.read_text().splitlines() if f"  #{offset}  " in line]
            came = [line for line in lines if topic in line and "[durable;" in line]
            # The hub's word has a line of its own, unless it was there first.
            return came and any(f"{device.name}: accepted" in line for line in lines)

        for line in (empty_line, large_line):
            wait_until(f"watch to show signal {line['offset']} accepted", lambda: accepted(line["offset"]))
    finally:
        watch.terminate()
        watch.wait(timeout=PATIENCE)
    for line in signals(server, device):
        assert line["received_at"].endswith("Z")
        assert [delivery["state"] for delivery in line["deliveries"]] == ["accepted"], line
