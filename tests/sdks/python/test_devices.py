"""What a device does with Microsoft's Python device SDK, and what it is refused."""

import json

import pytest
from azure.iot.device import Message
from azure.iot.device.exceptions import ClientError, CredentialError, OperationCancelled
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

from devices import wait_until_expired, with_short_token
from hub import annotation, body, new_key, properties, sas, wait_until

row = pytest.mark.row
LIMIT = 256 * 1024


def message(text="hello"):
    return Message(text)


@row("d2c-content")
def test_content(hub, devices):
    identity, client = devices.new()
    sent = Message('{"temperature": 21.5}', content_encoding="utf-8", content_type="application/json")
    sent.message_id, sent.correlation_id = "m-1", "c-1"
    sent.custom_properties = {"room": "kitchen", "alarm": "false"}
    client.connect().send(sent)
    (event,) = hub.reader.wait_for(identity.device_id)
    assert body(event) == b'{"temperature": 21.5}'
    assert (event.message_id, event.correlation_id) == ("m-1", "c-1")
    assert event.content_type == "application/json"
    assert annotation(event, "content-encoding") in (None, "utf-8")
    assert event.raw_amqp_message.properties.content_encoding in (b"utf-8", "utf-8")
    assert properties(event) == {"room": "kitchen", "alarm": "false"}


@row("d2c-binary")
def test_binary(hub, devices):
    identity, client = devices.new()
    client.connect()
    for payload in (bytes(range(256)), b""):
        client.send(Message(payload))
    events = hub.reader.wait_for(identity.device_id, 2)
    assert [body(event) for event in events] == [bytes(range(256)), b""]


@row("d2c-order")
def test_order(hub, devices):
    identity, client = devices.new()
    client.connect()
    for number in range(50):
        client.send(Message(str(number)))
    events = hub.reader.wait_for(identity.device_id, 50)
    assert [int(body(event)) for event in events] == list(range(50))


@row("d2c-properties")
def test_odd_properties(hub, devices):
    identity, client = devices.new()
    wanted = {"a b": "c d", "x&y": "1=2&3", "50%": "100%25", "path/to": "/a//b/", "größe": "°C ✓", "plus+": "+", "empty": ""}
    sent = Message("x")
    sent.custom_properties = dict(wanted)
    client.connect().send(sent)
    (event,) = hub.reader.wait_for(identity.device_id)
    assert properties(event) == wanted


@row("d2c-largest")
def test_largest(hub, devices):
    identity, client = devices.new()
    payload = bytes(i * 31 % 251 for i in range(255 * 1024))
    client.connect().send(Message(payload))
    (event,) = hub.reader.wait_for(identity.device_id)
    assert body(event) == payload


@row("d2c-origin")
def test_origin(hub, devices):
    identity, client = devices.new()
    client.connect().send(message())
    (event,) = hub.reader.wait_for(identity.device_id)
    assert annotation(event, "iothub-connection-device-id") == identity.device_id
    assert annotation(event, "iothub-connection-auth-generation-id") == identity.generation_id
    method = json.loads(annotation(event, "iothub-connection-auth-method"))
    assert (method["scope"], method["type"]) == ("device", "sas")
    assert annotation(event, "iothub-message-source") == "Telemetry"


@row("c2d-content")
def test_c2d_content(hub, devices):
    identity, client = devices.new()
    client.connect().listen_for_messages()
    wanted = {"contentType": "text/plain", "contentEncoding": "utf-8", "correlationId": "c-7", "messageId": "m-7"}
    hub.registry.send_c2d_message(identity.device_id, "turn on", {**wanted, "lamp": "hall", "odd": "a b&c=%"})
    got = wait_until("the message", lambda: client.messages)[0]
    assert got.data == b"turn on"
    assert (got.message_id, got.correlation_id) == ("m-7", "c-7")
    assert (got.content_type, got.content_encoding) == ("text/plain", "utf-8")
    assert {key: got.custom_properties.get(key) for key in ("lamp", "odd")} == {"lamp": "hall", "odd": "a b&c=%"}
    # Completed: nothing waits in its queue any more.
    wait_until(
        "the message to be completed",
        lambda: hub.registry.get_device(identity.device_id).cloud_to_device_message_count == 0,
    )


