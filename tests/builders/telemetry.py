"""Builders of telemetry, watched streams and shards with published results, and readers of metrics."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import StreamLabels
from driftgauge.core.counting.partial import shard_of
from driftgauge.core.judging.calibration import Measuring
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import (
    PaneCounts,
    PaneKey,
    PositionKey,
    PublishedKey,
    ShardPosition,
    StreamKey,
    StreamStatus,
)
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.shard import ShardState
from driftgauge.errors import TransactionFailed
from driftgauge.events.outcomes import CommitOutcomes, RecordLoss
from driftgauge.events.rejection import Reason
from driftgauge.records.mark import Mark
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.telemetry.snapshot import WatchedStream
from tests.builders.batches import AWAY, HOME
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS, ManualClock
from tests.builders.references import build_reference
from tests.builders.results import (
    CONFIDENCE,
    build_description,
    build_number,
    build_result,
    build_score,
    build_segment,
    build_small_segment,
)
from tests.builders.specs import DEFAULTS, build_schedule, build_spec
from tests.harness.scrape import Scrape

EVENTS, PARTIALS, CHANGELOG = "embeddings", "driftgauge.partials.4", "driftgauge.changelog.4"
SHARDS = 4
IMAGES = shard_of("images", SHARDS)
"""The shard of the stream `images`; the stream `texts` is in another one."""
SEGMENTS = (build_segment("de"), build_small_segment("other"))
BOTH = (Role.COUNT, Role.WINDOWS)
CLUSTER_NAMES = ("cats", 'truck, "auto\\mobile"', None, "cats")
REFERENCE = build_reference(baseline_id="sha256:abc")


def build_configured_spec(name: str, *later: tuple[int, Reference]) -> StreamSpec:
    """Return a stream whose first baseline is followed by `later`, as (from_ms, reference)."""
    baselines = build_schedule(*later, first=REFERENCE)
    return build_spec(name, baselines=baselines, numbers=(CONFIDENCE,), **DEFAULTS)


NO_LABELS = StreamLabels()


def build_watched(
    name: str = "images",
    *later: tuple[int, Reference],
    labels: StreamLabels = NO_LABELS,
    overdue_ms: int | None = None,
) -> WatchedStream:
    """Return the exported configuration of a stream; the first baseline alone has model version and names."""
    spec = build_configured_spec(name, *later)
    descriptions = {REFERENCE.baseline_id: build_description(*CLUSTER_NAMES, model_version="v7")}
    delay_ms = spec.disorder_ms + max(spec.idle_ms, spec.incomplete_ms)
    return WatchedStream(spec, descriptions, labels, lambda size_ms: overdue_ms or 2 * size_ms + delay_ms)


LABELS = StreamLabels(owner="ada@example.com", team="search", severity="critical")
STREAMS = build_watched("images"), build_watched("texts", labels=LABELS, overdue_ms=43_200_000)


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


def build_shard(
    *published: WindowResult,
    stream: str = "images",
    panes: Sequence[int] = (),
    chain: tuple[int, int, int] = (0, 0, 0),
    matches: Sequence[str] = (),
    **status: Any,
) -> ShardState:
    """Return a shard restored with results of any streams, and with hourly panes and a status of one stream.

    Args:
        published: The results.
        stream: The stream of panes and status.
        panes: The starts of the panes, event time, ms.
        chain: The numbers of gaps, overlaps and orphans.
        matches: The patterns of further entries.
        status: Fields of the stream's status.
    """
    specs = [build_configured_spec(name) for name in ("images", "texts", *matches)]
    state = ShardState(specs, (EVENTS,), SHARDS)
    gaps, overlaps, orphans = chain
    state.restore(PositionKey(), ShardPosition(SHARDS, 7, 0, {}, gaps, overlaps, orphans))
    for result in published:
        state.restore(PublishedKey(result.stream, result.window), result)
    for start_ms in panes:
        values = PaneCounts(np.ones(7, dtype=np.int64))
        state.restore(PaneKey(stream, "scheme", Window(HOUR_MS, start_ms)), values)
    if status:
        state.restore(StreamKey(stream), StreamStatus(**status))
    return state


def show_busy_shard(telemetry: Telemetry) -> None:
    """Let the role windows hold and export the shard of `images`, with a series of every window gauge."""
    state = build_shard(
        build_result(
            missing=(HOME,),
            published_ms=DAY_MS * 2,
            score=build_score(
                (10, 20, 30, 40),
                kind="novelty",
                novelty=Novelty(0.05, 0.04, 1e-4, np.array([0.0, 0.03, 0.01, 0.0])),
            ),
        ),
        build_result(
            size_ms=DAY_MS,
            segments=SEGMENTS,
            published_ms=DAY_MS * 2,
            measuring=Measuring(0, 14 * DAY_MS),
            numbers={"confidence": build_number((0.5,), (0.75, 1.5), baseline=((1.0,), (0.75, 0.25)))},
        ),
        panes=[DAY_MS * 2],
        matches=["clip-*"],
        watermark_ms=DAY_MS * 2 - 30_000,
    )
    windows = RoleTelemetry(telemetry, Role.WINDOWS, SHARDS)
    windows.shards_held([IMAGES])
    windows.show(IMAGES, state)


def build_busy_telemetry() -> Telemetry:
    """Return a telemetry in which every metric has a series."""
    telemetry = build_telemetry()
    show_busy_shard(telemetry)
    count = RoleTelemetry(telemetry, Role.COUNT, SHARDS)
    held = [HOME, AWAY]
    RoleTelemetry(telemetry, Role.WINDOWS, SHARDS).session_lost("an outage", 0.5, "_TRANSPORT")
    count.assigned(held, held)
    count.started(0.5, held)
    rejected = Counter({(EVENTS, "images", Reason.PAST): 2})
    losses = {HOME: RecordLoss(7, 0)}
    count.counted(CommitOutcomes(Counter(images=100), Counter(images=60), rejected, losses=losses))
    count.partitions_known({EVENTS: 2})
    count.read_to(EVENTS, 0, position=90, end=100)
    count.clock_is_off(120, is_off=False)
    count.stalled({HOME: 50.0})
    count.polled()
    count.committed(unwritable=[(CHANGELOG, 3)])
    count.waiting_for_schema([(EVENTS, 0)])
    count.aborted(TransactionFailed("fenced"))
    telemetry.marked(Mark(time=MONDAY_MS, text="v1"), None)
    telemetry.marked(Mark(time=MONDAY_MS, text="v2"), Mark(time=MONDAY_MS, text="v1"))
    return telemetry


def make_ready(health: Health, *conditions: ReadinessCondition) -> None:
    """Meet these conditions, or all."""
    for condition in conditions or health.conditions:
        health.set_condition(ReadinessCondition(condition), is_met=True)


def registry_of(collector: Collector) -> CollectorRegistry:
    """Return a registry of one collector."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def read_samples(registry: CollectorRegistry, *names: str) -> dict[str, dict[str, float]]:
    """Return what Prometheus reads: name without `driftgauge_` -> values of the labels, by label -> value.

    With `names`, these metrics alone, {} where one has no samples.
    """
    samples: dict[str, dict[str, float]] = {}
    for (name, labels), value in Scrape.parse(generate_latest(registry).decode()).samples.items():
        of_labels = " ".join(label for _, label in labels)
        samples.setdefault(name.removeprefix("driftgauge_"), {})[of_labels] = value
    return {name: samples.get(name, {}) for name in names or samples}


def sample_reader(registry: CollectorRegistry) -> Callable[..., dict[str, dict[str, float]]]:
    """Return a function of metrics' names that reads their samples."""
    return partial(read_samples, registry)


def render_samples(registry: CollectorRegistry) -> str:
    """Return samples as sorted text, six digits of each value; none of buckets or of the machine."""
    return "\n".join(
        f"{name}{{{labels}}} {value:.6g}"
        for name, samples in sorted(read_samples(registry).items())
        if not name.endswith("_bucket") and not name.startswith(("process_", "python_", "memory_limit_"))
        for labels, value in sorted(samples.items())
    )
