"""The window gauges of replicas, and the gauges that the published results imply."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from math import copysign, inf
from typing import Any

from driftgauge.config.stream import SmallestDrift
from driftgauge.telemetry.metrics import METRICS
from tests.harness.scrape import Scrape

_KINDS = {
    "mix": "js_divergence",
    "shift": "mean_shift",
    "novelty": "novelty",
    "spread": "spread",
    "duplicates": "duplicates",
    "relations": "relations",
    "detail": "minor_shift",
}
_VERDICTS = ("ok", "warning", "drift", "misfit", "insufficient", "incomplete")
_MEASURED = {
    name
    for name, metric in METRICS.items()
    if name.startswith("driftgauge_window_") and metric.type == "gauge"
} - {
    # One is of the configuration, and results do not hold their time of publication.
    "driftgauge_window_overdue_threshold_seconds",
    "driftgauge_window_closed_timestamp_seconds",
}

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
            if series[0] in _MEASURED:
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
    for name in ("p_value", "js_divergence", "noise_floor"):
        yield name, {}, record[name]
    for found in (record["findings"] or {}).values():
        yield "excess", {"kind": found["kind"]}, found["excess"]
    yield from _kinds(record)
    for kind, name in _KINDS.items():
        found = record["detectable"]
        if found is None or name in found:
            size = None if found is None else found[name]
            smallest = getattr(SmallestDrift(), name)
            yield "detectable_ratio", {"kind": kind}, inf if size is None else size / smallest
    if (slow := record["slow_drift"]) is not None:
        yield "slow_drift_ratio", {}, slow["statistic"] / slow["limit"]
    yield "events", {}, record["count"]
    yield "end_timestamp_seconds", {}, datetime.fromisoformat(record["end"]).timestamp()
    for verdict in _VERDICTS:
        yield "verdict", {"verdict": verdict}, verdict == record["verdict"]
    for missing in record["incomplete"]:
        yield "missing_partition", {"topic": missing["topic"], "partition": str(missing["partition"])}, 1
    for cluster in record["clusters"]:
        labels = _of_cluster(cluster)
        yield "cluster_ratio", labels, cluster["share"]
        # It is negative if the cluster's share has fallen, and None if it was not scored.
        part, rise = cluster["js_contribution"], cluster["share"] - cluster["baseline_share"]
        yield (
            "cluster_contribution",
            {**labels, "kind": "mix"},
            None if part is None else copysign(part, rise),
        )
    for segment in record["segments"]:
        labels = {"segment": segment["key"], "value": segment["value"]}
        for verdict in _VERDICTS:
            yield "segment_verdict", {**labels, "verdict": verdict}, verdict == segment["verdict"]


def _kinds(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, str], float | None]]:
    if record["kind"] == "novelty":
        parts = [cluster["novelty_contribution"] for cluster in record["clusters"]]
        main = parts.index(max(parts))
        if parts[main] > max(sum(parts) / 2, 0):
            labels = {**_of_cluster(record["clusters"][main]), "kind": "novelty"}
            yield "cluster_contribution", labels, parts[main]
    if record["kind"] is not None:
        for kind, share in record["evidence"].items():
            yield "evidence_ratio", {"kind": kind}, share


def _of_cluster(cluster: dict[str, Any]) -> dict[str, str]:
    return {"cluster_id": str(cluster["id"]), "name": cluster["name"] or ""}
