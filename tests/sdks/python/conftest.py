"""What the Python cases share: which columns they fill, what became of them, and the hub they talk to."""

import concurrent.futures
import json
import os

import pytest

import features
from hub import UNREACHABLE, Hub

RESULTS = os.environ["SDKS_RESULTS"]
COLUMNS = os.environ["SDKS_COLUMNS"].split(",")
ONLY = os.environ["SDKS_ONLY"].split()
CELLS = set(features.cells())


def pytest_configure(config):
    config.addinivalue_line("markers", "row(id): the row of tests/sdks/features.py that this case fills")


def pytest_generate_tests(metafunc):
    """Each case runs once for every column that has it."""
    row = metafunc.definition.get_closest_marker("row").args[0]
    columns = [column for column in COLUMNS if (row, column) in CELLS]
    assert columns, f"no column of {COLUMNS} has the row {row}: see tests/sdks/features.py"
    metafunc.parametrize("column", columns)


def pytest_collection_modifyitems(config, items):
    if not ONLY:
        return
    chosen = [item for item in items if any(word in f"{row_of(item)} [{column_of(item)}]" for word in ONLY)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def row_of(item):
    return item.get_closest_marker("row").args[0]


def column_of(item):
    return item.callspec.params["column"]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the case to the results: one line when it ended, or failed before or after."""
    report = (yield).get_result()
    seconds = item.stash.setdefault(SECONDS, 0.0) + call.duration
    item.stash[SECONDS] = seconds
    if report.outcome == "passed" and report.when != "call":
        return
    outcome, why = report.outcome, ""
    if outcome == "skipped":
        why = str(call.excinfo.value)
    elif outcome == "failed":
        why = crash(report.longrepr)
    line = {"row": row_of(item), "column": column_of(item), "outcome": outcome, "why": why, "seconds": seconds}
    with open(RESULTS, "a", encoding="utf-8") as results:
        results.write(json.dumps(line) + "\n")


def crash(longrepr):
    """Where it failed in the cases' own code, and what was said."""
    entries = getattr(getattr(longrepr, "reprtraceback", None), "reprentries", [])
    places = [str(entry.reprfileloc) for entry in entries if getattr(entry, "reprfileloc", None)]
    own = [place for place in places if "site-packages" not in place][-1:]
    message = getattr(getattr(longrepr, "reprcrash", None), "message", str(longrepr))
    return "\n".join(own + [message])


SECONDS = pytest.StashKey()
RUNNING = pytest.StashKey()
# Cases of a file that run side by side: most of each is waiting.
AT_ONCE = 6


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Starts all cases that need nothing but the hub and clients of their own, and waits here for this one."""
    if not needs_only_clients(pyfuncitem):
        return None
    session = pyfuncitem.session
    if RUNNING not in session.stash:
        hub = pyfuncitem.funcargs["hub"]
        hub.reader.of("nobody")  # one reader for all of them
        pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
        items = [item for item in session.items if needs_only_clients(item) and hub.reaches(column_of(item))]
        session.stash[RUNNING] = {item.nodeid: pool.submit(play, item.function, hub, column_of(item)) for item in items}
    session.stash[RUNNING][pyfuncitem.nodeid].result()
    return True


def needs_only_clients(item):
    return set(item._fixtureinfo.argnames) == {"hub", "devices"}


def play(case, hub, column):
    from devices import Devices

    devices = Devices(hub, column)
    try:
        case(hub, devices)
    finally:
        devices.close()


@pytest.fixture(scope="session")
def hub():
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture(autouse=True)
def reachable(hub, column):
    """Skips what this SDK cannot reach on the ports that the hub could bind."""
    if not hub.reaches(column):
        pytest.skip(UNREACHABLE)


@pytest.fixture
def devices(hub, column):
    """Makes identities and clients of the column's SDK; closes the clients after the case."""
    from devices import Devices

    devices = Devices(hub, column)
    yield devices
    devices.close()
