"""What is tried with which SDK: the tables of docs/sdks.md. A case names its row and its column; nothing else may run."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Column:
    id: str
    title: str


@dataclasses.dataclass(frozen=True)
class Table:
    title: str
    columns: tuple
    # Section title → {row id: what the user relies on}
    sections: dict


PYTHON = ("py-mqtt", "py-mqtt-ws", "py-aio-mqtt", "py-aio-mqtt-ws")
NODE_MQTT = ("node-mqtt", "node-mqtt-ws")
NODE_AMQP = ("node-amqp", "node-amqp-ws")

DEVICE = Table(
    "Device SDKs",
    (
        Column("py-mqtt", "Python MQTT"),
        Column("py-mqtt-ws", "Python MQTT-WS"),
        Column("py-aio-mqtt", "Python async MQTT"),
        Column("py-aio-mqtt-ws", "Python async MQTT-WS"),
        Column("node-mqtt", "Node MQTT"),
        Column("node-mqtt-ws", "Node MQTT-WS"),
        Column("node-amqp", "Node AMQP"),
        Column("node-amqp-ws", "Node AMQP-WS"),
        Column("node-http", "Node HTTPS"),
    ),
    {
        "Messages to the hub": {
            "d2c-content": "body, message id, correlation id, content type and encoding, and properties arrive",
            "d2c-binary": "every byte value, and no byte at all, arrive as sent",
            "d2c-order": "50 messages arrive in the order they were sent",
            "d2c-properties": "property names and values with spaces, `&`, `=`, `%`, `/` and letters beyond ASCII arrive",
            "d2c-largest": "255 KiB arrive",
            "d2c-origin": "a message names its device, the identity's generation and how the device proved itself",
            "d2c-batch": "several messages sent in one call arrive as several",
        },
        "Messages from the hub": {
            "c2d-content": "body, ids and properties arrive, and the completed message is gone from the queue",
            "c2d-waiting": "messages sent while the device was away wait for it, in order",
            "c2d-reject": "a rejected message is gone, and the sender hears of it",
            "c2d-abandon": "an abandoned message comes again",
        },
        "Twin": {
            "twin-get": "the device reads desired and reported properties",
            "twin-reported": "what the device reports is merged, and null removes",
            "twin-desired": "a change of desired properties reaches the device",
        },
        "Direct methods": {
            "method-call": "the caller gets the device's payload and status",
            "method-error": "a device's own error status reaches the caller",
        },
        "Identity and connection": {
            "auth-x509": "a certificate is enough, by its thumbprint",
            "auth-x509-second": "the second thumbprint is as good",
            "auth-secondary": "the secondary key is as good",
            "auth-policy": "a token of a policy with DeviceConnect is enough, scoped to the device",
            "presence": "the registry shows the device as connected, and as disconnected after",
            "renewal": "a renewed token takes the place of the old one, and messages go on",
            "restart": "after the hub was killed and started again the device sends on by itself",
        },
        "Borne: what goes wrong for a while": {
            "fault-outage": "the hub refuses connections for a while: the device connects again and sends on",
            "fault-throttle": "a message refused twice as one too many is sent again until it is taken",
            "fault-delay": "an acknowledgement that comes late is waited for, and the message is there once",
            "fault-drop": "a message whose acknowledgement was lost is sent again",
            "fault-stolen": "a device that is taken over by another, twice, connects again and sends on",
            "fault-disabled": "a device that is disabled and enabled again sends on",
        },
        "Refused: who": {
            "no-signature": "a token signed with another key",
            "no-expired": "an expired token",
            "no-scope": "a token for another device",
            "no-unknown": "a device that the registry does not know",
            "no-disabled": "a disabled device",
            "no-right": "a token of a policy without DeviceConnect",
            "no-certificate": "a certificate of somebody else",
            "no-certificate-kind": "a certificate, where the identity has keys",
        },
        "Refused: what": {
            "no-too-large": "a message beyond 256 KB",
            "no-twin-too-large": "reported properties beyond 32 KB",
            "no-quota": "messages beyond the day's quota",
        },
        "Cut off": {
            "cut-takeover": "when a second connection takes the device over, the first is told",
            "cut-expired": "when the token runs out",
            "cut-disabled": "when the device is disabled",
            "cut-deleted": "when the device is deleted",
            "cut-rekeyed": "when the keys are changed",
        },
    },
)

SERVICE = Table(
    "Service SDKs",
    (Column("py-service", "Python azure-iot-hub"), Column("node-service", "Node azure-iothub")),
    {
        "Identity registry": {
            "device-generated": "a device made without keys gets two",
            "device-given": "a device made with keys has these keys",
            "device-x509": "a device made with thumbprints shows them",
            "device-get": "a device is read as it was made",
            "device-update": "an update changes status and reason, and the ETag",
            "device-delete": "a deleted device is gone",
            "device-odd-id": "ids with every character that may stand in one",
            "device-list": "devices are listed",
            "device-recreated": "a device made again under an old id is another generation",
            "bulk-create": "many devices are made in one call",
            "bulk-update": "many devices are changed in one call",
            "bulk-delete": "many devices are deleted in one call",
            "statistics": "devices are counted: all, enabled, disabled",
        },
        "Queries": {
            "query-pages": "all devices, page by page",
            "query-status": "devices by status",
            "query-tags": "devices by a tag",
            "query-properties": "devices by a desired property",
            "query-select": "chosen fields",
            "query-count": "a count of devices",
        },
        "Twins": {
            "twin-patch": "tags and desired properties are merged, null removes, the version grows",
            "twin-replace": "a replacement leaves nothing of the old",
            "twin-etag": "a patch with the current ETag is taken",
        },
        "Direct methods": {
            "method-payload": "objects, lists, texts, numbers and truth values arrive as they are, both ways",
        },
        "Messages to devices": {
            "c2d-send": "a message waits in the queue, and the device's count shows it",
            "c2d-websocket": "the same over AMQP in a WebSocket",
            "c2d-feedback": "the sender that asked hears that the device completed it",
            "c2d-expired": "a message past its expiry is not delivered, and the sender hears of it",
            "c2d-purge": "a device's queue is emptied",
        },
        "Refused": {
            "no-key": "a wrong policy key",
            "no-key-amqp": "a wrong policy key, for messages to devices",
            "no-token-expired": "an expired token",
            "no-read-only": "a policy that may only read writes",
            "no-registry-right": "the service policy reads the registry",
            "no-service-right": "a registry policy reads a twin",
            "no-exists": "a device that is there already is made again",
            "no-device": "a device that is not there is read, updated, deleted",
            "no-stale-update": "an update with an old ETag",
            "no-stale-delete": "a deletion with an old ETag",
            "no-stale-twin": "a twin's patch with an old ETag",
            "no-bulk-item": "in a bulk call one item fails, by name, and the others do not",
            "no-bulk-many": "more than 100 devices in one call",
            "no-bad-id": "an id that none can have",
            "no-bad-query": "a query that is none",
            "no-twin-large": "tags beyond 8 KB",
            "no-method-absent": "a method of a device that is not connected",
            "no-method-silent": "a method that the device does not answer in time",
            "no-method-unknown": "a method of a device that is not there",
            "no-c2d-unknown": "a message to a device that is not there",
            "no-c2d-full": "the 51st message that waits for one device",
            "no-c2d-large": "a message beyond 64 KB",
            "no-modules": "modules, which this hub says it does not have",
            "no-throttle": "more registry operations a minute than the tier allows",
        },
    },
)

READER = Table(
    "Reading the built-in endpoint",
    (Column("py-events", "Python azure-eventhub"), Column("node-events", "Node @azure/event-hubs")),
    {
        "The endpoint": {
            "hub-properties": "name, partitions and date of the endpoint",
            "partition-properties": "first and last sequence number, last offset and time of each partition",
            "partition-by-device": "a device's messages are in one partition, the fleet's in several",
            "tls": "over TLS",
            "websocket": "over AMQP in a WebSocket",
            "emulator": "in clear text, in the SDK's emulator mode",
        },
        "Where reading starts": {
            "from-start": "from the first event",
            "from-offset": "after an offset, and at an offset",
            "from-sequence": "after a sequence number, and at one",
            "from-time": "after a point in time",
            "from-latest": "only what arrives from now on",
        },
        "Events and readers": {
            "event-annotations": "an event has sequence number, offset, time, device id and the device's properties",
            "two-groups": "two consumer groups each read everything",
            "two-readers": "two readers of one group and partition both read everything",
            "owner": "a reader with a higher owner level takes the partition over, and the other is told",
            "last-enqueued": "a reader that asks for it is told the last event of its partition with each event",
        },
        "Refused": {
            "no-reader-key": "a wrong key",
            "no-reader-right": "a policy without ServiceConnect",
            "no-reader-token": "an expired token",
            "no-partition": "a partition that is not there",
            "no-hub": "an endpoint of another name",
            "no-owner": "a reader without owner level where one has it",
            "no-lower-owner": "a reader with a lower owner level",
        },
    },
)

TABLES = (DEVICE, SERVICE, READER)


def _without():
    """Why a cell has no case: {row: {column: reason}}."""
    reasons = {}

    def none(columns, rows, reason):
        for row in rows:
            for column in columns:
                reasons.setdefault(row, {})[column] = reason

    http = ("node-http",)
    none(http, ("twin-get", "twin-reported", "twin-desired", "no-twin-too-large"), "HTTPS has no twin")
    none(http, ("method-call", "method-error"), "HTTPS has no direct methods")
    none(http, ("presence", "cut-takeover", "fault-stolen"), "HTTPS keeps no connection")
    none(http, ("fault-throttle", "fault-drop"), "over HTTPS the SDK reports it, and sends nothing again by itself")
    none(http, ("restart",), "HTTPS keeps no connection: the next request is a new one")
    none(PYTHON, ("no-scope",), "the SDK takes the device's id from the token")
    none(http, ("d2c-properties",), "HTTP headers carry neither spaces in names nor letters beyond ASCII")
    none(PYTHON + NODE_MQTT + NODE_AMQP, ("d2c-batch",), "the SDK sends several in one call over HTTPS only")
    none(PYTHON + NODE_MQTT, ("c2d-reject", "c2d-abandon"), "MQTT can only complete a message")
    none(("py-service",), ("query-select", "query-count"), "the SDK reads every row as a twin")
    none(("py-service",), ("c2d-feedback", "c2d-expired"), "the SDK has no feedback receiver")
    none(("py-service",), ("no-token-expired",), "the SDK makes its own tokens")
    none(("node-service",), ("c2d-purge", "twin-replace"), "the SDK has no call for it")
    return reasons


WITHOUT = _without()


def rows():
    """All rows: {row id: what the user relies on}."""
    return {row: text for table in TABLES for section in table.sections.values() for row, text in section.items()}


def cells():
    """Every cell that a run has to fill."""
    for table in TABLES:
        for section in table.sections.values():
            for row in section:
                for column in table.columns:
                    if column.id not in WITHOUT.get(row, {}):
                        yield row, column.id


def problems(outcomes, whole):
    """What the outcomes lack, or have too much."""
    wanted = set(cells())
    seen = [(o["row"], o["column"]) for o in outcomes if o["row"]]
    found = [f"no such cell: {row} [{column}] (see tests/sdks/features.py)" for row, column in set(seen) - wanted]
    if whole and not any(not o["row"] for o in outcomes):
        found += [f"no case for {row} [{column}]" for row, column in sorted(wanted - set(seen))]
    return found
