"""Builders of reports: of results in memory, and of files of results."""

from pathlib import Path
from typing import Any

import orjson

from driftgauge.page.results import Results
from driftgauge.page.service_watch import ServiceWatch
from driftgauge.report.document import Report, build_report
from driftgauge.report.reading import Material
from tests.builders.clocks import MINUTE_MS, MONDAY_MS
from tests.builders.page import EVERY_STREAM, MadeResults, build_settings, record_tree

STREAM = "resnet18-fc1"


def report_on(results: Results, notes: tuple[str, ...] = (), **asked: Any) -> Report:
    """Return the report of results in memory, made a minute after the first was published.

    `asked` are those of `build_report`; the `watch`; and the `settings`, or those of every stream and the
    `page`.
    """
    settings = asked.pop("settings", None) or build_settings(
        asked.pop("streams", [{"name": STREAM}, *EVERY_STREAM]), **asked.pop("page", {})
    )
    watch = asked.pop("watch", None) or ServiceWatch()
    material = Material(results, "the window results in a.jsonl", notes, watch)
    asked = {"stream": None, "size_ms": None, "at_ms": None} | asked
    return build_report(material, settings, made_ms=MONDAY_MS + MINUTE_MS, **asked)


def results_of(*verdicts: str, **changes: Any) -> MadeResults:
    """Return results of one hour after another with these verdicts, and no segments in one that is ok."""
    results = MadeResults()
    for number, verdict in enumerate(verdicts):
        results.publish(number, verdict, **({"segments": []} if verdict == "ok" else {}), **changes)
    return results


def write_results(path: Path, *verdicts: str, **changes: Any) -> Path:
    """Write results of one hour after another as lines of JSON."""
    lines = [orjson.dumps(record_tree(number, verdict, **changes)) for number, verdict in enumerate(verdicts)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path
