"""The service's metrics: created from the catalogue, moved by the observers of the roles."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from driftgauge.clock import Clock
from driftgauge.core.durations import format_duration
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.events.rejection import Reason
from driftgauge.telemetry.catalogue import METRICS
from driftgauge.telemetry.health import Condition, Health, Role
from driftgauge.telemetry.registry import Registry
from driftgauge.telemetry.window_collector import WindowCollector

__all__ = ["NO_STREAM", "Telemetry", "WatchedBaseline", "WatchedStream"]

# From a poll that found a handful of records to a commit that waits for the broker.
_DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# From offsets that are known at once to the end of a dead replica's transaction.
_RESTORE_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)

_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
_STAGES = {Role.COUNT: ("decode", "count", "commit"), Role.WINDOWS: ("apply", "close", "write")}

NO_STREAM = ""
"""The label value of records that name no configured stream."""

# `invalid` may come from either side: the stream may be what is invalid, or the only thing that is not.
_REASONS_WITHOUT_STREAM = (Reason.UNDECODABLE, Reason.INVALID, Reason.UNKNOWN_STREAM)
_REASONS_OF_STREAM = tuple(
    reason for reason in Reason if reason not in {Reason.UNDECODABLE, Reason.UNKNOWN_STREAM}
)


@dataclass(frozen=True, slots=True)
class WatchedBaseline:
    """What is exported of a baseline while it is in force.

    Attributes:
        reference: What the stream is compared with.
        model_version: The model version it was fitted on; None where it names none.
        created_ms: When it was fitted, wall time.
    """

    reference: Reference
    model_version: str | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class WatchedStream:
    """What is exported of a stream before its first event.

    Attributes:
        spec: How it is watched.
        baselines: Its baselines.
        drift_severity: How urgent drift is: critical, warning or info.
        overdue_ms: How long after a window was closed the next one is overdue; None: as `StreamSpec` has it.
    """

    spec: StreamSpec
    baselines: tuple[WatchedBaseline, ...]
    drift_severity: str
    overdue_ms: int | None = None


class Telemetry:
    """Every metric of the catalogue; `registry` is what a scrape renders."""

    def __init__(
        self,
        version: str,
        streams: Sequence[WatchedStream],
        topics: Sequence[str],
        shards_topic: str,
        health: Health,
        roles: Collection[Role],
        clock: Clock,
    ) -> None:
        """Create the metrics, counters at 0 for each label set that can occur.

        Args:
            version: The version that runs.
            streams: The configured streams.
            topics: The topics events are read from.
            shards_topic: The topic whose partitions are the shards.
            health: Tells which conditions hold.
            roles: What the process does.
            clock: The clock.
        """
        self.registry = Registry()
        self.health = health
        self.clock = clock
        self.streams = tuple(watched.spec for watched in streams)
        self.windows = WindowCollector(clock.monotonic_s)
        self.registry.register(self.windows)
        self.registry.register(_Baselines(streams, clock.wall_ms))
        read = [*(topics if Role.COUNT in roles else ()), *((shards_topic,) if Role.WINDOWS in roles else ())]
        self._create_counters(topics, roles)
        self._create_gauges(read, roles)
        ready = self._gauge("driftgauge_ready")
        for condition in health.conditions:
            ready.labels(condition).set_function(partial(_holds, health, condition))
        self._gauge("driftgauge_build_info").labels(version).set(1)
        self._describe_streams(streams)
        GCCollector(self.registry)
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)

    def logged(self, level: int) -> None:
        """A message was logged at this level of the standard library; any thread."""
        self._log_messages.labels(_LOG_LEVELS[min(max(level // 10, 1), len(_LOG_LEVELS)) - 1]).inc()

    def _create_counters(self, topics: Iterable[str], roles: Collection[Role]) -> None:
        self.events = self._counter("driftgauge_events_total")
        self.rebalances = self._counter("driftgauge_consumer_rebalances_total")
        self.commits = self._counter("driftgauge_commits_total")
        self.sessions_lost = self._counter("driftgauge_sessions_lost_total")
        self.records_lost = self._counter("driftgauge_records_lost_total")
        for role in roles:
            for kind in ("assigned", "revoked", "lost"):
                self.rebalances.labels(role, kind)
            for outcome in ("ok", "aborted"):
                self.commits.labels(role, outcome)
            self.sessions_lost.labels(role)
        if Role.COUNT in roles:
            for reason in _REASONS_WITHOUT_STREAM:
                self.events.labels(NO_STREAM, reason)
            for spec in self.streams:
                for outcome in ("accepted", *_REASONS_OF_STREAM):
                    self.events.labels(spec.name, outcome)
            for topic in topics:
                self.records_lost.labels(topic)
        self._log_messages = self._counter("driftgauge_log_messages_total")
        for level in _LOG_LEVELS:
            self._log_messages.labels(level)

    def _create_gauges(self, read: Iterable[str], roles: Collection[Role]) -> None:
        self.lag = self._gauge("driftgauge_consumer_lag_messages")
        self.position = self._gauge("driftgauge_consumer_position_offset")
        self.assigned_partitions = self._gauge("driftgauge_consumer_assigned_partitions")
        self.stopped_partitions = self._gauge("driftgauge_consumer_stopped_partitions")
        for topic in read:
            self.assigned_partitions.labels(topic).set(0)
            self.stopped_partitions.labels(topic).set(0)
        self.topic_partitions = self._gauge("driftgauge_topic_partitions")
        self.last_poll = self._gauge("driftgauge_last_poll_timestamp_seconds")
        self.clock_offset = self._gauge("driftgauge_clock_offset_seconds")
        self.stalled = self._gauge("driftgauge_stable_offset_stalled_seconds")
        self.unwritable = self._gauge("driftgauge_unwritable_partitions")
        self.batch_duration = self._histogram("driftgauge_batch_duration_seconds", _DURATION_BUCKETS)
        self.restore_duration = self._histogram("driftgauge_restore_duration_seconds", _RESTORE_BUCKETS)
        for role in roles:
            self.last_poll.labels(role)
            self.restore_duration.labels(role)
            for stage in _STAGES[role]:
                self.batch_duration.labels(stage)

    def _describe_streams(self, streams: Sequence[WatchedStream]) -> None:
        duration = self._gauge("driftgauge_window_duration_seconds")
        min_events = self._gauge("driftgauge_window_min_events")
        overdue = self._gauge("driftgauge_window_overdue_seconds")
        alarm_js_excess = self._gauge("driftgauge_alarm_js_excess")
        alarm_mean_shift_excess = self._gauge("driftgauge_alarm_mean_shift_excess")
        severity = self._gauge("driftgauge_alarm_severity_info")
        for watched in streams:
            spec = watched.spec
            alarm_js_excess.labels(spec.name).set(spec.alarm.js_excess_floor)
            alarm_mean_shift_excess.labels(spec.name).set(spec.alarm.mean_shift_excess_floor)
            severity.labels(spec.name, watched.drift_severity).set(1)
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


class _Baselines(Collector):
    """Shows the baseline of each stream that is in force at the time of the scrape."""

    def __init__(self, streams: Sequence[WatchedStream], wall_ms: Callable[[], int]) -> None:
        self._streams = streams
        self._wall_ms = wall_ms

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families without samples."""
        for name in (_INFO, _CREATED, _CLUSTER_RATIO, _ALARM_P_VALUE):
            yield _family(name)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families."""
        info, created, ratios, level = map(_family, (_INFO, _CREATED, _CLUSTER_RATIO, _ALARM_P_VALUE))
        for watched in self._streams:
            spec = watched.spec
            reference = spec.in_force(self._wall_ms())
            baseline = next(each for each in watched.baselines if each.reference is reference)
            info.add_metric((spec.name, reference.baseline_id, baseline.model_version or ""), 1)
            created.add_metric((spec.name,), baseline.created_ms / 1000)
            level.add_metric((spec.name,), spec.alarm.whole_level)
            shares = reference.counts / reference.counts.sum()
            for cluster, ratio in enumerate(shares.tolist()):
                ratios.add_metric((spec.name, str(cluster)), ratio)
        yield from (info, created, ratios, level)


def _family(name: str) -> GaugeMetricFamily:
    metric = METRICS[name]
    return GaugeMetricFamily(metric.name, metric.documentation, labels=metric.labels)


_INFO = "driftgauge_baseline_info"
_CREATED = "driftgauge_baseline_created_timestamp_seconds"
_CLUSTER_RATIO = "driftgauge_baseline_cluster_ratio"
_ALARM_P_VALUE = "driftgauge_alarm_p_value"


def _holds(health: Health, condition: Condition) -> float:
    return float(condition not in health.missing())
