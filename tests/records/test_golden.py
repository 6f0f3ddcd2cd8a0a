"""Every golden record of the internal formats can be read, and the newest are what this version writes."""

import base64
import json
from typing import Any

import pytest

from driftgauge.records.changelog_records import decode
from driftgauge.records.heartbeat import decode_heartbeat
from driftgauge.records.partials import decode_part
from tests.tools.golden import FORMATS, golden_files, golden_records, to_json

FILES = [
    pytest.param(form, path, id=f"{form}-{path.stem}") for form in FORMATS for path in golden_files(form)
]


def held(expected: Any, found: Any) -> Any:
    """Return what was found, without the fields of records that were added after the expected ones."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return {name: held(each, found.get(name)) for name, each in expected.items()}
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [held(*pair) for pair in zip(expected, found, strict=True)]
    return found


@pytest.mark.parametrize(("form", "path"), FILES)
def test_golden_records_are_read(form, path):
    records = json.loads(path.read_text("utf-8"))
    assert records
    for record in records.values():
        value = base64.b64decode(record["value"])
        if form != "changelog":
            found: Any = {"partial": decode_part, "heartbeat": decode_heartbeat}[form](value)
        else:
            _, found = decode(record["key"].encode(), value)
        assert held(record["holds"], to_json(found)) == record["holds"]


@pytest.mark.parametrize("form", FORMATS)
def test_newest_golden_records_are_as_this_version_writes(form):
    newest = json.loads(golden_files(form)[-1].read_text("utf-8"))
    assert newest == json.loads(json.dumps(golden_records(form))), (
        "a format changed: read schemas/README.md, then run python -m tests.tools.golden"
    )
