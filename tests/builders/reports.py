"""Builders of reports: of results in memory, and of files of results."""

from pathlib import Path
from typing import Any

import orjson

from driftgauge.report.contents import Report, build_report
from driftgauge.report.reading import Material
from tests.builders.page import MadeResults, build_settings, record_tree

STREAM = "resnet18-fc1"


def report_on(results: MadeResults, notes: tuple[str, ...] = (), **asked: Any) -> Report:
    """Return the report of results in memory.

    `asked` are `stream`, `size_ms` and `at_ms`; the settings of the `page`; and whether it `is_replay`.
    """
    settings = build_settings([{"name": STREAM}], **asked.pop("page", {}))
    material = Material(
        results, "the window results in a.jsonl", notes, is_replay=asked.pop("is_replay", False)
    )
    asked = {"stream": None, "size_ms": None, "at_ms": None} | asked
    return build_report(material, settings, **asked)


def report_of(*verdicts: str, **asked: Any) -> Report:
    """Return the report of one hour after another with these verdicts, asked as in `report_on`."""
    results = MadeResults()
    for number, verdict in enumerate(verdicts):
        results.publish(number, verdict)
    return report_on(results, **asked)


def write_results(path: Path, *verdicts: str, **changes: Any) -> Path:
    """Write results of one hour after another as lines of JSON."""
    lines = [orjson.dumps(record_tree(number, verdict, **changes)) for number, verdict in enumerate(verdicts)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path
