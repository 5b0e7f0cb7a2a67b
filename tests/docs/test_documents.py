"""The shell blocks of README.md and docs/ do what the text says, in the order they stand there.

Blocks of one document run in one shell, in an empty folder, with `hubward` on the path. An HTML comment before a block
says what is special about it: `<!-- leave running -->` starts it and waits until the server listens (`<!-- leave running: PORT -->`:
until something listens there); `<!-- not run: why -->` skips it (it needs Azure, a board, another machine, or the repository itself).
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("TEST_HUBWARD") or ROOT / "target" / "debug" / "hubward")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (?P<note>[^>]*?) -->\s*)?^(?P<indent> *)```sh\n(?P<text>.*?)^ *```$", re.M | re.S)
PATIENCE = 60.0


def blocks(document):
    for match in BLOCK.finditer(document.read_text()):
        indent = match["indent"]
        text = "\n".join(line.removeprefix(indent) for line in match["text"].splitlines())
        yield match["note"] or "", text


def with_blocks_to_run():
    for document in DOCUMENTS:
        if any(not note.startswith("not run:") for note, _ in blocks(document)):
            yield pytest.param(document, id=str(document.relative_to(ROOT)))


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until_started(process, port, files, log):
    """The files appear when everything listens; commands that a reader types a moment later need them."""
    deadline = time.monotonic() + PATIENCE
    while not (listens(port) and all(file.exists() for file in files)):
        assert process.poll() is None, f"it ended: {log.read_text()}"
        assert time.monotonic() < deadline, f"nothing listens on {port}, or not all of {files} exist: {log.read_text()}"
        time.sleep(0.05)


def files_of(command, folder):
    """What a server writes once it has started: its port file, if it is told to, and what the commands use."""
    files = [folder / name for name in re.findall(r"--port-file (\S+)", command)]
    return files + [folder / "hubward-data.admin.json"] if command.startswith("hubward up") else files


@pytest.mark.parametrize("document", list(with_blocks_to_run()))
def test_shell_blocks_run_as_they_stand(document, tmp_path):
    environment = {**os.environ, "PATH": f"{BINARY.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    environment = {key: value for key, value in environment.items() if not key.startswith("HUBWARD_")}
    running = []
    script = ["set -eu"]
    try:
        for note, text in blocks(document):
            if note.startswith("not run:"):
                continue
            if note.startswith("leave running"):
                port = int(note.removeprefix("leave running").lstrip(": ") or 1883)
                log = tmp_path / "background.log"
                with open(log, "wb") as output:
                    process = subprocess.Popen(
                        ["bash", "-c", f"exec {text.strip()}"], cwd=tmp_path, env=environment,
                        stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    )
                running.append((process, log))
                wait_until_started(process, port, files_of(text.strip(), tmp_path), log)
                continue
            assert note == "", f"{document.name}: unknown note {note!r}"
            script.append(text)
        run = subprocess.run(
            ["bash", "-c", "\n".join(script)], cwd=tmp_path, env=environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        )
        logs = "\n".join(log.read_text() for _, log in running)
        assert run.returncode == 0, f"{run.stdout}\n{run.stderr}\n{logs}"
    finally:
        for process, _ in running:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=PATIENCE)


def test_every_document_that_is_linked_exists():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links {target}, which is not there"


def test_every_test_that_a_document_names_exists():
    for document in DOCUMENTS:
        for target in re.findall(r"`((?:tests|crates)/[\w./-]+\.(?:rs|py))`", document.read_text()):
            assert (ROOT / target).exists(), f"{document.name} names {target}, which is not there"
