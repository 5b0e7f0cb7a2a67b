"""Runs Microsoft's unmodified SDKs against local hubs, and holds docs/sdks.md to what they did.

Usage (scripts/test sdks does all of it):
  scripts/hub-net .venv/sdks/bin/python tests/sdks/run.py [PART...] [-k WORDS] [--write-table] [--list] [--keep]

A part is one file of cases with a hub of its own. Parts run side by side in a private network, one after the other
where there is none. The last line is `N passed, N failed, N skipped`; the exit code is 1 if anything failed.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import certificates
import features
import table
from hubs import Hub, Restarts, localhost_place, private_place

HERE = pathlib.Path(__file__).resolve().parent
PART_MAY_TAKE = 900


@dataclasses.dataclass(frozen=True)
class Part:
    """One file of cases, the columns of the table it fills, and what its hub is started with."""

    name: str
    language: str
    file: str
    columns: tuple
    hub: tuple = ()

    def cells(self):
        """The cells of the table that it may fill."""
        return [(row, column) for row, column in features.cells() if column in self.columns]


PYTHON_SYNC = ("py-mqtt", "py-mqtt-ws")
PYTHON_ASYNC = ("py-aio-mqtt", "py-aio-mqtt-ws")
NODE = ("node-mqtt", "node-mqtt-ws", "node-amqp", "node-amqp-ws", "node-http")
# The longest first, so that the last to end is a short one.
PARTS = [
    Part("devices-py", "python", "test_devices.py", PYTHON_SYNC),
    Part("devices-py-aio", "python", "test_devices.py", PYTHON_ASYNC),
    Part("devices-node", "node", "devices.test.mjs", NODE),
    Part("service-py", "python", "test_service.py", ("py-service",)),
    Part("service-node", "node", "service.test.mjs", ("node-service",)),
    Part("events-py", "python", "test_events.py", ("py-events",)),
    Part("events-node", "node", "events.test.mjs", ("node-events",)),
    Part("faults-py", "python", "test_faults.py", PYTHON_SYNC + PYTHON_ASYNC),
    Part("faults-node", "node", "faults.test.mjs", NODE),
    Part("quota-py", "python", "test_quota.py", PYTHON_SYNC + PYTHON_ASYNC + ("py-service",), ("--tier", "F1")),
    Part("quota-node", "node", "quota.test.mjs", NODE + ("node-service",), ("--tier", "F1")),
    Part("restart-py", "python", "test_restart.py", PYTHON_SYNC + PYTHON_ASYNC),
    Part("restart-node", "node", "restart.test.mjs", NODE),
    Part("outage-node", "node", "outage.test.mjs", NODE),
]


def main():
    arguments = parse()
    parts = [part for part in PARTS if not arguments.parts or part.name in arguments.parts]
    private = os.environ.get("HUB_NET") == "private"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hubward-sdks-"))
    certificates.write(folder / "certificates")
    started = time.monotonic()
    try:
        # Waiting for answers is most of the work, so more parts than cores run at once.
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs if private else 1) as pool:
            run = lambda part: run_part(part, folder, private, arguments)
            outcomes = [one for part in pool.map(run, parts) for one in part]
        whole = not arguments.parts and not arguments.k
        code = report(outcomes, whole, arguments)
        print(f"tests/sdks took {time.monotonic() - started:.0f} s")
        return code
    finally:
        if arguments.keep:
            print(f"logs and data are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(part.name for part in PARTS))
    parser.add_argument("-k", metavar="WORDS", default="", help="only cases whose `row [column]` contains one of these words")
    parser.add_argument("--jobs", type=int, default=5, help="parts at once (default 5)")
    parser.add_argument("--write-table", action="store_true", help="write docs/sdks.md from this run")
    parser.add_argument("--list", action="store_true", help="print each case as it ends")
    parser.add_argument("--keep", action="store_true", help="keep the hubs' logs and data, and name the folder")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - {part.name for part in PARTS}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return arguments


def run_part(part, folder, private, arguments):
    """Runs one part against a hub of its own, and gives the outcomes of its cases."""
    place = private_place(PARTS.index(part) + 1) if private else localhost_place()
    own = folder / part.name
    results = own / "results.jsonl"
    hub = Hub(place, own, part.hub)
    results.touch()
    log = own / "cases.log"
    started = time.monotonic()
    trouble = []
    taken = None if private else place.taken_port()
    if taken:
        why = f"port {taken} of 127.0.0.1 is taken; stop what listens there, or allow network namespaces"
        return [{"part": part.name, "row": "", "column": "", "outcome": "skipped", "why": why}]
    try:
        hub.start()
        with Restarts(hub):
            trouble += run_cases(part, hub, results, log, folder, arguments)
    except RuntimeError as error:
        trouble.append(str(error))
    if hub.process:
        code = hub.stop()
        if code != 0:
            trouble.append(f"the hub ended with {code}\n{hub.log_end()}")
    outcomes = [json.loads(line) for line in results.read_text().splitlines()]
    for outcome in outcomes:
        outcome["part"] = part.name
        if arguments.list or outcome["outcome"] == "failed":
            print(f"{outcome['outcome']:7} {outcome['row']} [{outcome['column']}] {outcome.get('seconds', 0):.1f} s")
            if outcome["outcome"] == "failed":
                print("        " + outcome["why"].replace("\n", "\n        "))
    if trouble:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.exists() else ""
        outcomes.append({"part": part.name, "row": "", "column": "", "outcome": "failed", "why": "\n".join(trouble)})
        print(f"failed  part {part.name}: " + "\n".join(trouble) + f"\n{tail}")
    counts = {kind: sum(o["outcome"] == kind for o in outcomes) for kind in ("passed", "failed", "skipped")}
    print(
        f"{part.name}: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"
        f" in {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return outcomes


def run_cases(part, hub, results, log, folder, arguments):
    """Runs the file of cases; gives what went wrong beside the cases themselves."""
    ca = hub.info["ca_file"]
    environment = {
        **os.environ,
        "SDKS_HUB": str(hub.folder / "hub.json"),
        "SDKS_PLACE": json.dumps(dataclasses.asdict(hub.place)),
        "SDKS_FOLDER": str(hub.folder),
        "SDKS_RESULTS": str(results),
        "SDKS_COLUMNS": ",".join(part.columns),
        "SDKS_ONLY": arguments.k,
        "SDKS_CERTIFICATES": str(folder / "certificates"),
        # uamqp and the Python device SDK read the first, requests the second, Node the third.
        "SSL_CERT_FILE": ca,
        "REQUESTS_CA_BUNDLE": ca,
        "NODE_EXTRA_CA_CERTS": ca,
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if part.language == "python":
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", f"python/{part.file}"]
    else:
        environment["SDKS_CELLS"] = json.dumps(part.cells())
        command = ["node", f"node/{part.file}"]
    with open(log, "wb") as output:
        try:
            run = subprocess.run(
                command, cwd=HERE, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                timeout=PART_MAY_TAKE,
            )
        except subprocess.TimeoutExpired:
            return [f"{part.file} did not end within {PART_MAY_TAKE} s"]
    failures = sum(json.loads(line)["outcome"] == "failed" for line in results.read_text().splitlines())
    if run.returncode != 0 and not failures and not (arguments.k and run.returncode == 5):
        return [f"{' '.join(command)} exited {run.returncode}"]
    if not arguments.k and not results.read_text():
        return [f"{part.file} ran no case"]
    return []


def report(outcomes, whole, arguments):
    """Prints the sums; compares or writes the table when everything ran."""
    problems = features.problems(outcomes, whole)
    ran = {kind: sum(o["outcome"] == kind for o in outcomes) for kind in ("passed", "failed", "skipped")}
    if arguments.write_table:
        if ran["failed"] or ran["skipped"] or not whole:
            problems.append("docs/sdks.md was not written: that takes a run of everything without failure or skip")
        else:
            table.write(outcomes)
            print(f"wrote {table.PATH}")
    elif whole and not ran["failed"]:
        problems += table.differences()
    reasons = sorted({o["why"] for o in outcomes if o["outcome"] == "skipped"})
    for reason in reasons:
        count = sum(o["outcome"] == "skipped" and o["why"] == reason for o in outcomes)
        print(f"NOT RUN: {count} of tests/sdks: {reason}")
    for problem in problems:
        print(f"failed  {problem}")
    rows = len({o["row"] for o in outcomes if o["row"]})
    print(f"{rows} behaviours")
    print(f"{ran['passed']} passed, {ran['failed'] + len(problems)} failed, {ran['skipped']} skipped")
    return 1 if ran["failed"] or problems else 0


if __name__ == "__main__":
    sys.exit(main())
