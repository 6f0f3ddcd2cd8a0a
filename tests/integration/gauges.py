"""What a replica's gauges say, and what those of the newest windows must say by the results."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from driftgauge.demo.scrape import Scrape
from driftgauge.telemetry.catalogue import METRICS, Kind
from tests.integration.case import WindowKey

_CONFIGURED = {"driftgauge_window_duration_seconds", "driftgauge_window_min_events"}
_MEASURED = {
    name
    for name, metric in METRICS.items()
    if name.startswith("driftgauge_window_") and metric.kind is Kind.GAUGE
} - _CONFIGURED
# Results do not say when they were published.
_CLOSED = "driftgauge_window_closed_timestamp_seconds"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def window_gauges(scrape: Scrape) -> Samples:
    """Every sample that a replica shows of closed windows; none where its table is stale."""
    return {series: value for series, value in scrape.samples.items() if series[0] in _MEASURED}


def held_partitions(scrape: Scrape) -> set[int]:
    """The partitions that a replica counts."""
    return {
        int(dict(labels)["partition"])
        for name, labels in scrape.samples
        if name == "driftgauge_consumer_position_offset"
    }


def without_wall_time(samples: Samples) -> Samples:
    return {series: value for series, value in samples.items() if series[0] != _CLOSED}


def gauges_of(final: Mapping[WindowKey, dict[str, Any]]) -> Samples:
    """Every sample but the wall time, as the last results of all windows ask for."""
    newest = {(stream, window): record for (stream, window, _), record in sorted(final.items())}
    samples: Samples = {}
    for record in newest.values():
        of_window = {"stream": record["stream"], "window": record["window"]}
        for name, labels, value in _values(record):
            # What was not scored has no series.
            if value is not None:
                series = f"driftgauge_window_{name}", tuple(sorted({**of_window, **labels}.items()))
                samples[series] = float(value)
    return samples


def _values(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, str], float | None]]:
    for name in ("js_divergence", "js_distance", "noise_floor", "revision", "events_lost"):
        yield name, {}, record[name]
    yield "events", {}, record["count"]
    yield "complete", {}, not record["incomplete"]
    yield "end_timestamp_seconds", {}, datetime.fromisoformat(record["end"]).timestamp()
    for missing in record["incomplete"]:
        yield "missing_partition", {"topic": missing["topic"], "partition": str(missing["partition"])}, 1
    for cluster in record["clusters"]:
        labels = {"cluster": str(cluster["id"])}
        yield "cluster_ratio", labels, cluster["share"]
        yield "cluster_js_contribution", labels, cluster["js_contribution"]
