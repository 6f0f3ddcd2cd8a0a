"""The service's metrics, and the observer methods by which alone the rest of it is heard."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from driftgauge.core.durations import format_duration
from driftgauge.core.pipeline import StreamSpec
from driftgauge.core.result import WindowResult
from driftgauge.events.rejection import Reason
from driftgauge.telemetry.catalogue import METRICS
from driftgauge.telemetry.registry import Registry
from driftgauge.telemetry.window_collector import WindowCollector

__all__ = ["Stage", "Telemetry", "WatchedStream"]

logger = logging.getLogger(__name__)

# From a poll that found a handful of records to a commit that waits for the broker.
_DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

# The label value of records that name no configured stream.
_NO_STREAM = ""
# `invalid` may come from either side: the stream may be what is invalid, or the only thing that is not.
_REASONS_WITHOUT_STREAM = (Reason.UNDECODABLE, Reason.INVALID, Reason.UNKNOWN_STREAM)
_REASONS_OF_STREAM = tuple(
    reason for reason in Reason if reason not in {Reason.UNDECODABLE, Reason.UNKNOWN_STREAM}
)


class Stage(StrEnum):
    """The stages of a batch that are timed."""

    DECODE = "decode"
    COUNT = "count"
    CLOSE = "close"
    COMMIT = "commit"


@dataclass(frozen=True, slots=True)
class WatchedStream:
    """What is exported of a stream before its first event.

    Attributes:
        spec: How it is watched.
        model_version: The model version its baseline was fitted on; None where it names none.
        baseline_created_ms: When the baseline was fitted, wall time.
    """

    spec: StreamSpec
    model_version: str | None
    baseline_created_ms: int


class Telemetry:
    """Counts, times and logs what the service does; `registry` is what a scrape renders.

    Every method is called per batch or more rarely, never per event, and, but for `logged`, from
    one thread: the consumer's.
    """

    def __init__(self, version: str, streams: Sequence[WatchedStream], topics: Iterable[str]) -> None:
        """Create every metric of the catalogue, counters at 0 for each label set that can occur.

        Args:
            version: The version that runs.
            streams: The configured streams.
            topics: The topics events are read from.
        """
        self.registry = Registry()
        self._sizes_ms = {watched.spec.name: watched.spec.sizes_ms for watched in streams}
        self._held: set[tuple[str, int]] = set()
        self._windows = WindowCollector()
        self.registry.register(self._windows)
        self._create_counters()
        self._create_gauges(topics)
        self._batch_duration = self._histogram("driftgauge_batch_duration_seconds")
        for stage in Stage:
            self._batch_duration.labels(stage)
        self._gauge("driftgauge_build_info").labels(version).set(1)
        self._describe_streams(streams)
        GCCollector(self.registry)
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)

    def _create_counters(self) -> None:
        self._events = self._counter("driftgauge_events_total")
        for reason in _REASONS_WITHOUT_STREAM:
            self._events.labels(_NO_STREAM, reason)
        self._late_events = self._counter("driftgauge_late_events_total")
        self._windows_closed = self._counter("driftgauge_windows_closed_total")
        self._window_revisions = self._counter("driftgauge_window_revisions_total")
        for stream, sizes_ms in self._sizes_ms.items():
            for outcome in ("accepted", "replayed", *_REASONS_OF_STREAM):
                self._events.labels(stream, outcome)
            for window in map(format_duration, sizes_ms):
                self._late_events.labels(stream, window)
                self._windows_closed.labels(stream, window, "scored")
                self._windows_closed.labels(stream, window, "insufficient")
                self._window_revisions.labels(stream, window)
        self._rebalances = self._counter("driftgauge_consumer_rebalances_total")
        for kind in ("assigned", "revoked", "lost"):
            self._rebalances.labels(kind)
        self._commits = self._counter("driftgauge_commits_total")
        for outcome in ("ok", "error"):
            self._commits.labels(outcome)
        self._log_messages = self._counter("driftgauge_log_messages_total")
        for level in _LOG_LEVELS:
            self._log_messages.labels(level)

    def _create_gauges(self, topics: Iterable[str]) -> None:
        self._lag = self._gauge("driftgauge_consumer_lag_messages")
        self._position = self._gauge("driftgauge_consumer_position_offset")
        self._assigned_partitions = self._gauge("driftgauge_consumer_assigned_partitions")
        for topic in topics:
            self._assigned_partitions.labels(topic).set(0)
        self._last_poll = self._gauge("driftgauge_last_poll_timestamp_seconds")

    def _describe_streams(self, streams: Sequence[WatchedStream]) -> None:
        info = self._gauge("driftgauge_baseline_info")
        created = self._gauge("driftgauge_baseline_created_timestamp_seconds")
        cluster_ratio = self._gauge("driftgauge_baseline_cluster_ratio")
        duration = self._gauge("driftgauge_window_duration_seconds")
        min_events = self._gauge("driftgauge_window_min_events")
        for watched in streams:
            spec = watched.spec
            info.labels(spec.name, spec.baseline_id, watched.model_version or "").set(1)
            created.labels(spec.name).set(watched.baseline_created_ms / 1000)
            ratios = spec.baseline_counts / spec.baseline_counts.sum()
            for cluster, ratio in enumerate(ratios.tolist()):
                cluster_ratio.labels(spec.name, cluster).set(ratio)
            for size_ms in spec.sizes_ms:
                duration.labels(spec.name, format_duration(size_ms)).set(size_ms / 1000)
                min_events.labels(spec.name, format_duration(size_ms)).set(spec.min_events)

    def _counter(self, name: str) -> Counter:
        metric = METRICS[name]
        return Counter(metric.name, metric.documentation, metric.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        metric = METRICS[name]
        return Gauge(metric.name, metric.documentation, metric.labels, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        metric = METRICS[name]
        return Histogram(
            metric.name,
            metric.documentation,
            metric.labels,
            registry=self.registry,
            buckets=_DURATION_BUCKETS,
        )

    def accepted(self, stream: str, number: int) -> None:
        """Events of a configured stream were counted for the first time."""
        self._events.labels(stream, "accepted").inc(number)

    def replayed(self, stream: str, number: int) -> None:
        """Events of a configured stream were counted again, to rebuild the windows open at a restart."""
        self._events.labels(stream, "replayed").inc(number)

    def rejected(self, stream: str | None, reason: Reason, number: int) -> None:
        """Records were turned away; a stream that is not configured counts as none."""
        known = stream if stream in self._sizes_ms else _NO_STREAM
        self._events.labels(known, reason).inc(number)

    def late(self, stream: str, size_ms: int, number: int) -> None:
        """Events came when their window of this size was past correction."""
        self._late_events.labels(stream, format_duration(size_ms)).inc(number)

    def closed(self, results: Sequence[WindowResult], closed_ms: int) -> None:
        """Windows were closed or corrected at wall time `closed_ms`, and published.

        One that an earlier run had published is shown, but not counted again.
        """
        if not results:
            return
        self._windows.close(results, closed_ms)
        for result in results:
            if result.repeated:
                continue
            window = format_duration(result.window.size_ms)
            if result.revision == 0:
                outcome = "insufficient" if result.score is None else "scored"
                self._windows_closed.labels(result.stream, window, outcome).inc()
            else:
                self._window_revisions.labels(result.stream, window).inc()
            logger.info(
                "window closed" if result.revision == 0 else "window revised",
                extra={
                    "stream": result.stream,
                    "window": window,
                    "start_ms": result.window.start_ms,
                    "end_ms": result.window.end_ms,
                    "revision": result.revision,
                    "events": result.count,
                    "js_divergence": None if result.score is None else result.score.js_divergence,
                    "noise_floor": None if result.score is None else result.score.noise_floor,
                },
            )

    def advanced(self, watermarks_ms: Mapping[str, int], open_windows: Mapping[tuple[str, int], int]) -> None:
        """Event time came as far as these watermarks; so many windows are held, by stream and size in ms."""
        self._windows.advance(watermarks_ms, open_windows)

    def timed(self, stage: Stage) -> AbstractContextManager[object]:
        """Time a stage of a batch: `with telemetry.timed(Stage.DECODE): ...`."""
        return self._batch_duration.labels(stage).time()

    def polled(self, now_ms: int) -> None:
        """The consumer polled at this wall time."""
        self._last_poll.set(now_ms / 1000)

    def read_to(self, topic: str, partition: int, *, position: int, end: int) -> None:
        """The next record to read of a partition is at `position`, and its log ends at `end`.

        A partition that is not held is passed over: its series would never be moved again.
        """
        if (topic, partition) in self._held:
            self._position.labels(topic, partition).set(position)
            self._lag.labels(topic, partition).set(max(end - position, 0))

    def committed(self) -> None:
        """Offsets were committed."""
        self._commits.labels("ok").inc()

    def commit_failed(self, error: str) -> None:
        """Offsets could not be committed."""
        self._commits.labels("error").inc()
        logger.error("commit failed", extra={"error": error})

    def assigned(self, partitions: Collection[tuple[str, int]]) -> None:
        """These (topic, partition) were added to what is held."""
        self._rebalances.labels("assigned").inc()
        self._hold(self._held | set(partitions))
        logger.info("partitions assigned", extra={"partitions": _name(partitions)})

    def revoked(self, partitions: Collection[tuple[str, int]]) -> None:
        """These (topic, partition) are given up; the window gauges go with them."""
        self._rebalances.labels("revoked").inc()
        self._release(partitions)
        logger.info("partitions revoked", extra={"partitions": _name(partitions)})

    def lost(self, partitions: Collection[tuple[str, int]]) -> None:
        """These (topic, partition) were taken away without notice."""
        self._rebalances.labels("lost").inc()
        self._release(partitions)
        logger.warning("partitions lost", extra={"partitions": _name(partitions)})

    def logged(self, level: int) -> None:
        """A message was logged at this level of the standard library; any thread."""
        self._log_messages.labels(_LOG_LEVELS[min(max(level // 10, 1), len(_LOG_LEVELS)) - 1]).inc()

    def _release(self, partitions: Collection[tuple[str, int]]) -> None:
        # Window gauges are sums over all partitions: without one of them they are frozen or wrong.
        self._windows.clear()
        for topic, partition in partitions:
            self._position.remove(topic, partition)
            self._lag.remove(topic, partition)
        self._hold(self._held - set(partitions))

    def _hold(self, partitions: set[tuple[str, int]]) -> None:
        for topic in {topic for topic, _ in self._held | partitions}:
            self._assigned_partitions.labels(topic).set(sum(held == topic for held, _ in partitions))
        self._held = partitions


def _name(partitions: Collection[tuple[str, int]]) -> list[str]:
    return [f"{topic}[{partition}]" for topic, partition in sorted(partitions)]
