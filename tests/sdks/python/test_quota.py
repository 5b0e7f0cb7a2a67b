"""A free hub takes 8,000 messages of 0.5 KB a day; what its devices and its operators are told beyond that."""

import concurrent.futures

import pytest
from azure.iot.device import Message
from azure.iot.device.exceptions import ClientError, OperationCancelled
from msrest.exceptions import HttpOperationError

from conftest import COLUMNS
from devices import Devices
from hub import body

DEVICE_COLUMNS = [column for column in COLUMNS if column != "py-service"]


@pytest.fixture(scope="module")
def used_up(hub):
    """Devices that were connected before the day's quota was used up: {column: (identity, client)}."""
    connected, makers = {}, []
    for column in DEVICE_COLUMNS:
        if not hub.reaches(column):
            continue
        makers.append(Devices(hub, column))
        connected[column] = makers[-1].new()
        connected[column][1].connect().send("while there is some left")
    glutton = Devices(hub, "py-mqtt")
    makers.append(glutton)
    _, client = glutton.new("glutton")
    client.connect()
    large = Message(b"x" * (255 * 1024))
    # 510 messages each by the meter: 15 fit. At midnight UTC the count begins anew, so it may take twice as many.
    with pytest.raises((ClientError, OperationCancelled)):
        for _ in range(31):
            client.send(large)
    yield connected
    for maker in makers:
        maker.close()


@pytest.mark.row("no-quota")
def test_quota(hub, used_up, column):
    identity, client = used_up[column]
    with pytest.raises((ClientError, OperationCancelled)):
        # Smaller ones fit as long as a few are left of the day, or a whole new day begins meanwhile.
        for _ in range(200):
            client.send(Message(b"x" * 32 * 1024))
    events = hub.reader.wait_for(identity.device_id)
    assert body(events[0]) == b"while there is some left"


@pytest.mark.row("no-throttle")
def test_throttle(hub, column):
    registry = hub.registry

    def ask(_):
        try:
            registry.get_device("nobody")
        except HttpOperationError as error:
            return error.response.status_code

    # The tier takes a hundred at once and then not two a second: sooner or later it has had enough.
    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        assert any(429 in threads.map(ask, range(100)) for _ in range(30))
