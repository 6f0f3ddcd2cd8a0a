"""The window gauges of replicas, and the gauges that the published results imply.

Gauges that show what results do not hold as it is are left to the snapshots of `tests/telemetry`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from tests.harness.scrape import Scrape

_VERDICTS = ("ok", "warning", "drift", "misfit", "insufficient", "incomplete")
_SCORES = ("p_value", "js_divergence", "noise_floor")
_OTHERS = ("slow_drift_ratio", "events", "end_timestamp_seconds", "verdict", "cluster_ratio")
_COMPARED = {f"driftgauge_window_{name}" for name in (*_SCORES, *_OTHERS)}

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its labels, as sorted pairs."""
Samples = dict[Series, float]


def compare_gauges(
    scrapes: Iterable[Scrape], final: Mapping[Any, dict[str, Any]]
) -> dict[Series, tuple[list[float], list[float]]]:
    """Return for each series the values that the replicas show and those that the last results imply."""
    expected = expected_gauges(final)
    shown: defaultdict[Series, list[float]] = defaultdict(list)
    for scrape in scrapes:
        for series, value in scrape.samples.items():
            if series[0] in _COMPARED:
                shown[series].append(value)
    return {
        series: (shown[series], [expected[series]] if series in expected else [])
        for series in sorted(expected.keys() | shown.keys())
    }


def expected_gauges(final: Mapping[Any, dict[str, Any]]) -> Samples:
    """Return the samples that the last results imply, by stream, size and start, without the wall time."""
    newest = {(stream, window): record for (stream, window, _), record in sorted(final.items())}
    samples: Samples = {}
    for record in newest.values():
        of_window = {"stream": record["stream"], "window": record["window"]}
        for name, labels, value in _values(record):
            # A value that was not scored has no series.
            if value is not None:
                series = f"driftgauge_window_{name}", tuple(sorted({**of_window, **labels}.items()))
                samples[series] = float(value)
    return samples


def _values(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, str], float | None]]:
    for name in _SCORES:
        yield name, {}, record[name]
    if (slow := record["slow_drift"]) is not None:
        yield "slow_drift_ratio", {}, slow["statistic"] / slow["limit"]
    yield "events", {}, record["count"]
    yield "end_timestamp_seconds", {}, datetime.fromisoformat(record["end"]).timestamp()
    for verdict in _VERDICTS:
        yield "verdict", {"verdict": verdict}, verdict == record["verdict"]
    for cluster in record["clusters"]:
        labels = {"cluster_id": str(cluster["id"]), "name": cluster["name"] or ""}
        yield "cluster_ratio", labels, cluster["share"]
