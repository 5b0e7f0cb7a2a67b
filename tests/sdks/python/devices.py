"""Microsoft's Python device clients, sync and async behind one face, so that each case is written once."""

import asyncio
import concurrent.futures
import contextlib
import threading
import time

import azure.iot.device
import azure.iot.device.aio
from azure.iot.device import X509, MethodResponse
from azure.iot.device.exceptions import ClientError

from hub import PATIENCE, sas, wait_until


class Devices:
    """The clients of one case."""

    def __init__(self, hub, column):
        self.hub = hub
        self.column = column
        self.clients = []

    def new(self, what="device"):
        """A new identity and a client for it that has its primary key."""
        identity = self.hub.make_identity(what)
        return identity, self.client(identity)

    def client(self, identity, key=None, **options):
        """A client for `identity` with its primary key, or another."""
        key = key or identity.authentication.symmetric_key.primary_key
        return self.of_id(identity.device_id, key, **options)

    def of_id(self, device_id, key, **options):
        string = f"HostName={self.hub.host};DeviceId={device_id};SharedAccessKey={key}"
        return self._keep("create_from_connection_string", string, **options)

    def with_token(self, token, **options):
        """A client with a token made elsewhere."""
        return self._keep("create_from_sastoken", token, **options)

    def with_certificate(self, device_id, name):
        """A client that shows one of our certificates."""
        folder = self.hub.certificates
        certificate = X509(cert_file=str(folder / f"{name}.pem"), key_file=str(folder / f"{name}.key"))
        return self._keep(
            "create_from_x509_certificate", x509=certificate, hostname=self.hub.host, device_id=device_id
        )

    def token_of(self, identity, **options):
        """A token of the device's own key."""
        key = identity.authentication.symmetric_key.primary_key
        return sas(f"{self.hub.host}/devices/{identity.device_id}", key, **options)

    def _keep(self, maker, *arguments, **options):
        options = {"server_verification_cert": self.hub.ca, "connection_retry": False, **options}
        options["websockets"] = self.column.endswith("-ws")
        client = Client(self.column.startswith("py-aio"), maker, arguments, options)
        self.clients.append(client)
        return client

    def close(self):
        for client in self.clients:
            client.close()


class Client:
    """One device client. Every call waits for its end, at most PATIENCE."""

    def __init__(self, asynchronous, maker, arguments, options):
        self.messages, self.methods, self.patches = [], [], []
        self.closed = False
        self.loop = None
        if asynchronous:
            self.loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
            self.thread.start()
            kind = azure.iot.device.aio.IoTHubDeviceClient
            self.sdk = self._in_loop(lambda: getattr(kind, maker)(*arguments, **options))
        else:
            self.sdk = getattr(azure.iot.device.IoTHubDeviceClient, maker)(*arguments, **options)

    def _in_loop(self, make):
        async def run():
            return make()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE)

    def call(self, name, *arguments):
        """Calls a method of the SDK's client and gives its answer."""
        if self.loop:
            coroutine = getattr(self.sdk, name)(*arguments)
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)
        future = concurrent.futures.Future()

        def run():
            try:
                future.set_result(getattr(self.sdk, name)(*arguments))
            except BaseException as error:  # the case judges it, whatever it is
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future.result(PATIENCE)

    def connect(self):
        self.call("connect")
        return self

    def send(self, message):
        self.call("send_message", message)

    def twin(self):
        return self.call("get_twin")

    def report(self, patch):
        self.call("patch_twin_reported_properties", patch)

    def listen_for_messages(self):
        self._handle("on_message_received", self.messages.append)

    def listen_for_patches(self):
        self._handle("on_twin_desired_properties_patch_received", self.patches.append)

    def listen_for_methods(self, answer):
        """Answers each method with answer(request) → (status, payload)."""

        def handle(request):
            status, payload = answer(request)
            self.methods.append(request)
            return MethodResponse.create_from_method_request(request, status, payload)

        async def handle_in_loop(request):
            await self.sdk.send_method_response(handle(request))

        def handle_here(request):
            self.sdk.send_method_response(handle(request))

        self._handle("on_method_request_received", handle_in_loop if self.loop else handle_here)

    def _handle(self, event, handler):
        def assign():
            setattr(self.sdk, event, handler)

        # Setting a handler subscribes, and waits for the answer: outside the loop that the answer needs.
        threads = concurrent.futures.ThreadPoolExecutor(1)
        try:
            threads.submit(assign).result(PATIENCE)
        finally:
            threads.shutdown(wait=False)

    @property
    def connected(self):
        return self.sdk.connected

    def wait_until_cut_off(self):
        """Waits until the hub dropped the connection."""
        wait_until("the hub to drop the connection", lambda: not self.connected)

    def close(self):
        if self.closed:
            return
        self.closed = True
        # What is left of a refused or dropped connection is none of the case's business.
        with contextlib.suppress(Exception):
            self.call("shutdown")
        if self.loop:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(PATIENCE)


def with_short_token(devices, identity, use, **options):
    """Does use(client, expires) with a token that soon runs out; later, if this machine needs longer to get that far.

    `expires` is when the token is no longer good, by this machine's clock.
    """
    for lifetime in (4, 20, 60):
        expires = time.time() + lifetime
        try:
            return use(devices.with_token(devices.token_of(identity, lifetime=lifetime), **options), expires)
        except (ClientError, ValueError):
            if time.time() < expires - 1 or lifetime == 60:
                raise
    raise AssertionError("unreachable")


def wait_until_expired(expires):
    """Waits until a token has run out for certain."""
    wait_until("the token to expire", lambda: time.time() > expires + 1, patience=2 * PATIENCE)
