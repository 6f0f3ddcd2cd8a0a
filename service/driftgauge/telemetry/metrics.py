"""The service's metrics, and the observer methods by which alone the rest of it is heard."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from driftgauge.core.durations import format_duration
from driftgauge.core.partition import Partition
from driftgauge.core.result import Verdict, WindowResult
from driftgauge.core.spec import StreamSpec
from driftgauge.core.table import Table
from driftgauge.events.rejection import Reason
from driftgauge.telemetry.catalogue import METRICS
from driftgauge.telemetry.health import Condition, Health
from driftgauge.telemetry.registry import Registry
from driftgauge.telemetry.window_collector import WindowCollector

__all__ = ["Stage", "Telemetry", "WatchedStream"]

logger = logging.getLogger(__name__)

# From a poll that found a handful of records to a commit that waits for the broker.
_DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# From a table that is known already to the end of a dead replica's transaction.
_RESTORE_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)

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
    FOLLOW = "follow"
    SHOW = "show"


@dataclass(frozen=True, slots=True)
class WatchedStream:
    """What is exported of a stream before its first event.

    Attributes:
        spec: How it is watched.
        model_version: The model version its baseline was fitted on; None where it names none.
        baseline_created_ms: When the baseline was fitted, wall time.
        drift_severity: How urgent drift is: critical, warning or info.
        overdue_ms: How long after a window was closed the next one is overdue; None: as `StreamSpec` has it.
    """

    spec: StreamSpec
    model_version: str | None
    baseline_created_ms: int
    drift_severity: str
    overdue_ms: int | None = None


class Telemetry:
    """Counts, times and logs what the service does; `registry` is what a scrape renders.

    Every method is called per batch or more rarely, never per event, and, but for `logged`, from
    one thread: the consumer's.
    """

    def __init__(
        self,
        version: str,
        streams: Sequence[WatchedStream],
        topics: Sequence[str],
        health: Health,
    ) -> None:
        """Create every metric of the catalogue, counters at 0 for each label set that can occur.

        Args:
            version: The version that runs.
            streams: The configured streams.
            topics: The topics events are read from.
            health: Tells what holds; what was shown of windows is not exported while it is not up to date.
        """
        self.registry = Registry()
        self._specs = {watched.spec.name: watched.spec for watched in streams}
        self._held: set[Partition] = set()
        self._windows = WindowCollector(health.is_fresh)
        self.registry.register(self._windows)
        self._create_counters(topics)
        self._create_gauges(topics)
        self._describe_health(health)
        self._batch_duration = self._histogram("driftgauge_batch_duration_seconds", _DURATION_BUCKETS)
        for stage in Stage:
            self._batch_duration.labels(stage)
        self._restore_duration = self._histogram("driftgauge_restore_duration_seconds", _RESTORE_BUCKETS)
        self._gauge("driftgauge_build_info").labels(version).set(1)
        self._describe_streams(streams)
        GCCollector(self.registry)
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)

    def _create_counters(self, topics: Iterable[str]) -> None:
        self._events = self._counter("driftgauge_events_total")
        for reason in _REASONS_WITHOUT_STREAM:
            self._events.labels(_NO_STREAM, reason)
        self._late_events = self._counter("driftgauge_late_events_total")
        self._windows_closed = self._counter("driftgauge_windows_closed_total")
        self._window_revisions = self._counter("driftgauge_window_revisions_total")
        for stream, spec in self._specs.items():
            for outcome in ("accepted", *_REASONS_OF_STREAM):
                self._events.labels(stream, outcome)
            for window in map(format_duration, spec.sizes_ms):
                self._late_events.labels(stream, window)
                for verdict in Verdict:
                    self._windows_closed.labels(stream, window, verdict)
                self._window_revisions.labels(stream, window)
        self._rebalances = self._counter("driftgauge_consumer_rebalances_total")
        for kind in ("assigned", "revoked", "lost"):
            self._rebalances.labels(kind)
        self._commits = self._counter("driftgauge_commits_total")
        for outcome in ("ok", "aborted"):
            self._commits.labels(outcome)
        self._sessions_lost = self._counter("driftgauge_sessions_lost_total")
        self._records_lost = self._counter("driftgauge_records_lost_total")
        for topic in topics:
            self._records_lost.labels(topic)
        self._log_messages = self._counter("driftgauge_log_messages_total")
        for level in _LOG_LEVELS:
            self._log_messages.labels(level)

    def _create_gauges(self, topics: Iterable[str]) -> None:
        self._lag = self._gauge("driftgauge_consumer_lag_messages")
        self._position = self._gauge("driftgauge_consumer_position_offset")
        self._assigned_partitions = self._gauge("driftgauge_consumer_assigned_partitions")
        self._stopped_partitions = self._gauge("driftgauge_consumer_stopped_partitions")
        for topic in topics:
            self._assigned_partitions.labels(topic).set(0)
            self._stopped_partitions.labels(topic).set(0)
        self._topic_partitions = self._gauge("driftgauge_topic_partitions")
        self._last_poll = self._gauge("driftgauge_last_poll_timestamp_seconds")

    def _describe_health(self, health: Health) -> None:
        ready = self._gauge("driftgauge_ready")
        for condition in Condition:
            ready.labels(condition).set_function(partial(_holds, health, condition))

    def _describe_streams(self, streams: Sequence[WatchedStream]) -> None:
        info = self._gauge("driftgauge_baseline_info")
        created = self._gauge("driftgauge_baseline_created_timestamp_seconds")
        cluster_ratio = self._gauge("driftgauge_baseline_cluster_ratio")
        duration = self._gauge("driftgauge_window_duration_seconds")
        min_events = self._gauge("driftgauge_window_min_events")
        overdue = self._gauge("driftgauge_window_overdue_seconds")
        alarm_p_value = self._gauge("driftgauge_alarm_p_value")
        alarm_js_excess = self._gauge("driftgauge_alarm_js_excess")
        alarm_mean_shift_excess = self._gauge("driftgauge_alarm_mean_shift_excess")
        severity = self._gauge("driftgauge_alarm_severity_info")
        for watched in streams:
            spec = watched.spec
            info.labels(spec.name, spec.reference.baseline_id, watched.model_version or "").set(1)
            created.labels(spec.name).set(watched.baseline_created_ms / 1000)
            alarm_p_value.labels(spec.name).set(spec.whole_level)
            alarm_js_excess.labels(spec.name).set(spec.alarm.js_excess_floor)
            alarm_mean_shift_excess.labels(spec.name).set(spec.alarm.mean_shift_excess_floor)
            severity.labels(spec.name, watched.drift_severity).set(1)
            ratios = spec.reference.counts / spec.reference.counts.sum()
            for cluster, ratio in enumerate(ratios.tolist()):
                cluster_ratio.labels(spec.name, cluster).set(ratio)
            for size_ms in spec.sizes_ms:
                duration.labels(spec.name, format_duration(size_ms)).set(size_ms / 1000)
                min_events.labels(spec.name, format_duration(size_ms)).set(spec.min_events)
                overdue_ms = watched.overdue_ms or spec.overdue_ms(size_ms)
                overdue.labels(spec.name, format_duration(size_ms)).set(overdue_ms / 1000)

    def _counter(self, name: str) -> Counter:
        metric = METRICS[name]
        return Counter(metric.name, metric.documentation, metric.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        metric = METRICS[name]
        return Gauge(metric.name, metric.documentation, metric.labels, registry=self.registry)

    def _histogram(self, name: str, buckets: Sequence[float]) -> Histogram:
        metric = METRICS[name]
        return Histogram(
            metric.name,
            metric.documentation,
            metric.labels,
            registry=self.registry,
            buckets=buckets,
        )

    def accepted(self, stream: str, number: int) -> None:
        """Events of a configured stream were counted."""
        self._events.labels(stream, "accepted").inc(number)

    def rejected(self, stream: str | None, reason: Reason, number: int) -> None:
        """Records were turned away; a stream that is not configured counts as none."""
        known = stream if stream in self._specs else _NO_STREAM
        self._events.labels(known, reason).inc(number)

    def late(self, stream: str, size_ms: int, number: int) -> None:
        """Events came when their window of this size was past correction."""
        self._late_events.labels(stream, format_duration(size_ms)).inc(number)

    def records_lost(self, topic: str, number: int) -> None:
        """Records were no longer kept when they were to be read."""
        self._records_lost.labels(topic).inc(number)

    def closed(self, results: Iterable[WindowResult]) -> None:
        """These windows were closed or corrected by this replica, and published."""
        for result in results:
            window = format_duration(result.window.size_ms)
            if result.verdict is not result.superseded:
                self._windows_closed.labels(result.stream, window, result.verdict).inc()
            if result.revision:
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
                    "verdict": result.verdict,
                    "js_divergence": None if result.score is None else result.score.js_divergence,
                    "noise_floor": None if result.score is None else result.score.noise_floor,
                    "p_value": None if result.score is None else result.score.p_value,
                    "missing": _name(result.missing),
                    "events_lost": result.events_lost,
                },
            )

    def show(self, table: Table) -> None:
        """Show what the whole group has come to, by the table; the same on every replica."""
        self._windows.show(table, self._specs.values())

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

    def partitions_known(self, numbers: Mapping[str, int]) -> None:
        """Each topic has so many partitions."""
        for topic, number in numbers.items():
            self._topic_partitions.labels(topic).set(number)

    def committed(self) -> None:
        """A transaction was committed."""
        self._commits.labels("ok").inc()

    def aborted(self, error: str) -> None:
        """A transaction was aborted; what it held is counted again."""
        self._commits.labels("aborted").inc()
        logger.warning("transaction aborted", extra={"error": error})

    def session_lost(self, error: str, pause_s: float) -> None:
        """The Kafka clients could do no more, and are made anew after a pause."""
        self._sessions_lost.inc()
        logger.error("session lost, beginning anew", extra={"error": error, "pause_s": pause_s})

    def restored(
        self, waited_s: float, lost: Mapping[Partition, int], stopped: Mapping[Partition, str]
    ) -> None:
        """What was assigned goes on from where it was committed, but for what the log no longer keeps."""
        if self._held:
            self._restore_duration.observe(waited_s)
        for topic in {topic for topic, _ in self._held}:
            self._stopped_partitions.labels(topic).set(sum(at[0] == topic for at in stopped))
        for (topic, partition), number in lost.items():
            logger.error(
                "records are no longer kept that were to be read; windows that they touch are marked",
                extra={"topic": topic, "partition": partition, "lost": number},
            )
        for (topic, partition), reason in stopped.items():
            logger.error(
                "partition stopped", extra={"topic": topic, "partition": partition, "reason": reason}
            )
        logger.info("restored", extra={"partitions": len(self._held), "waited_s": round(waited_s, 3)})

    def assigned(self, partitions: Collection[tuple[str, int]]) -> None:
        """These (topic, partition) were added to what is held."""
        self._rebalances.labels("assigned").inc()
        self._hold(self._held | set(partitions))
        logger.info("partitions assigned", extra={"partitions": _name(partitions)})

    def revoked(self, partitions: Collection[tuple[str, int]]) -> None:
        """These (topic, partition) are given up."""
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
        for topic, partition in partitions:
            self._position.remove(topic, partition)
            self._lag.remove(topic, partition)
            self._stopped_partitions.labels(topic).set(0)
        self._hold(self._held - set(partitions))

    def _hold(self, partitions: set[tuple[str, int]]) -> None:
        for topic in {topic for topic, _ in self._held | partitions}:
            self._assigned_partitions.labels(topic).set(sum(held == topic for held, _ in partitions))
        self._held = partitions


def _holds(health: Health, condition: Condition) -> float:
    return float(condition not in health.missing())


def _name(partitions: Collection[tuple[str, int]]) -> list[str]:
    return [f"{topic}[{partition}]" for topic, partition in sorted(partitions)]
