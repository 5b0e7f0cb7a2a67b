#!/usr/bin/env python3
"""Asks a running server everything its OpenAPI document allows, and much that it does not, and checks the answers.

schemathesis makes the requests: examples, the limits of every field, random ones. What is asked depends on SEED alone (the
number of requests is bounded, not the time), so a failure comes again: SEED=N scripts/test api.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

SEED = os.environ.get("SEED", "20261122")
EXAMPLES = os.environ.get("EXAMPLES", "10")
# Seconds that anything which should happen soon may take.
PATIENCE = 60
# Streams of events have no end.
ENDLESS = ["/api/v1/events"]
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
    "negative_data_rejection",
]


def start(hubward, folder):
    ports = folder / "ports.json"
    log = open(folder / "server.log", "wb")
    server = subprocess.Popen(
        [hubward, "up", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", folder / "data",
         "--port-file", ports, "--log", "warn"],
        stdout=log, stderr=log)
    deadline = time.monotonic() + PATIENCE
    while not ports.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit("the server did not start:\n" + (folder / "server.log").read_text())
        time.sleep(0.05)
    return server, json.loads(ports.read_text())["http"]


def ask(url, token, method, path, body):
    request = urllib.request.Request(
        url + path, method=method, data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def main():
    hubward = os.environ["TEST_HUBWARD"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        server, url = start(hubward, folder)
        try:
            token = json.loads((folder / "data.admin.json").read_text())["token"]
            # Lists with something in them.
            for name in ["kitchen", "cellar"]:
                ask(url, token, "POST", "/api/v1/devices", {"name": name})
            ask(url, token, "POST", "/api/v1/users", {"name": "ann", "password": "a long password"})
            ask(url, token, "POST", "/api/v1/tokens", {"name": "ci", "scopes": ["read"]})
            print(f"seed {SEED}, {EXAMPLES} examples for each operation", flush=True)
            command = [
                str(pathlib.Path(sys.executable).with_name("schemathesis")),
                "--config-file", str(pathlib.Path(__file__).with_name("schemathesis.toml")),
                "run", url + "/api/openapi.json",
                "--header", f"Authorization: Bearer {token}",
                "--seed", SEED, "--max-examples", EXAMPLES, "--phases", "examples,coverage,fuzzing",
                "--checks", ",".join(CHECKS), "--workers", "1", "--continue-on-failure",
                "--request-timeout", "60", "--suppress-health-check", "all", "--warnings", "off",
                "--generation-database", "none",
            ]
            for path in ENDLESS:
                command += ["--exclude-path", path]
            done = subprocess.run(command, cwd=folder, check=False)
            if server.poll() is not None:
                sys.exit("the server ended:\n" + (folder / "server.log").read_text())
            log = (folder / "server.log").read_text()
            if "panicked" in log or token in log:
                sys.exit("the log tells of a panic or of a secret:\n" + log)
            return done.returncode
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=PATIENCE)


sys.exit(main())
