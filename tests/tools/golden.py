"""Writes the golden records of the internal formats and the golden baseline: `python -m tests.tools.golden`.

From the first release on, a released version's file stays as it is, and a later version gets one of its own.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from driftgauge.records.changelog_records import encode_value
from driftgauge.records.heartbeat import encode_heartbeat
from tests.builders.changelog_records import GOLDEN
from tests.builders.events import SCHEMAS
from tests.builders.heartbeats import HEARTBEAT
from tests.builders.partial_records import PART, RECORD
from tests.output import say
from tests.tools.golden_baseline import to_json, write_baseline

__all__ = ["FORMATS", "golden_files", "golden_records", "to_json"]

VERSION = "0.1"
FORMATS = ("changelog", "heartbeat", "partial")


def golden_files(form: str) -> list[Path]:
    """Return the files of golden records of a format, the earliest version first."""
    return sorted(
        (SCHEMAS / "golden" / form).glob("*.json"), key=lambda path: [*map(int, path.stem.split("."))]
    )


def golden_records(form: str) -> dict[str, dict[str, Any]]:
    """Return one record of each kind of a format, as this version writes and reads it."""
    if form == "heartbeat":
        (value,) = encode_heartbeat(HEARTBEAT)
        return {"heartbeat": {"value": _text(value), "holds": to_json(HEARTBEAT)}}
    if form == "partial":
        return {"part": {"value": _text(RECORD), "holds": to_json(PART)}}
    return {
        kind: {"key": key.decode(), "value": _text(encode_value(value)), "holds": to_json(value)}
        for kind, (_, value, key) in GOLDEN.items()
    }


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _write() -> Iterator[Path]:
    for form in FORMATS:
        path = SCHEMAS / "golden" / form / f"{VERSION}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(golden_records(form), ensure_ascii=False, indent=1) + "\n", "utf-8")
        yield path
    yield write_baseline(VERSION)


if __name__ == "__main__":
    for written in _write():
        say(str(written.relative_to(SCHEMAS.parent)))