@row("c2d-waiting")
def test_c2d_waiting(hub, devices):
    identity, client = devices.new()
    client.connect().listen_for_messages()
    client.call("disconnect")
    for number in range(5):
        hub.registry.send_c2d_message(identity.device_id, str(number))
    assert hub.registry.get_device(identity.device_id).cloud_to_device_message_count == 5
    client.connect()
    wait_until("the messages", lambda: len(client.messages) >= 5)
    assert [message.data for message in client.messages] == [b"0", b"1", b"2", b"3", b"4"]


@row("twin-get")
def test_twin_get(hub, devices):
    identity, client = devices.new()
    desired = TwinProperties(desired={"interval": 5, "nested": {"on": True, "names": ["a", "b"]}})
    hub.registry.update_twin(identity.device_id, Twin(properties=desired), None)
    client.connect()
    client.report({"firmware": "1.2"})
    twin = client.twin()
    assert twin["desired"]["interval"] == 5
    assert twin["desired"]["nested"] == {"on": True, "names": ["a", "b"]}
    assert twin["desired"]["$version"] == 2
    assert twin["reported"]["firmware"] == "1.2"


@row("twin-reported")
def test_twin_reported(hub, devices):
    identity, client = devices.new()
    client.connect()
    client.report({"a": 1, "b": {"c": 2, "d": 3}})
    client.report({"a": None, "b": {"c": 20}})
    reported = hub.registry.get_twin(identity.device_id).properties.reported
    assert "a" not in reported
    assert reported["b"] == {"c": 20, "d": 3}
    assert reported["$version"] == 3


@row("twin-desired")
def test_twin_desired(hub, devices):
    identity, client = devices.new()
    client.connect().listen_for_patches()
    hub.registry.update_twin(identity.device_id, Twin(properties=TwinProperties(desired={"speed": 3})), None)
    patch = wait_until("the patch", lambda: client.patches)[0]
    assert patch["speed"] == 3 and patch["$version"] == 2


@row("method-call")
def test_method_call(hub, devices):
    identity, client = devices.new()
    client.connect().listen_for_methods(lambda request: (200, {"name": request.name, "got": request.payload}))
    call = CloudToDeviceMethod(method_name="reboot", payload={"delay": 3}, response_timeout_in_seconds=30)
    answer = hub.registry.invoke_device_method(identity.device_id, call)
    assert answer.status == 200
    assert answer.payload == {"name": "reboot", "got": {"delay": 3}}


@row("method-error")
def test_method_error(hub, devices):
    identity, client = devices.new()
    client.connect().listen_for_methods(lambda request: (418, {"why": "a teapot"}))
    call = CloudToDeviceMethod(method_name="brew", payload=None, response_timeout_in_seconds=30)
    answer = hub.registry.invoke_device_method(identity.device_id, call)
    assert (answer.status, answer.payload) == (418, {"why": "a teapot"})


@row("auth-x509")
def test_certificate(hub, devices):
    identity = hub.make_identity_with_certificate("first")
    devices.with_certificate(identity.device_id, "first").connect().send(message())
    (event,) = hub.reader.wait_for(identity.device_id)
    assert json.loads(annotation(event, "iothub-connection-auth-method"))["type"] == "x509"


@row("auth-x509-second")
def test_second_certificate(hub, devices):
    identity = hub.make_identity_with_certificate("first", "second")
    devices.with_certificate(identity.device_id, "second").connect().send(message())
    assert len(hub.reader.wait_for(identity.device_id)) == 1


@row("auth-secondary")
def test_secondary_key(hub, devices):
    identity = hub.make_identity()
    devices.client(identity, identity.authentication.symmetric_key.secondary_key).connect().send(message())
    assert len(hub.reader.wait_for(identity.device_id)) == 1


@row("auth-policy")
def test_policy_token(hub, devices):
    identity = hub.make_identity()
    token = sas(f"{hub.host}/devices/{identity.device_id}", hub.key_of("device"), "device")
    devices.with_token(token).connect().send(message())
    (event,) = hub.reader.wait_for(identity.device_id)
    assert json.loads(annotation(event, "iothub-connection-auth-method"))["scope"] == "hub"


@row("presence")
def test_presence(hub, devices):
    identity, client = devices.new()

    def state():
        return hub.registry.get_device(identity.device_id).connection_state

    assert state() == "Disconnected"
    client.connect()
    wait_until("Connected", lambda: state() == "Connected")
    client.call("disconnect")
    wait_until("Disconnected", lambda: state() == "Disconnected")


