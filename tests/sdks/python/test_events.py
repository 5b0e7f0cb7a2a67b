"""Reading the hub's built-in endpoint with Microsoft's Python reader, and what it is refused."""

import datetime
import threading
import time

import pytest
from azure.eventhub import EventHubConsumerClient, TransportType
from azure.eventhub.exceptions import AuthenticationError, ConnectError, EventHubError

from devices import Devices
from hub import PATIENCE, UNREACHABLE, annotation, body, new_key, properties, sas, wait_until

row = pytest.mark.row
# Errors that end a reader at once are wanted here, so nothing is tried again.
ONCE = {"retry_total": 0}


class Fleet:
    """Twelve devices that sent messages before any case ran."""

    def __init__(self, hub):
        self.devices = Devices(hub, "py-mqtt")
        self.sent = {}
        for _ in range(12):
            identity, client = self.devices.new("sender")
            client.connect()
            self.sent[identity.device_id] = client
            for number in range(3):
                client.send(f"{identity.device_id} {number}")
            hub.reader.wait_for(identity.device_id, 3)


@pytest.fixture(scope="module")
def fleet(hub):
    fleet = Fleet(hub)
    yield fleet
    fleet.devices.close()


class Reading:
    """One SDK reader of one partition, in a thread of its own."""

    def __init__(self, client, partition, **where):
        self.events, self.errors, self.closed = [], [], []
        self.client = client
        self.ready = threading.Event()
        options = {"starting_position": "-1", "max_wait_time": 0.5, **where}

        def on_events(_, events):
            # It is called with nothing when nothing came for a while: then the link is there for sure.
            self.events.extend(events)
            self.ready.set()

        def run():
            client.receive_batch(
                on_event_batch=on_events,
                on_error=lambda _, error: self.errors.append(error),
                on_partition_close=lambda _, reason: self.closed.append(reason),
                partition_id=partition,
                **options,
            )

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def bodies(self, device_id=None):
        wanted = device_id and device_id.encode()
        return [
            body(event).decode()
            for event in list(self.events)
            if not wanted or event.system_properties.get(b"iothub-connection-device-id") == wanted
        ]

    def wait_ready(self):
        wait_until(lambda: f"the reader ({self.errors})", self.ready.is_set)
        return self

    def wait_for(self, *bodies):
        wait_until(
            lambda: f"{bodies}, got {self.bodies()[-10:]} (errors: {self.errors})",
            lambda: set(bodies) <= set(self.bodies()),
        )
        return self

    def wait_for_error(self):
        return wait_until("an error", lambda: self.errors)[0]

    def close(self):
        self.client.close()
        self.thread.join(PATIENCE)


@pytest.fixture
def read(hub):
    """Starts readers and closes them after the case."""
    readings = []

    def start(partition, group="$Default", string="eventhubs", options=None, **where):
        string = hub.strings.get(string, string)
        client = EventHubConsumerClient.from_connection_string(string, consumer_group=group, **(options or {}))
        readings.append(Reading(client, partition, **where))
        return readings[-1]

    yield start
    for reading in readings:
        reading.close()


@pytest.fixture
def client(hub):
    with EventHubConsumerClient.from_connection_string(hub.strings["eventhubs"], consumer_group="$Default") as client:
        yield client


@pytest.fixture
def known(hub, fleet):
    """The events of one device of the fleet, and their partition."""
    device_id = next(iter(fleet.sent))
    events = hub.reader.of(device_id)
    return device_id, partition_of(hub, device_id), events


def partition_of(hub, device_id):
    for partition, events in hub.reader.by_partition().items():
        if any(annotation(e, "iothub-connection-device-id") == device_id for e in events):
            return partition
    raise AssertionError(f"no partition has events of {device_id}")


@row("hub-properties")
def test_hub_properties(hub, client):
    found = client.get_eventhub_properties()
    assert found["eventhub_name"] == hub.place["name"]
    assert found["partition_ids"] == [str(number) for number in range(len(found["partition_ids"]))]
    assert len(found["partition_ids"]) >= 2
    age = datetime.datetime.now(datetime.timezone.utc) - found["created_at"].replace(tzinfo=datetime.timezone.utc)
    assert datetime.timedelta(-1) < age < datetime.timedelta(1)


