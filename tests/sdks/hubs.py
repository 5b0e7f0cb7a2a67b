"""The local hubs of the suite: each is the real binary, with a data folder, addresses and a name of its own."""

import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("TEST_HUBWARD") or str(ROOT / "target" / "debug" / "hubward")
PATIENCE = 90.0
# AMQP over TLS, AMQP, MQTT over TLS: the SDKs let nobody choose others.
STANDARD_PORTS = (5671, 5672, 8883)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a hub listens, and by which name it is reached."""

    name: str
    host: str
    address: str
    https: int

    def taken_port(self):
        """A port that the hub needs and cannot have, if there is one."""
        for port in (self.https, *STANDARD_PORTS):
            if not may_bind(self.address, port):
                return port
        return None


def private_place(number):
    """In a network of our own: standard ports on an address of its own, under a name like a real hub's."""
    return Place(f"sdk-{number}", f"sdk-{number}.azure-devices.net", f"127.0.1.{number}", 443)


def localhost_place():
    """On the machine's own loopback: the standard ports that this user may bind. One hub at a time."""
    https = 443 if may_bind("127.0.0.1", 443) else 10443
    return Place("sdk-local", "localhost", "127.0.0.1", https)


def may_bind(address, port):
    """Whether this user may listen there, and nobody does."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


class Hub:
    """A running `hubward local-hub`."""

    def __init__(self, place, folder, more=()):
        self.place = place
        self.folder = folder
        self.more = list(more)
        self.process = None
        self.info = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self):
        """Starts it, and waits until it listens."""
        port_file = self.folder / "hub.json"
        port_file.unlink(missing_ok=True)
        at = self.place.address
        arguments = [BINARY, "local-hub", "--name", self.place.name, "--host-name", self.place.host]
        arguments += ["--https", f"{at}:{self.place.https}", "--amqps", f"{at}:5671", "--amqp", f"{at}:5672"]
        arguments += ["--mqtts", f"{at}:8883", "--admin", f"{at}:0"]
        arguments += ["--data", str(self.folder / "data"), "--port-file", str(port_file), "--log", "info", *self.more]
        with open(self.folder / "hub.log", "ab") as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not port_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the hub did not start: {' '.join(arguments)}\n{self.log_end()}")
            time.sleep(0.02)
        self.info = json.loads(port_file.read_text())
        return self

    def stop(self):
        """Stops it in order; the answer is its exit code, or None when it had to be killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def log_end(self):
        """The last lines of its log."""
        path = self.folder / "hub.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-30:]) if path.exists() else ""


class Restarts:
    """Stops and starts the hub again whenever a case asks for it, by a file `restart` in the hub's folder.

    The file is gone when the hub is back. Killed, not stopped, if the file says `kill`.
    """

    def __init__(self, hub):
        self.hub = hub
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def _watch(self):
        request = self.hub.folder / "restart"
        while not self.ended.wait(0.05):
            if not request.exists():
                continue
            if request.read_text() == "kill":
                self.hub.process.kill()
                self.hub.process.wait()
            elif self.hub.stop() != 0:
                raise RuntimeError("the hub did not stop in order")
            self.hub.start()
            request.unlink()
