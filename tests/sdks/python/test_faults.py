"""What goes wrong at the hub for a while: the SDK bears it, and what was to be sent arrives."""

import pytest

from hub import body, wait_until

row = pytest.mark.row


def connected(hub, devices):
    """A new identity and a connected client that connects again by itself; one message has arrived."""
    identity = hub.make_identity()
    client = devices.client(identity, connection_retry=True, connection_retry_interval=1)
    client.connect().send("before")
    return identity.device_id, client


def bodies(hub, device_id, count):
    return [body(event) for event in hub.reader.wait_for(device_id, count)]


@row("fault-throttle")
def test_throttled(hub, devices):
    device_id, client = connected(hub, devices)
    hub.fault("throttle", device=device_id, count=2)
    client.send("throttled")
    assert not hub.faults_of(device_id), "the hub refused it twice"
    client.send("after")
    assert bodies(hub, device_id, 3) == [b"before", b"throttled", b"after"]


@row("fault-delay")
def test_delayed(hub, devices):
    device_id, client = connected(hub, devices)
    hub.fault("delay", ms=1000, device=device_id, count=1)
    client.send("late")
    client.send("after")
    assert bodies(hub, device_id, 3) == [b"before", b"late", b"after"]


@row("fault-drop")
def test_acknowledgement_lost(hub, devices):
    device_id, client = connected(hub, devices)
    hub.fault("drop", device=device_id, count=1)
    client.send("twice")
    client.send("after")
    # It was stored, and sent again because nobody could know that.
    assert bodies(hub, device_id, 4) == [b"before", b"twice", b"twice", b"after"]


@row("fault-stolen")
def test_link_stolen(hub, devices):
    device_id, client = connected(hub, devices)
    # Now, and when it is back.
    hub.fault("link-stolen", device=device_id, count=2)
    wait_until("the device to have lost its link twice", lambda: not hub.faults_of(device_id))
    wait_until("the device to connect again", lambda: client.connected)
    client.send("after")
    assert bodies(hub, device_id, 2) == [b"before", b"after"]


@row("fault-disabled")
def test_disabled_for_a_while(hub, devices):
    device_id, client = connected(hub, devices)
    fault = hub.fault("disabled", device=device_id)
    client.wait_until_cut_off()
    hub.clear_fault(fault)
    # It connects again by itself: if not at once, then to send.
    client.send("after")
    assert bodies(hub, device_id, 2) == [b"before", b"after"]
