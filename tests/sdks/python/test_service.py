"""What a back end does with Microsoft's Python service SDK, and what it is refused."""

import base64

import pytest
import uamqp
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import (
    AuthenticationMechanism,
    CloudToDeviceMethod,
    ExportImportDevice,
    QuerySpecification,
    SymmetricKey,
    Twin,
    TwinProperties,
)
from azure.iot.hub.protocol.models import Module
from msrest.exceptions import HttpOperationError

from devices import Devices
from hub import UNREACHABLE, new_key, wait_until

row = pytest.mark.row


def refused(status, code=None):
    """The SDK raises HttpOperationError with this HTTP status, and the hub names this error code."""

    class Refused:
        def __enter__(self):
            self.raises = pytest.raises(HttpOperationError)
            self.caught = self.raises.__enter__()

        def __exit__(self, *raised):
            swallowed = self.raises.__exit__(*raised)
            response = self.caught.value.response
            assert response.status_code == status, response.text
            if code:
                assert response.headers["iothub-errorcode"] == code
                assert f"ErrorCode:{code}" in response.text
            return swallowed

    return Refused()


@pytest.fixture
def registry(hub):
    return hub.registry


@row("device-generated")
def test_generated_keys(hub, registry):
    made = registry.create_device_with_sas(hub.unique("made"), "", "", "enabled")
    keys = made.authentication.symmetric_key
    assert made.authentication.type == "sas"
    assert keys.primary_key != keys.secondary_key
    for key in (keys.primary_key, keys.secondary_key):
        assert len(base64.b64decode(key, validate=True)) >= 16


@row("device-given")
def test_given_keys(hub, registry):
    primary, secondary = new_key(), new_key()
    made = registry.create_device_with_sas(hub.unique("made"), primary, secondary, "enabled")
    keys = registry.get_device(made.device_id).authentication.symmetric_key
    assert (keys.primary_key, keys.secondary_key) == (primary, secondary)


@row("device-x509")
def test_thumbprints(hub, registry):
    first, second = hub.thumbprint("first"), hub.thumbprint("second")
    made = registry.create_device_with_x509(hub.unique("certified"), first, second, "enabled")
    got = registry.get_device(made.device_id).authentication
    assert got.type == "selfSigned"
    assert (got.x509_thumbprint.primary_thumbprint, got.x509_thumbprint.secondary_thumbprint) == (first, second)


@row("device-get")
def test_get(hub, registry):
    made = registry.create_device_with_sas(hub.unique("made"), "", "", "disabled", status_reason="not paid, größe")
    got = registry.get_device(made.device_id)
    assert got.as_dict() == made.as_dict()
    assert (got.status, got.status_reason) == ("disabled", "not paid, größe")
    assert got.connection_state == "Disconnected" and got.generation_id
    assert got.cloud_to_device_message_count == 0


@row("device-update")
def test_update(hub, registry):
    made = hub.make_identity()
    keys = made.authentication.symmetric_key
    changed = registry.update_device_with_sas(
        made.device_id, made.etag, keys.primary_key, keys.secondary_key, "disabled", status_reason="lost"
    )
    assert (changed.status, changed.status_reason) == ("disabled", "lost")
    assert changed.etag != made.etag
    assert changed.generation_id == made.generation_id
    assert registry.get_device(made.device_id).etag == changed.etag


@row("device-delete")
def test_delete(hub, registry):
    made = hub.make_identity()
    registry.delete_device(made.device_id, made.etag)
    with refused(404, "DeviceNotFound"):
        registry.get_device(made.device_id)


@row("device-odd-id")
def test_odd_id(hub, registry):
    odd = hub.unique("a-:.+%_#*?!(),=@;$'")
    made = registry.create_device_with_sas(odd, "", "", "enabled")
    assert made.device_id == odd
    assert registry.get_device(odd).device_id == odd
    assert registry.get_twin(odd).device_id == odd
    registry.delete_device(odd)


