"""What the telemetry's tests are made of: one stream of four clusters, watched by the hour and the day."""

import numpy as np

from driftgauge.core.counting.assignment import Centroids, Metric
from driftgauge.core.counting.projection import Projection
from driftgauge.core.reference import Reference
from driftgauge.core.result import Verdict
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec
from driftgauge.core.state import (
    Change,
    PaneKey,
    Progress,
    ProgressKey,
    PublishedKey,
    StreamProgress,
)
from driftgauge.core.table import Table
from driftgauge.core.windows.window import Window
from driftgauge.telemetry.health import Health
from driftgauge.telemetry.metrics import Telemetry, WatchedStream
from tests import results
from tests.results import BASELINE_COUNTS, INCOMPLETE, NOT_SCORED, build_segment, build_small_segment

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
HOME = "embeddings", 0
SEGMENTS = (build_segment("de"), build_small_segment("other"))


def build_spec(name="images"):
    reference = Reference(
        baseline_id="sha256:abc",
        centroids=Centroids(np.eye(4, dtype=np.float32), Metric.EUCLIDEAN),
        counts=BASELINE_COUNTS,
        radii=np.ones(4, dtype=np.float32),
        projection=Projection(np.zeros(4), np.eye(2, 4, dtype=np.float32), np.array([0.24, 0.21])),
        dependence=None,
        dependence_ms=None,
        segments=(),
    )
    return StreamSpec(
        name=name,
        baselines=(ScheduledBaseline(reference),),
        sizes_ms=(HOUR_MS, DAY_MS),
        disorder_ms=30_000,
        lateness_ms=600_000,
        idle_ms=60_000,
        incomplete_ms=300_000,
        give_up_ms=3_600_000,
        min_events=20,
        alarm=Alarm(level=0.001, js_divergence=0.01, mean_shift=0.05),
    )


def fresh_health():
    """A health whose clock stands still, so that a table that was seen once stays fresh."""
    health = Health(lambda: 0)
    health.refreshed()
    return health


def build_telemetry(*names, health=None, severity="warning", overdue_ms=None):
    streams = [
        WatchedStream(build_spec(name), "v7", 1_700_000_000_500, severity, overdue_ms)
        for name in names or ("images",)
    ]
    return Telemetry("0.1.0", streams, ["embeddings"], health or fresh_health())


def build_result(counts=(10, 20, 30, 40), *, stream="images", size_ms=HOUR_MS, number=1, **changes):
    """A window's result; it is scored if it has 20 events. `number` counts windows since the epoch.

    Where it is a revision, the one before said the same unless `superseded` says otherwise.
    """
    fields = NOT_SCORED if sum(counts) < 20 else INCOMPLETE if changes.get("missing") else {}
    fields = {**fields, **changes}
    verdict = fields.get("verdict", Verdict.OK)
    fields.setdefault("superseded", verdict if fields.get("revision") else None)
    return results.build_result(Window(size_ms, number * size_ms), counts, stream=stream, **fields)


def publish(table, counts=(10, 20, 30, 40), *, home=HOME, **changes):
    """Bring a window into the table as the owner of its stream's home would; as `build_result`."""
    result = build_result(counts, **changes)
    table.apply(Change(home, PublishedKey(result.stream, result.window), result))


def reach(table, newest_ms, *, stream="images", partition=HOME):
    """Say that a partition has come to an event time of the stream."""
    table.apply(Change(partition, ProgressKey(), Progress(0, {stream: StreamProgress(newest_ms=newest_ms)})))


def count(table, start_ms, *, stream="images", partition=HOME):
    """Bring in a pane of an hour that holds events."""
    table.apply(
        Change(partition, PaneKey(stream, "abc", Window(HOUR_MS, start_ms)), np.ones(7, dtype=np.int64))
    )


def busy_table():
    """A table of one partition, held there by one stream, so that no gauge of windows is without a series."""
    table = Table()
    table.expect([HOME])
    publish(table, missing=(HOME,), published_ms=DAY_MS * 2)
    publish(table, size_ms=DAY_MS, segments=SEGMENTS, published_ms=DAY_MS * 2)
    reach(table, DAY_MS * 2)
    count(table, DAY_MS * 2)
    return table


def busy_telemetry():
    """A telemetry on which every observer method has been called, so that no family is empty."""
    telemetry = build_telemetry()
    telemetry.assigned([("embeddings", 0), ("embeddings", 1)])
    telemetry.restored(0.5, lost={("embeddings", 0): 7}, stopped={("embeddings", 1): "it does not fit"})
    telemetry.accepted("images", 100)
    telemetry.closed([build_result(), build_result(size_ms=DAY_MS)])
    telemetry.show(busy_table())
    telemetry.partitions_known({"embeddings": 2})
    telemetry.read_to("embeddings", 0, position=90, end=100)
    telemetry.polled(DAY_MS * 2)
    telemetry.committed()
    telemetry.aborted("fenced")
    telemetry.session_lost("an outage", 0.5)
    return telemetry


def families(telemetry):
    return {family.name: family for family in telemetry.registry.collect()}
