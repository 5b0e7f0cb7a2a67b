"""What goes wrong at the hub for a while: the SDK bears it, and what was to be sent arrives."""

import itertools

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


# What the SDK says when the connection goes while it hands a message over, or cannot be opened again yet.
NOT_NOW = ("NoConnectionError", "ConnectionFailedError", "ConnectionDroppedError")


def send(client, text):
    """Sends; where the SDK says that it has no connection now, it is asked again, as an application would."""

    def sent():
        try:
            client.send(text)
        except Exception as error:
            if type(error).__name__ not in NOT_NOW:
                raise
            return False
        return True

    wait_until(f"{text!r} to be sent", sent)


def arrived(hub, device_id, last):
    """What came up to the message `last`: each body with how often it came in a row."""

    def all_of_it():
        bodies = [body(event) for event in hub.reader.of(device_id)]
        return last in bodies and bodies

    bodies = wait_until(f"{last!r} of {device_id}", all_of_it)
    return [(text, len(list(same))) for text, same in itertools.groupby(bodies)]


@row("fault-throttle")
def test_throttled(hub, devices):
    device_id, client = connected(hub, devices)
    hub.fault("throttle", device=device_id, count=2)
    send(client, "throttled")
    assert not hub.faults_of(device_id), "the hub refused it twice"
    send(client, "after")
    assert [text for text, _ in arrived(hub, device_id, b"after")] == [b"before", b"throttled", b"after"]


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
    send(client, "twice")
    send(client, "after")
    # It was stored, and sent again because nobody could know that.
    (before, _), (twice, times), (after, _) = arrived(hub, device_id, b"after")
    assert (before, twice, after) == (b"before", b"twice", b"after") and times >= 2


@row("fault-stolen")
def test_link_stolen(hub, devices):
    device_id, client = connected(hub, devices)
    # Now, and when it is back.
    hub.fault("link-stolen", device=device_id, count=2)
    wait_until("the device to have lost its link twice", lambda: not hub.faults_of(device_id))
    wait_until("the device to connect again", lambda: client.connected)
    send(client, "after")
    assert [text for text, _ in arrived(hub, device_id, b"after")] == [b"before", b"after"]


@row("fault-disabled")
def test_disabled_for_a_while(hub, devices):
    device_id, client = connected(hub, devices)
    fault = hub.fault("disabled", device=device_id)
    client.wait_until_cut_off()
    hub.clear_fault(fault)
    # It connects again by itself: if not at once, then to send.
    send(client, "after")
    assert [text for text, _ in arrived(hub, device_id, b"after")] == [b"before", b"after"]