@row("device-list")
def test_list(hub, registry):
    made = {hub.make_identity("listed").device_id for _ in range(3)}
    assert made <= {device.device_id for device in registry.get_devices()}
    assert len(registry.get_devices(2)) == 2


@row("device-recreated")
def test_recreated(hub, registry):
    made = hub.make_identity()
    registry.update_twin(made.device_id, Twin(tags={"old": True}), None)
    registry.delete_device(made.device_id)
    again = registry.create_device_with_sas(made.device_id, "", "", "enabled")
    assert again.generation_id != made.generation_id
    assert not registry.get_twin(made.device_id).tags


def item(device_id, mode, status="enabled", etag=None):
    keys = AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey(primary_key=new_key(), secondary_key=new_key()))
    return ExportImportDevice(id=device_id, import_mode=mode, status=status, authentication=keys, e_tag=etag)


@row("bulk-create")
def test_bulk_create(hub, registry):
    ids = [hub.unique("bulk") for _ in range(100)]
    result = registry.bulk_create_or_update_devices([item(one, "create") for one in ids])
    assert result.is_successful and not result.errors
    assert registry.get_device(ids[0]).status == registry.get_device(ids[99]).status == "enabled"


@row("bulk-update")
def test_bulk_update(hub, registry):
    made = [hub.make_identity() for _ in range(2)]
    result = registry.bulk_create_or_update_devices([item(one.device_id, "update", "disabled") for one in made])
    assert result.is_successful
    assert [registry.get_device(one.device_id).status for one in made] == ["disabled", "disabled"]
    result = registry.bulk_create_or_update_devices(
        [item(made[0].device_id, "updateIfMatchETag", "enabled", registry.get_device(made[0].device_id).etag)]
    )
    assert result.is_successful
    assert registry.get_device(made[0].device_id).status == "enabled"


@row("bulk-delete")
def test_bulk_delete(hub, registry):
    made = [hub.make_identity() for _ in range(2)]
    result = registry.bulk_create_or_update_devices(
        [ExportImportDevice(id=one.device_id, import_mode="delete") for one in made]
    )
    assert result.is_successful
    for one in made:
        with refused(404, "DeviceNotFound"):
            registry.get_device(one.device_id)


@row("statistics")
def test_statistics(hub, registry):
    before = registry.get_device_registry_statistics()
    hub.make_identity()
    hub.make_identity(status="disabled")
    after = registry.get_device_registry_statistics()
    assert after.total_device_count == before.total_device_count + 2
    assert after.enabled_device_count == before.enabled_device_count + 1
    assert after.disabled_device_count == before.disabled_device_count + 1
    assert registry.get_service_statistics().connected_device_count >= 0


def query(registry, text, page=None):
    """All rows of a query, and how many pages they came in."""
    rows, pages, token = [], 0, None
    while True:
        result = registry.query_iot_hub(QuerySpecification(query=text), token, page)
        rows += result.items
        pages += 1
        token = result.continuation_token
        if not token:
            return rows, pages


@row("query-pages")
def test_query_pages(hub, registry):
    made = {hub.make_identity("paged").device_id for _ in range(5)}
    rows, pages = query(registry, "SELECT * FROM devices", 2)
    ids = [twin.device_id for twin in rows]
    assert made <= set(ids) and len(ids) == len(set(ids))
    assert pages >= len(ids) / 2


@row("query-status")
def test_query_status(hub, registry):
    off = hub.make_identity(status="disabled").device_id
    on = hub.make_identity().device_id
    ids = {twin.device_id for twin in query(registry, "SELECT * FROM devices WHERE status = 'disabled'")[0]}
    assert off in ids and on not in ids