@row("renewal")
def test_renewal(hub, devices):
    identity = hub.make_identity()

    def renew(client, expires):
        client.connect().send(message("before"))
        client.call("update_sastoken", devices.token_of(identity))
        return client, expires

    client, expires = with_short_token(devices, identity, renew)
    wait_until_expired(expires)
    client.send(message("after"))
    events = hub.reader.wait_for(identity.device_id, 2)
    assert body(events[-1]) == b"after"


@row("no-signature")
def test_wrong_key(hub, devices):
    identity = hub.make_identity()
    with pytest.raises(CredentialError):
        devices.client(identity, new_key()).connect()


@row("no-expired")
def test_expired_token(hub, devices):
    identity = hub.make_identity()
    # The SDK refuses a token that has run out already, so it is given one that runs out before it is used.
    client, expires = with_short_token(devices, identity, lambda client, expires: (client, expires))
    wait_until_expired(expires)
    with pytest.raises(CredentialError):
        client.connect()


@row("no-unknown")
def test_unknown_device(hub, devices):
    with pytest.raises(CredentialError):
        devices.of_id(hub.unique("nobody"), new_key()).connect()


@row("no-disabled")
def test_disabled_device(hub, devices):
    identity = hub.make_identity(status="disabled")
    with pytest.raises(CredentialError):
        devices.client(identity).connect()


@row("no-right")
def test_policy_without_right(hub, devices):
    identity = hub.make_identity()
    token = sas(f"{hub.host}/devices/{identity.device_id}", hub.key_of("service"), "service")
    with pytest.raises(CredentialError):
        devices.with_token(token).connect()


@row("no-certificate")
def test_certificate_of_somebody_else(hub, devices):
    identity = hub.make_identity_with_certificate("first", "second")
    with pytest.raises(ClientError):
        devices.with_certificate(identity.device_id, "stranger").connect()


@row("no-certificate-kind")
def test_certificate_where_keys_are_wanted(hub, devices):
    identity = hub.make_identity()
    with pytest.raises(ClientError):
        devices.with_certificate(identity.device_id, "first").connect()


@row("no-too-large")
def test_too_large(hub, devices):
    identity, client = devices.new()
    client.connect().send(message("fits"))
    # The SDK's own check forgets the names of properties; the service counts them.
    large = Message(b"x" * (LIMIT - 50_000))
    large.custom_properties = {"n" * 50_001: ""}
    # The hub has no other answer over MQTT than to close the connection.
    with pytest.raises((ClientError, OperationCancelled)):
        client.send(large)
    # Another client: this one would send what was not acknowledged again as soon as it is connected.
    client.close()
    devices.client(identity).connect().send(message("still fits"))
    events = hub.reader.wait_for(identity.device_id, 2)
    assert [body(event) for event in events] == [b"fits", b"still fits"]


@row("no-twin-too-large")
def test_twin_too_large(hub, devices):
    identity, client = devices.new()
    client.connect()
    parts = {f"part{number}": "x" * 3000 for number in range(12)}
    with pytest.raises(ClientError):
        client.report(parts)
    assert client.connected
    assert "part1" not in hub.registry.get_twin(identity.device_id).properties.reported


@row("cut-takeover")
def test_takeover(hub, devices):
    identity, first = devices.new()
    first.connect()
    second = devices.client(identity).connect()
    first.wait_until_cut_off()
    second.send(message("mine now"))
    assert second.connected
    assert len(hub.reader.wait_for(identity.device_id)) == 1


@row("cut-expired")
def test_token_runs_out(hub, devices):
    identity = hub.make_identity()
    client = with_short_token(devices, identity, lambda client, _: client.connect())
    client.wait_until_cut_off()


@row("cut-disabled")
def test_disabled_while_connected(hub, devices):
    identity, client = devices.new()
    client.connect()
    keys = identity.authentication.symmetric_key
    hub.registry.update_device_with_sas(
        identity.device_id, identity.etag, keys.primary_key, keys.secondary_key, "disabled"
    )
    client.wait_until_cut_off()
    with pytest.raises(ClientError):
        client.connect()


@row("cut-deleted")
def test_deleted_while_connected(hub, devices):
    identity, client = devices.new()
    client.connect()
    hub.registry.delete_device(identity.device_id)
    client.wait_until_cut_off()
    with pytest.raises(ClientError):
        client.connect()


@row("cut-rekeyed")
def test_keys_changed_while_connected(hub, devices):
    identity, client = devices.new()
    client.connect()
    hub.registry.update_device_with_sas(identity.device_id, identity.etag, new_key(), new_key(), "enabled")
    client.wait_until_cut_off()
    with pytest.raises(ClientError):
        client.connect()
