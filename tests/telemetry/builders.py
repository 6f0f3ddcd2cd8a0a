"""What the telemetry's tests are made of: streams of four clusters, watched by the hour and the day."""

import numpy as np

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
from driftgauge.core.windows.result import Verdict
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
"""The shard of the stream `images`; that of `texts` is another one."""
SEGMENTS = (build_segment("de"), build_small_segment("other"))
BOTH = (Role.COUNT, Role.WINDOWS)


class Time:
    """A clock that stands still until a test moves it."""

    def __init__(self):
        self.wall_ms = 0
        self.monotonic_s = 1_000.0
        self.clock = Clock(lambda: self.wall_ms, lambda: self.monotonic_s)


def build_reference(baseline_id="sha256:abc", counts=BASELINE_COUNTS):
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


def build_spec(name="images", *later):
    """A stream; after the first baseline come those given as (from_ms, reference)."""
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


def build_watched(name="images", *later, severity="warning", overdue_ms=None):
    spec = build_spec(name, *later)
    versions = ("v7", None)
    baselines = (
        WatchedBaseline(scheduled.reference, version, FITTED_MS)
        for scheduled, version in zip(spec.baselines, versions, strict=False)
    )
    return WatchedStream(spec, tuple(baselines), severity, overdue_ms)


def build_telemetry(*names, health=None, roles=BOTH, time=None, streams=None):
    return Telemetry(
        "0.1.0",
        [build_watched(name) for name in names or ("images",)] if streams is None else streams,
        [EVENTS],
        PARTIALS,
        health or Health(roles, SYSTEM_CLOCK),
        roles,
        (time or Time()).clock,
    )


def build_result(counts=(10, 20, 30, 40), *, stream="images", size_ms=HOUR_MS, number=1, **changes):
    """A window's result; it is scored if it has 20 events. `number` counts windows since the epoch.

    Where it is a revision, the one before said the same unless `superseded` says otherwise.
    """
    incomplete = {**INCOMPLETE, "incomplete_reason": "partitions_missing"} if changes.get("missing") else {}
    fields = NOT_SCORED if sum(counts) < 20 else incomplete
    fields = {**fields, **changes}
    verdict = fields.get("verdict", Verdict.OK)
    fields.setdefault("superseded", verdict if fields.get("revision") else None)
    return results.build_result(Window(size_ms, number * size_ms), counts, stream=stream, **fields)


def build_shard(*published, stream="images", panes=(), chain=(0, 0, 0), specs=None, **status):
    """A shard that was restored with results of any streams, and panes of an hour and a status of one."""
    state = ShardState(specs or [build_spec("images"), build_spec("texts")], (EVENTS,), SHARDS)
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


def build_busy_shard():
    """A shard of one stream, so that no gauge of windows is without a series."""
    return build_shard(
        build_result(missing=((EVENTS, 0),), published_ms=DAY_MS * 2),
        build_result(size_ms=DAY_MS, segments=SEGMENTS, published_ms=DAY_MS * 2),
        panes=[DAY_MS * 2],
        watermark_ms=DAY_MS * 2 - 30_000,
    )


def show_busy_shard(telemetry):
    """Let the role `windows` hold the shard of `images`, and show it."""
    windows = RoleTelemetry(telemetry, Role.WINDOWS, SHARDS)
    windows.shards_held([IMAGES])
    windows.show(IMAGES, build_busy_shard())


def build_busy_telemetry():
    """A telemetry on which every observer method has been called, so that no family is empty."""
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
    count.aborted("fenced")
    return telemetry


def make_ready(health, *conditions):
    """Say that these conditions are met, or all."""
    for condition in conditions or health.conditions:
        health.set_condition(ReadinessCondition(condition), is_met=True)


def families(telemetry):
    return {family.name: family for family in telemetry.registry.collect()}