@row("query-tags")
def test_query_tags(hub, registry):
    devices = [hub.make_identity().device_id for _ in range(3)]
    for device, floor in zip(devices, (1, 2, 2)):
        registry.update_twin(device, Twin(tags={"where": {"house": "query", "floor": floor}}), None)
    rows, _ = query(registry, "SELECT * FROM devices WHERE tags.where.house = 'query' AND tags.where.floor > 1")
    assert {twin.device_id for twin in rows} == set(devices[1:])
    assert all(twin.tags == {"where": {"house": "query", "floor": 2}} for twin in rows)


@row("query-properties")
def test_query_properties(hub, registry):
    devices = [hub.make_identity().device_id for _ in range(3)]
    for device, mode in zip(devices, ("query-eco", "query-full", None)):
        desired = TwinProperties(desired={"mode": mode})
        registry.update_twin(device, Twin(properties=desired), None)
    rows, _ = query(registry, "SELECT * FROM devices WHERE properties.desired.mode IN ['query-eco', 'query-off']")
    assert [twin.device_id for twin in rows] == [devices[0]]


@row("twin-patch")
def test_twin_patch(hub, registry):
    device = hub.make_identity().device_id
    fresh = registry.get_twin(device)
    assert fresh.properties.desired["$version"] == 1 and fresh.properties.reported["$version"] == 1
    registry.update_twin(device, Twin(tags={"a": 1, "b": {"c": 2, "d": 3}}, properties=TwinProperties(desired={"x": 1, "y": 2})), None)
    twin = registry.update_twin(device, Twin(tags={"b": {"c": None}}, properties=TwinProperties(desired={"x": None})), None)
    assert twin.tags == {"a": 1, "b": {"d": 3}}
    desired = {key: value for key, value in twin.properties.desired.items() if not key.startswith("$")}
    assert desired == {"y": 2}
    assert twin.properties.desired["$version"] == 3
    assert "$lastUpdated" in twin.properties.desired["$metadata"]["y"]
    assert twin.version > fresh.version and twin.etag != fresh.etag


@row("twin-replace")
def test_twin_replace(hub, registry):
    device = hub.make_identity().device_id
    registry.update_twin(device, Twin(tags={"old": 1}, properties=TwinProperties(desired={"old": 1})), None)
    registry.replace_twin(device, Twin(tags={"new": 2}, properties=TwinProperties(desired={"new": 2})), None)
    twin = registry.get_twin(device)
    assert twin.tags == {"new": 2}
    assert "old" not in twin.properties.desired and twin.properties.desired["new"] == 2


@row("twin-etag")
def test_twin_etag(hub, registry):
    device = hub.make_identity().device_id
    twin = registry.get_twin(device)
    changed = registry.update_twin(device, Twin(tags={"a": 1}), twin.etag)
    assert changed.etag != twin.etag
    assert registry.update_twin(device, Twin(tags={"a": 2}), changed.etag).tags == {"a": 2}


def method(name, payload=None, timeout=30):
    return CloudToDeviceMethod(method_name=name, payload=payload, response_timeout_in_seconds=timeout)


@pytest.fixture
def mqtt_devices(hub):
    devices = Devices(hub, "py-mqtt")
    yield devices
    devices.close()


@row("method-payload")
def test_method_payloads(hub, registry, mqtt_devices):
    identity, client = mqtt_devices.new()
    client.connect().listen_for_methods(lambda request: (200, request.payload))
    # Not None: of that this SDK makes a call without payload.
    for payload in ({"a": [1, {"b": None}]}, [1, "two"], "text", 12.5, True, False):
        answer = registry.invoke_device_method(identity.device_id, method("echo", payload))
        assert (answer.status, answer.payload) == (200, payload)


@row("c2d-send")
def test_c2d_send(hub, registry):
    device = hub.make_identity().device_id
    for _ in range(3):
        registry.send_c2d_message(device, "hello", {"k": "v"})
    assert registry.get_device(device).cloud_to_device_message_count == 3


