"""The hub of this part, seen through Microsoft's service and reader packages."""

import base64
import hashlib
import hmac
import itertools
import json
import os
import pathlib
import threading
import time
import urllib.parse
import urllib.request

from azure.eventhub import EventHubConsumerClient
from azure.iot.hub import IoTHubRegistryManager

PATIENCE = 60.0
NAMES = itertools.count(1)


UNREACHABLE = (
    "this SDK reaches the hub on port 443 only, which this user may not bind;"
    " allow network namespaces, or: sysctl net.ipv4.ip_unprivileged_port_start=443"
)


def wait_until(what, condition, patience=PATIENCE):
    """Waits until condition() gives something true, and returns it."""
    deadline = time.monotonic() + patience
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"gave up waiting for {what() if callable(what) else what}"
        time.sleep(0.02)


class Hub:
    """Addresses, connection strings, a reader that has every event, and a registry client."""

    def __init__(self):
        self.info = json.loads(pathlib.Path(os.environ["SDKS_HUB"]).read_text())
        self.place = json.loads(os.environ["SDKS_PLACE"])
        self.folder = pathlib.Path(os.environ["SDKS_FOLDER"])
        self.certificates = pathlib.Path(os.environ["SDKS_CERTIFICATES"])
        self.host = self.place["host"]
        self.ca_file = self.info["ca_file"]
        self.ca = pathlib.Path(self.ca_file).read_text()
        self.strings = self.info["connection_strings"]
        self._of_thread = threading.local()
        self._reader = None

    def reaches(self, column):
        """Whether the column's SDK can reach the hub: in a WebSocket it knows no other port than 443."""
        return self.place["https"] == 443 or not column.endswith("-ws")

    @property
    def registry(self):
        """Microsoft's registry client as the owner. One for each thread: its AMQP side is not made to be shared."""
        if not hasattr(self._of_thread, "registry"):
            self._of_thread.registry = self.registry_as("iothubowner")
        return self._of_thread.registry

    def registry_as(self, policy):
        """Microsoft's registry client with the key of `policy`."""
        return IoTHubRegistryManager.from_connection_string(self.strings[policy])

    def key_of(self, policy):
        return dict(pair.split("=", 1) for pair in self.strings[policy].split(";"))["SharedAccessKey"]

    def make_identity(self, what="device", status="enabled"):
        """A new identity with keys of our own."""
        device_id = f"{what}-{next(NAMES)}"
        primary, secondary = new_key(), new_key()
        return self.registry.create_device_with_sas(device_id, primary, secondary, status)

    def make_identity_with_certificate(self, primary, secondary="second"):
        """A new identity with the thumbprints of two of our certificates."""
        device_id = f"certified-{next(NAMES)}"
        return self.registry.create_device_with_x509(
            device_id, self.thumbprint(primary), self.thumbprint(secondary), "enabled"
        )

    def thumbprint(self, name):
        return (self.certificates / f"{name}.thumbprint").read_text()

    def unique(self, what):
        """A device id that nothing else uses."""
        return f"{what}-{next(NAMES)}"

    @property
    def reader(self):
        """Collects every event of the hub, from the first on."""
        if self._reader is None:
            self._reader = Reader(self.strings["eventhubs"])
        return self._reader

    def fault(self, fault, **more):
        """Has something go wrong (docs/local-hub.md, "Let something go wrong"); gives its number."""
        return self._admin("POST", "/faults", {"fault": fault, **more})["id"]

    def clear_fault(self, number):
        self._admin("DELETE", f"/faults/{number}")

    def faults_of(self, device_id):
        """The faults of one device that are in force."""
        return [fault for fault in self._admin("GET", "/faults") if fault.get("device") == device_id]

    def _admin(self, method, path, body=None):
        """One request to the hub's admin API."""
        admin = json.loads((self.folder / "data" / "admin.json").read_text())
        data = json.dumps(body).encode() if body else None
        headers = {"Authorization": f"Bearer {admin['token']}"}
        request = urllib.request.Request(admin["url"] + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def restart(self, how="stop"):
        """Stops the hub (or kills it, with how="kill") and starts it again."""
        request = self.folder / "restart"
        partial = self.folder / "restart.part"
        partial.write_text(how)
        partial.rename(request)
        wait_until("the hub to be back", lambda: not request.exists(), patience=2 * PATIENCE)

    def close(self):
        if self._reader:
            self._reader.close()


def new_key():
    return base64.b64encode(os.urandom(32)).decode()


def sas(resource, key, policy=None, lifetime=3600.0, as_text=False):
    """A token: for `host/devices/id` with a device's key, or with a policy's. Event Hubs signs with the key `as_text`."""
    resource = urllib.parse.quote(resource, safe="")
    expires = int(time.time() + lifetime)
    secret = key.encode() if as_text else base64.b64decode(key)
    digest = hmac.digest(secret, f"{resource}\n{expires}".encode(), hashlib.sha256)
    signature = urllib.parse.quote(base64.b64encode(digest), safe="")
    token = f"SharedAccessSignature sr={resource}&sig={signature}&se={expires}"
    return token + f"&skn={policy}" if policy else token


class Reader:
    """Microsoft's reader on all partitions, from the start, for as long as the part runs."""

    def __init__(self, connection_string):
        self.events = []
        self.partitions = {}
        self.client = EventHubConsumerClient.from_connection_string(connection_string, consumer_group="$Default")
        self.errors = []
        self.threads = [
            threading.Thread(target=self._receive, args=(partition,), daemon=True)
            for partition in self.client.get_partition_ids()
        ]
        for thread in self.threads:
            thread.start()

    def _receive(self, partition):
        mine = self.partitions.setdefault(partition, [])

        def on_events(_, events):
            mine.extend(events)
            self.events.extend(events)

        self.client.receive_batch(
            on_event_batch=on_events,
            on_error=lambda _, error: self.errors.append(error),
            partition_id=partition,
            starting_position="-1",
            # It looks again as soon as this is over, so it is no delay that a case waits for.
            max_wait_time=0.2,
        )

    def of(self, device_id):
        """The events of one device so far, in the order of its partition."""
        wanted = device_id.encode()
        return [e for e in list(self.events) if e.system_properties.get(b"iothub-connection-device-id") == wanted]

    def wait_for(self, device_id, count=1):
        """Waits until `count` events of one device came, and returns all there are."""
        wait_until(
            lambda: f"{count} events of {device_id}, got {len(self.of(device_id))} (reader's errors: {self.errors})",
            lambda: len(self.of(device_id)) >= count,
        )
        return self.of(device_id)

    def by_partition(self):
        """All events so far, in order: {partition: [event]}."""
        return {partition: list(events) for partition, events in self.partitions.items()}

    def close(self):
        self.client.close()
        for thread in self.threads:
            thread.join(timeout=PATIENCE)


def body(event):
    return b"".join(event.body)


def properties(event):
    """The device's own properties of an event."""
    return {text(key): text(value) for key, value in (event.properties or {}).items()}


def annotation(event, name):
    value = event.system_properties.get(name.encode())
    return text(value)


def text(value):
    return value.decode() if isinstance(value, bytes) else value
