"""The hub is killed and started again, then it refuses connections for a while; every device has to go on by itself."""

import pytest

from conftest import CELLS, COLUMNS
from devices import Devices
from hub import PATIENCE, body, wait_until


@pytest.fixture(scope="module")
def after_restart(hub):
    """A device of every column that sent before the kill: {column: (identity, client)}."""
    connected, makers = {}, []
    for column in COLUMNS:
        if not hub.reaches(column):
            continue
        makers.append(Devices(hub, column))
        identity = hub.make_identity()
        client = makers[-1].client(identity, connection_retry=True, connection_retry_interval=1)
        client.connect().send("before")
        connected[column] = (identity, client)
    hub.restart("kill")
    yield connected
    for maker in makers:
        maker.close()


@pytest.mark.row("restart")
def test_goes_on(hub, after_restart, column):
    identity, client = after_restart[column]
    wait_until("the device to connect again", lambda: client.connected, patience=2 * PATIENCE)
    client.send("after")
    events = hub.reader.wait_for(identity.device_id, 2)
    assert [body(event) for event in events] == [b"before", b"after"]


@pytest.fixture(scope="module")
def after_outage(hub, after_restart):
    """The same devices, when the outage is over."""
    for _, client in after_restart.values():
        wait_until("the device to connect again", lambda: client.connected, patience=2 * PATIENCE)
    outage = hub.fault("outage", **{"as": "refuse"})
    for _, client in after_restart.values():
        client.wait_until_cut_off()
    hub.clear_fault(outage)
    return after_restart


@pytest.mark.row("fault-outage")
def test_goes_on_after_an_outage(hub, after_outage, column):
    identity, client = after_outage[column]
    wait_until("the device to connect again", lambda: client.connected)
    client.send("after the outage")
    arrived = lambda: [body(event) for event in hub.reader.of(identity.device_id)].count(b"after the outage")
    wait_until("the message to arrive", arrived)
    assert arrived() == 1