@row("c2d-websocket")
def test_c2d_websocket(hub):
    if not hub.reaches("amqp-ws"):
        pytest.skip(UNREACHABLE)
    over_websocket = IoTHubRegistryManager.from_connection_string(
        hub.strings["iothubowner"], transport_type=uamqp.TransportType.AmqpOverWebsocket
    )
    device = hub.make_identity().device_id
    over_websocket.send_c2d_message(device, "hello")
    assert hub.registry.get_device(device).cloud_to_device_message_count == 1


@row("c2d-purge")
def test_c2d_purge(hub, registry):
    device = hub.make_identity().device_id
    for _ in range(2):
        registry.send_c2d_message(device, "hello")
    purged = registry.protocol.cloud_to_device_messages.purge_cloud_to_device_message_queue(device)
    assert purged.total_messages_purged == 2
    assert registry.get_device(device).cloud_to_device_message_count == 0


def with_key(hub, policy, key):
    string = ";".join(
        f"SharedAccessKey={key}" if pair.startswith("SharedAccessKey=") else pair for pair in hub.strings[policy].split(";")
    )
    return IoTHubRegistryManager.from_connection_string(string)


@row("no-key")
def test_wrong_key(hub):
    with refused(401, "IotHubUnauthorized"):
        with_key(hub, "iothubowner", new_key()).get_devices()


@row("no-key-amqp")
def test_wrong_key_for_messages(hub):
    device = hub.make_identity().device_id
    with pytest.raises(uamqp.errors.AMQPError):
        with_key(hub, "service", new_key()).send_c2d_message(device, "hello")


@row("no-read-only")
def test_read_only(hub):
    reader = hub.registry_as("registryRead")
    assert reader.get_devices(1) is not None
    with refused(401, "IotHubUnauthorizedAccess"):
        reader.create_device_with_sas(hub.unique("never"), "", "", "enabled")


@row("no-registry-right")
def test_no_registry_right(hub):
    device = hub.make_identity().device_id
    with refused(401, "IotHubUnauthorizedAccess"):
        hub.registry_as("service").get_device(device)


@row("no-service-right")
def test_no_service_right(hub):
    device = hub.make_identity().device_id
    with refused(401, "IotHubUnauthorizedAccess"):
        hub.registry_as("registryReadWrite").get_twin(device)


@row("no-exists")
def test_exists(hub, registry):
    made = hub.make_identity()
    with refused(409, "DeviceAlreadyExists"):
        registry.create_device_with_sas(made.device_id, "", "", "enabled")
    assert registry.get_device(made.device_id).as_dict() == made.as_dict()


@row("no-device")
def test_no_device(hub, registry):
    nobody = hub.unique("nobody")
    with refused(404, "DeviceNotFound"):
        registry.get_device(nobody)
    with refused(404, "DeviceNotFound"):
        registry.update_device_with_sas(nobody, "*", new_key(), new_key(), "enabled")
    with refused(404, "DeviceNotFound"):
        registry.delete_device(nobody)
    with refused(404, "DeviceNotFound"):
        registry.get_twin(nobody)


@row("no-stale-update")
def test_stale_update(hub, registry):
    made = hub.make_identity()
    keys = made.authentication.symmetric_key
    update = lambda etag, status: registry.update_device_with_sas(
        made.device_id, etag, keys.primary_key, keys.secondary_key, status
    )
    update(made.etag, "disabled")
    with refused(412, "PreconditionFailed"):
        update(made.etag, "enabled")
    assert registry.get_device(made.device_id).status == "disabled"


@row("no-stale-delete")
def test_stale_delete(hub, registry):
    made = hub.make_identity()
    keys = made.authentication.symmetric_key
    registry.update_device_with_sas(made.device_id, made.etag, keys.primary_key, keys.secondary_key, "disabled")
    with refused(412, "PreconditionFailed"):
        registry.delete_device(made.device_id, made.etag)
    assert registry.get_device(made.device_id).status == "disabled"


