"""docs/sdks.md, as a run writes it and as later runs find it."""

import difflib
import pathlib

import features

PATH = pathlib.Path(__file__).resolve().parents[2] / "docs" / "sdks.md"

HEAD = """# Microsoft's SDKs on the local hub

<!-- Written by `make sdks-table`; `make test` fails when a run says something else. Do not edit. -->

`make test` runs Microsoft's own packages, unmodified, against `hubward local-hub`, each case over the network as a
program of yours would. This table is what that run found. **pass**: the case passed. A number: there is no such case,
for the reason below the table. Rows under *Refused* and *Cut off* pass when the SDK reports the refusal as an error.

To run it: `scripts/test sdks`. How to point your own program at the hub: [local-hub.md](local-hub.md).
"""

VERSIONS = """## Versions

| package | version |
|---|---|
"""


def differences():
    """How docs/sdks.md differs from what a run finds in which no case failed. What could not run here says nothing."""
    try:
        committed = PATH.read_text()
    except OSError as error:
        return [f"docs/sdks.md cannot be read ({error}); run: make sdks-table"]
    fresh = text({cell: "passed" for cell in features.cells()})
    if fresh == committed:
        return []
    lines = difflib.unified_diff(committed.splitlines(), fresh.splitlines(), "docs/sdks.md", "this run", lineterm="", n=0)
    return ["docs/sdks.md is not what this run found; run: make sdks-table\n" + "\n".join(lines)]


def write(outcomes):
    """Writes docs/sdks.md."""
    PATH.write_text(text({(o["row"], o["column"]): o["outcome"] for o in outcomes if o["row"]}))


def text(seen):
    """The document for what was seen: {(row, column): outcome}."""
    parts = [HEAD]
    for table in features.TABLES:
        parts.append(one(table, seen))
    parts.append(VERSIONS + "".join(f"| {name} | {version} |\n" for name, version in versions()))
    return "\n".join(parts)


def one(table, seen):
    lines = [f"## {table.title}", "", "| | " + " | ".join(column.title for column in table.columns) + " |"]
    lines.append("|---|" + "---|" * len(table.columns))
    notes = []
    for section, rows in table.sections.items():
        lines.append(f"| **{section}** |" + " |" * len(table.columns))
        for row, what in rows.items():
            cells = [cell(row, column.id, seen, notes) for column in table.columns]
            lines.append(f"| {what} | " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"{number}. {reason}" for number, reason in enumerate(notes, 1)]
    return "\n".join(lines).rstrip() + "\n"


def cell(row, column, seen, notes):
    reason = features.WITHOUT.get(row, {}).get(column)
    if reason:
        if reason not in notes:
            notes.append(reason)
        return f"({notes.index(reason) + 1})"
    return {"passed": "pass", None: "not run"}.get(seen.get((row, column)), "fails")


def versions():
    """The packages as pinned, Microsoft's only."""
    import json

    here = pathlib.Path(__file__).resolve().parent
    for line in (here / "requirements.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        if name in ("azure-iot-device", "azure-iot-hub", "azure-eventhub", "uamqp"):
            yield f"Python {name}", version
    for name, version in json.loads((here / "package.json").read_text())["dependencies"].items():
        yield f"Node {name}", version