@row("partition-properties")
def test_partition_properties(hub, client, known):
    _, partition, _ = known
    last = hub.reader.by_partition()[partition][-1]
    found = wait_until(
        "the last event",
        lambda: (p := client.get_partition_properties(partition))["last_enqueued_sequence_number"] >= last.sequence_number and p,
    )
    assert found["id"] == partition and found["is_empty"] is False
    assert found["beginning_sequence_number"] == hub.reader.by_partition()[partition][0].sequence_number
    assert found["last_enqueued_offset"] == last.offset
    assert found["last_enqueued_time_utc"] == last.enqueued_time


@row("partition-by-device")
def test_partition_by_device(hub, fleet):
    seen = {}
    for partition, events in hub.reader.by_partition().items():
        for event in events:
            seen.setdefault(annotation(event, "iothub-connection-device-id"), set()).add(partition)
    assert all(len(seen[device]) == 1 for device in fleet.sent)
    assert len({partition for device in fleet.sent for partition in seen[device]}) > 1


@row("tls")
def test_tls(hub, known, read):
    device, partition, _ = known
    read(partition, string="eventhubs_tls", options={"connection_verify": hub.ca_file}).wait_for(f"{device} 2")


@row("websocket")
def test_websocket(hub, known, read):
    if not hub.reaches("amqp-ws"):
        pytest.skip(UNREACHABLE)
    device, partition, _ = known
    options = {"connection_verify": hub.ca_file, "transport_type": TransportType.AmqpOverWebsocket}
    read(partition, string="eventhubs_tls", options=options).wait_for(f"{device} 2")


@row("emulator")
def test_emulator(hub, known, read):
    device, partition, _ = known
    assert "UseDevelopmentEmulator=true" in hub.strings["eventhubs"]
    read(partition).wait_for(f"{device} 2")


