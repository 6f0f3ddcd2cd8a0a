"""Builders for the telemetry's tests: streams of four clusters with windows of an hour and a day."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from driftgauge.clock import SYSTEM_CLOCK, Clock
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.partial import shard_of
from driftgauge.core.counting.projection import Projection
from driftgauge.core.reference import Reference
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec
from driftgauge.core.windows.changelog import (
    PaneKey,
    PositionKey,
    PublishedKey,
    ShardPosition,
    StreamKey,
    StreamStatus,
)
from driftgauge.core.windows.result import Verdict, WindowResult
from driftgauge.core.windows.shard import ShardState
from driftgauge.core.windows.window import Window
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.telemetry.snapshot import WatchedBaseline, WatchedStream
from tests import results
from tests.results import BASELINE_COUNTS, INCOMPLETE, NOT_SCORED, build_segment, build_small_segment

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
FITTED_MS = 1_700_000_000_500
EVENTS, PARTIALS, CHANGELOG = "embeddings", "driftgauge.partials.4", "driftgauge.changelog.4"
SHARDS = 4
IMAGES = shard_of("images", SHARDS)
"""The shard of the stream `images`; the stream `texts` is in another one."""
SEGMENTS = (build_segment("de"), build_small_segment("other"))
BOTH = (Role.COUNT, Role.WINDOWS)


HOURLY = {"stream": "images", "window": "1h"}
DAILY = {"stream": "images", "window": "1d"}
HOME, AWAY = (EVENTS, 0), (EVENTS, 1)


class ManualClock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.wall_ms = 0
        self.monotonic_s = 1_000.0
        self.clock = Clock(lambda: self.wall_ms, lambda: self.monotonic_s)

    def advance(self, seconds: float) -> None:
        """Advance the monotonic clock."""
        self.monotonic_s += seconds


def build_reference(baseline_id: str = "sha256:abc", counts: Sequence[int] = BASELINE_COUNTS) -> Reference:
    """Return the reference of a baseline whose centroids are the unit vectors."""
    return Reference(
        baseline_id=baseline_id,
        centroids=Centroids(np.eye(4, dtype=np.float32), DistanceMetric.EUCLIDEAN),
        counts=np.array(counts, dtype=np.int64),
        radii=np.ones(4, dtype=np.float32),
        projection=Projection(np.zeros(4), np.eye(2, 4, dtype=np.float32), np.array([0.24, 0.21])),
        overdispersion=None,
        overdispersion_ms=None,
        segments=(),
    )


REFERENCE = build_reference()


def build_spec(name: str = "images", *later: tuple[int, Reference]) -> StreamSpec:
    """Return a stream whose first baseline is followed by `later`, as (from_ms, reference)."""
    return StreamSpec(
        name=name,
        baselines=(
            ScheduledBaseline(REFERENCE),
            *(ScheduledBaseline(reference, from_ms) for from_ms, reference in later),
        ),
        sizes_ms=(HOUR_MS, DAY_MS),
        disorder_ms=30_000,
        lateness_ms=600_000,
        idle_ms=60_000,
        incomplete_ms=300_000,
        give_up_ms=3_600_000,
        min_events=20,
        alarm=Alarm(level=0.001, js_divergence=0.01, mean_shift=0.05),
    )


def build_watched(
    name: str = "images",
    *later: tuple[int, Reference],
    severity: str = "warning",
    overdue_ms: int | None = None,
) -> WatchedStream:
    """Return the exported configuration of a stream; only the first baseline names a model version."""
    spec = build_spec(name, *later)
    versions = ("v7", None)
    baselines = (
        WatchedBaseline(scheduled.reference, version, FITTED_MS)
        for scheduled, version in zip(spec.baselines, versions, strict=False)
    )
    return WatchedStream(spec, tuple(baselines), severity, overdue_ms)


STREAMS = build_watched("images"), build_watched("texts", severity="critical", overdue_ms=43_200_000)


def build_telemetry(
    *names: str,
    health: Health | None = None,
    roles: Sequence[Role] = BOTH,
    clock: ManualClock | None = None,
) -> Telemetry:
    """Return the telemetry of a service with the named streams, or with `images`."""
    return Telemetry(
        "0.1.0",
        [build_watched(name) for name in names or ("images",)],
        [EVENTS],
        PARTIALS,
        health or Health(roles, SYSTEM_CLOCK),
        roles,
        (clock or ManualClock()).clock,
    )


def build_result(
    counts: Sequence[int] = (10, 20, 30, 40),
    *,
    stream: str = "images",
    size_ms: int = HOUR_MS,
    number: int = 1,
    **changes: Any,
) -> WindowResult:
    """Return a window's result, scored from 20 events on; `number` counts windows since the epoch.

    A revision supersedes the same verdict unless `superseded` is given.
    """
    incomplete = {**INCOMPLETE, "incomplete_reason": "partitions_missing"} if changes.get("missing") else {}
    fields = NOT_SCORED if sum(counts) < 20 else incomplete
    fields = {**fields, **changes}
    verdict = fields.get("verdict", Verdict.OK)
    fields.setdefault("superseded", verdict if fields.get("revision") else None)
    return results.build_result(Window(size_ms, number * size_ms), counts, stream=stream, **fields)


def build_shard(
    *published: WindowResult,
    stream: str = "images",
    panes: Sequence[int] = (),
    chain: tuple[int, int, int] = (0, 0, 0),
    **status: Any,
) -> ShardState:
    """Return a shard restored with results of any streams, and with hourly panes and a status of one stream.

    Args:
        published: The results.
        stream: The stream of panes and status.
        panes: The starts of the panes, event time, ms.
        chain: The numbers of gaps, overlaps and orphans.
        status: Fields of the stream's status.
    """
    state = ShardState([build_spec("images"), build_spec("texts")], (EVENTS,), SHARDS)
    gaps, overlaps, orphans = chain
    state.restore(PositionKey(), ShardPosition(SHARDS, 7, 0, "writer", {}, gaps, overlaps, orphans))
    for result in published:
        state.restore(PublishedKey(result.stream, result.window), result)
    for start_ms in panes:
        values = np.ones(7, dtype=np.int64)
        state.restore(PaneKey(stream, "scheme", Window(HOUR_MS, start_ms)), values)
    if status:
        state.restore(StreamKey(stream), StreamStatus(**status))
    return state


def build_busy_shard() -> ShardState:
    """Return a shard for which every window gauge has a series."""
    return build_shard(
        build_result(missing=((EVENTS, 0),), published_ms=DAY_MS * 2),
        build_result(size_ms=DAY_MS, segments=SEGMENTS, published_ms=DAY_MS * 2),
        panes=[DAY_MS * 2],
        watermark_ms=DAY_MS * 2 - 30_000,
    )


def show_busy_shard(telemetry: Telemetry) -> None:
    """Let the role windows hold and export the shard of `images`."""
    windows = RoleTelemetry(telemetry, Role.WINDOWS, SHARDS)
    windows.shards_held([IMAGES])
    windows.show(IMAGES, build_busy_shard())


def build_busy_telemetry() -> Telemetry:
    """Return a telemetry in which every metric has a series."""
    telemetry = build_telemetry()
    show_busy_shard(telemetry)
    count = RoleTelemetry(telemetry, Role.COUNT, SHARDS)
    held = [(EVENTS, 0), (EVENTS, 1)]
    count.session_lost("an outage", 0.5)
    count.assigned(held, held)
    count.restored(0.5, held)
    count.counted({"images": 100}, {}, {EVENTS: 7})
    count.partitions_known({EVENTS: 2})
    count.read_to(EVENTS, 0, position=90, end=100)
    count.clock_is_off(120, is_off=False)
    count.stalled({(EVENTS, 0): 50.0})
    count.polled()
    count.committed(unwritable=[(CHANGELOG, 3)])
    count.waiting_for_schema([(EVENTS, 0)])
    count.aborted("fenced")
    return telemetry


def make_ready(health: Health, *conditions: ReadinessCondition) -> None:
    """Meet these conditions, or all."""
    for condition in conditions or health.conditions:
        health.set_condition(ReadinessCondition(condition), is_met=True)


def families(telemetry: Telemetry) -> dict[str, MetricFamily]:
    """Return the collected families by name."""
    return {family.name: family for family in telemetry.registry.collect()}


def sample_reader(registry: CollectorRegistry) -> Callable[..., float | None]:
    """Return a function of a metric's name, without `driftgauge_`, and labels; None for absent series."""
    return lambda name, **labels: registry.get_sample_value(f"driftgauge_{name}", labels)


def collector_reader(collector: Collector) -> Callable[..., float | None]:
    """Return a `sample_reader` for one collector."""
    registry = CollectorRegistry()
    registry.register(collector)
    return sample_reader(registry)


def exported_samples(collector: Collector) -> list[Sample]:
    """Return all samples of a collector."""
    return [sample for family in collector.collect() for sample in family.samples]


def exported_names(collector: Collector) -> set[str]:
    """Return the names of all samples of a collector."""
    return {sample.name for sample in exported_samples(collector)}
