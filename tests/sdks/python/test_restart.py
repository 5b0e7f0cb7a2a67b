"""The hub is killed and started again under a device of every transport; each has to go on by itself."""

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