@row("from-start")
def test_from_start(hub, known, read):
    device, partition, _ = known
    reading = read(partition, starting_position="-1").wait_for(f"{device} 2")
    assert reading.bodies(device)[:3] == [f"{device} {number}" for number in range(3)]
    numbers = [event.sequence_number for event in reading.events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@row("from-offset")
def test_from_offset(hub, known, read):
    device, partition, events = known
    after = read(partition, starting_position=events[1].offset).wait_for(f"{device} 2")
    assert after.bodies(device)[0] == f"{device} 2"
    at = read(partition, starting_position=events[1].offset, starting_position_inclusive=True)
    assert at.wait_for(f"{device} 2").bodies(device)[0] == f"{device} 1"


@row("from-sequence")
def test_from_sequence(hub, known, read):
    device, partition, events = known
    after = read(partition, starting_position=events[1].sequence_number).wait_for(f"{device} 2")
    assert after.bodies(device)[0] == f"{device} 2"
    at = read(partition, starting_position=events[1].sequence_number, starting_position_inclusive=True)
    assert at.wait_for(f"{device} 2").bodies(device)[0] == f"{device} 1"


@row("from-time")
def test_from_time(hub, fleet, known, read):
    device, partition, events = known
    wait_until("a later millisecond", lambda: time.time() > events[-1].enqueued_time.timestamp() + 0.01)
    fleet.sent[device].send("later")
    later = hub.reader.wait_for(device, 4)[-1]
    reading = read(partition, starting_position=later.enqueued_time - datetime.timedelta(milliseconds=1))
    assert reading.wait_for("later").bodies(device)[0] == "later"
    assert all(event.enqueued_time >= later.enqueued_time for event in reading.events)


@row("from-latest")
def test_from_latest(hub, fleet, known, read):
    device, partition, _ = known
    reading = read(partition, starting_position="@latest").wait_ready()
    fleet.sent[device].send("newest")
    assert reading.wait_for("newest").bodies(device) == ["newest"]


@row("event-annotations")
def test_annotations(hub, fleet):
    device, client = next(iter(fleet.sent.items()))
    from azure.iot.device import Message

    sent = Message("annotated", content_type="text/plain", content_encoding="utf-8")
    sent.message_id, sent.custom_properties = "annotated-1", {"k": "v"}
    client.send(sent)
    find = lambda: [event for event in hub.reader.of(device) if event.message_id == "annotated-1"]
    event = wait_until("the event", find)[0]
    assert isinstance(event.sequence_number, int) and isinstance(event.offset, str)
    age = datetime.datetime.now(datetime.timezone.utc) - event.enqueued_time
    assert datetime.timedelta(minutes=-5) < age < datetime.timedelta(minutes=5)
    assert event.system_properties[b"iothub-enqueuedtime"]
    assert annotation(event, "iothub-connection-device-id") == device
    assert properties(event) == {"k": "v"} and event.content_type == "text/plain"


@row("two-groups")
def test_two_groups(hub, known, read):
    device, partition, _ = known
    for group in ("$Default", "second"):
        read(partition, group=group).wait_for(*(f"{device} {number}" for number in range(3)))


@row("two-readers")
def test_two_readers(hub, known, read):
    device, partition, _ = known
    for reading in (read(partition), read(partition)):
        reading.wait_for(*(f"{device} {number}" for number in range(3)))


@row("owner")
def test_owner(hub, known, read):
    device, partition, _ = known
    first = read(partition, group="owners", owner_level=1, options=ONCE).wait_ready()
    second = read(partition, group="owners", owner_level=2, options=ONCE).wait_for(f"{device} 2")
    error = first.wait_for_error()
    assert isinstance(error, EventHubError) and "amqp:link:stolen" in str(error)
    assert not second.errors


@row("last-enqueued")
def test_last_enqueued(hub, known, read):
    device, partition, _ = known
    told = []
    client = EventHubConsumerClient.from_connection_string(hub.strings["eventhubs"], consumer_group="$Default")

    def on_event(context, event):
        told.append((event, context.last_enqueued_event_properties))

    thread = threading.Thread(
        target=client.receive,
        kwargs={"on_event": on_event, "partition_id": partition, "starting_position": "-1", "track_last_enqueued_event_properties": True},
        daemon=True,
    )
    thread.start()
    event, last = wait_until("an event", lambda: told)[0]
    client.close()
    thread.join(PATIENCE)
    assert last["sequence_number"] >= event.sequence_number
    assert last["offset"] and last["enqueued_time"] and last["retrieval_time"]


def changed(string, **parts):
    pairs = (pair.split("=", 1) for pair in string.split(";") if pair)
    return ";".join(f"{key}={parts.get(key, value)}" for key, value in pairs)


@row("no-reader-key")
def test_wrong_key(hub, read):
    string = changed(hub.strings["eventhubs"], SharedAccessKey=new_key())
    assert isinstance(read("0", string=string, options=ONCE).wait_for_error(), (AuthenticationError, ConnectError))


@row("no-reader-right")
def test_no_right(hub, read):
    string = changed(hub.strings["eventhubs"], SharedAccessKeyName="registryRead", SharedAccessKey=hub.key_of("registryRead"))
    assert isinstance(read("0", string=string, options=ONCE).wait_for_error(), EventHubError)


@row("no-reader-token")
def test_expired_token(hub, read):
    token = sas(f"sb://{hub.host}/{hub.place['name']}", hub.key_of("service"), "service", lifetime=-60, as_text=True)
    string = f"Endpoint={endpoint(hub)};SharedAccessSignature={token};EntityPath={hub.place['name']};UseDevelopmentEmulator=true"
    assert isinstance(read("0", string=string, options=ONCE).wait_for_error(), EventHubError)


def endpoint(hub):
    return dict(pair.split("=", 1) for pair in hub.strings["eventhubs"].split(";"))["Endpoint"]


@row("no-partition")
def test_no_partition(hub, read):
    # The SDK asks for the names of the partitions first, and says itself that there is no such one.
    assert isinstance(read("999", options=ONCE).wait_for_error(), (EventHubError, ValueError))


@row("no-hub")
def test_no_hub(hub):
    string = changed(hub.strings["eventhubs"], EntityPath="another-hub")
    with EventHubConsumerClient.from_connection_string(string, consumer_group="$Default", **ONCE) as client:
        with pytest.raises(EventHubError):
            client.get_eventhub_properties()


@row("no-owner")
def test_no_owner(hub, known, read):
    _, partition, _ = known
    read(partition, group="owned", owner_level=0).wait_ready()
    error = read(partition, group="owned", options=ONCE).wait_for_error()
    assert isinstance(error, EventHubError)


@row("no-lower-owner")
def test_lower_owner(hub, known, read):
    _, partition, _ = known
    high = read(partition, group="levels", owner_level=5, options=ONCE).wait_ready()
    error = read(partition, group="levels", owner_level=4, options=ONCE).wait_for_error()
    assert isinstance(error, EventHubError)
    assert not high.errors
