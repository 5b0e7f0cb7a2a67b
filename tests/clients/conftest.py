"""Starts the real `hubward` binary for the client tests and reads its local hub with Microsoft's own packages."""

import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

BINARY = os.environ.get("TEST_HUBWARD") or str(
    pathlib.Path(__file__).resolve().parents[2] / "target" / "debug" / "hubward"
)
PATIENCE = 60.0


def wait_until(what, condition):
    """Waits until condition() gives something true, and returns it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.02)


class Server:
    """`hubward up --local-hub` on free ports, with a data folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.data = folder / "data"
        port_file = folder / "ports.json"
        self.log = open(folder / "server.log", "ab")
        self.process = subprocess.Popen(
            [BINARY, "up", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--local-hub"]
            + ["--data", str(self.data), "--port-file", str(port_file)],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

        def ports():
            assert self.process.poll() is None, (folder / "server.log").read_text()
            return port_file.exists() and json.loads(port_file.read_text())

        self.ports = wait_until("the port file", ports)
        host, port = self.ports["mqtt"].rsplit(":", 1)
        self.mqtt = (host, int(port))
        self.hub = self.ports["local_hub"]

    def cli(self, *args, check=True):
        """Runs an admin command with --json and returns what it answered."""
        run = subprocess.run(
            [BINARY, *args, "--json", "--data", str(self.data)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if check:
            assert run.returncode == 0, f"hubward {args}: {run.stderr}"
        return json.loads(run.stdout) if run.stdout.strip() else None

    def add_integration(self, name, topic, *devices):
        """Binds devices to the local hub with its registryReadWrite string, as the README says."""
        string = self.folder / "string.txt"
        string.write_text(self.hub["connection_strings"]["registryReadWrite"])
        arguments = ["integration", "add", "azure", "--name", name, "--connection-string-file", str(string)]
        arguments += ["--topic", topic]
        for device in devices:
            arguments += ["--device", device]
        self.cli(*arguments)
        return wait_until("the integration", lambda: self.active(name))

    def active(self, name):
        shown = self.cli("integration", "show", name)
        return shown if shown["state"] == "active" else None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=PATIENCE)
        self.log.close()
        return code


class HubReader:
    """Microsoft's azure-eventhub client on the hub's built-in endpoint, collecting every event from the start."""

    def __init__(self, connection_string):
        from azure.eventhub import EventHubConsumerClient

        self.events = []
        self.errors = []
        self.client = EventHubConsumerClient.from_connection_string(
            connection_string, consumer_group="$Default", retry_total=0
        )
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()

    def _receive(self):
        # In batches: this client looks at its partitions in turn, and waits at each that has nothing.
        self.client.receive_batch(
            on_event_batch=lambda _, events: self.events.extend(events),
            on_error=lambda _, error: self.errors.append(error),
            starting_position="-1",
        )

    def of(self, hub_device_id):
        """The events of one identity so far."""
        wanted = hub_device_id.encode()
        return [e for e in list(self.events) if e.system_properties.get(b"iothub-connection-device-id") == wanted]

    def wait_for(self, hub_device_id, count):
        """Waits until `count` events of one identity came."""
        return wait_until(
            f"{count} events of {hub_device_id} (errors: {self.errors})",
            lambda: len(self.of(hub_device_id)) >= count and self.of(hub_device_id),
        )

    def close(self):
        self.client.close()
        self.thread.join(timeout=PATIENCE)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == 0, (server.folder / "server.log").read_text()


@pytest.fixture(scope="session")
def reader(server):
    reader = HubReader(server.hub["connection_strings"]["eventhubs"])
    yield reader
    reader.close()


class BoundDevice:
    """A device of the server that is bound to the local hub."""

    def __init__(self, server, name, kind="mqtt"):
        self.name = name
        added = server.cli("device", "add", name, "--kind", kind)
        self.id = added["id"]
        self.username = added.get("username")
        self.password = added.get("password") or added.get("token")
        self.token = added.get("token")
        shown = server.add_integration(name, "Temp", name)
        self.hub_device_id = shown["devices"][0]["hub_device_id"]


@pytest.fixture
def bound_device(server, request):
    """Makes a bound device named after the test."""

    def make(kind="mqtt"):
        return BoundDevice(server, request.node.name.replace("[", "-").replace("]", "")[:60], kind)

    return make