@row("no-stale-twin")
def test_stale_twin(hub, registry):
    device = hub.make_identity().device_id
    stale = registry.get_twin(device).etag
    registry.update_twin(device, Twin(tags={"a": 1}), stale)
    with refused(412, "PreconditionFailed"):
        registry.update_twin(device, Twin(tags={"a": 2}), stale)
    assert registry.get_twin(device).tags == {"a": 1}


@row("no-bulk-item")
def test_bulk_item(hub, registry):
    there, new = hub.make_identity().device_id, hub.unique("bulk")
    result = registry.bulk_create_or_update_devices([item(there, "create"), item(new, "create")])
    assert result.is_successful is False
    (error,) = result.errors
    assert (error.device_id, error.error_code) == (there, "DeviceAlreadyExists")
    assert registry.get_device(new).status == "enabled"


@row("no-bulk-many")
def test_bulk_many(hub, registry):
    ids = [hub.unique("bulk") for _ in range(101)]
    with pytest.raises(HttpOperationError) as raised:
        registry.bulk_create_or_update_devices([item(one, "create") for one in ids])
    assert raised.value.response.status_code in (400, 413)
    with refused(404):
        registry.get_device(ids[0])


@row("no-bad-id")
def test_bad_id(registry):
    for bad in ("with space", "größe", "x" * 129):
        with refused(400, "ArgumentInvalid"):
            registry.create_device_with_sas(bad, "", "", "enabled")


@row("no-bad-query")
def test_bad_query(registry):
    for bad in ("SELECT", "DELETE FROM devices", "SELECT * FROM devices WHERE", "SELECT * FROM nothing"):
        with refused(400):
            registry.query_iot_hub(QuerySpecification(query=bad))


@row("no-twin-large")
def test_twin_large(hub, registry):
    device = hub.make_identity().device_id
    with pytest.raises(HttpOperationError) as raised:
        registry.update_twin(device, Twin(tags={f"tag{number}": "x" * 3000 for number in range(3)}), None)
    assert raised.value.response.status_code in (400, 413)
    assert not registry.get_twin(device).tags


@row("no-method-absent")
def test_method_absent(hub, registry):
    device = hub.make_identity().device_id
    with refused(404, "DeviceNotOnline"):
        registry.invoke_device_method(device, method("reboot"))


@row("no-method-silent")
def test_method_silent(hub, registry, mqtt_devices):
    identity, client = mqtt_devices.new()
    called = []
    client.connect()
    client._handle("on_method_request_received", called.append)
    with refused(504):
        registry.invoke_device_method(identity.device_id, method("sleep", timeout=5))
    wait_until("the device to be called", lambda: called)


@row("no-method-unknown")
def test_method_unknown(hub, registry):
    with refused(404):
        registry.invoke_device_method(hub.unique("nobody"), method("reboot"))


@row("no-c2d-unknown")
def test_c2d_unknown(hub, registry):
    with pytest.raises(Exception, match="C2D message send failure"):
        hub.registry_as("service").send_c2d_message(hub.unique("nobody"), "hello")


@row("no-c2d-full")
def test_c2d_full(hub, registry):
    device = hub.make_identity().device_id
    for number in range(50):
        registry.send_c2d_message(device, str(number))
    with pytest.raises(Exception, match="C2D message send failure"):
        registry.send_c2d_message(device, "one too many")
    assert registry.get_device(device).cloud_to_device_message_count == 50


@row("no-c2d-large")
def test_c2d_large(hub, registry):
    device = hub.make_identity().device_id
    with pytest.raises(Exception, match="C2D message send failure|size|large"):
        registry.send_c2d_message(device, "x" * (64 * 1024 + 1))
    assert registry.get_device(device).cloud_to_device_message_count == 0


@row("no-modules")
def test_modules(hub, registry):
    device = hub.make_identity().device_id
    with pytest.raises(HttpOperationError) as raised:
        registry.create_module_with_sas(device, "camera", "", new_key(), new_key())
    assert raised.value.response.status_code == 501
    assert "modules" in raised.value.response.text
