"""The service's Prometheus metrics, created from the catalogue and set by the observers of the roles."""

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from functools import partial

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from driftgauge.clock import Clock
from driftgauge.records.mark import Mark
from driftgauge.telemetry.catalogue import METRICS
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from driftgauge.telemetry.login import LoginRefusal
from driftgauge.telemetry.metrics_registry import MetricsRegistry
from driftgauge.telemetry.snapshot import WatchedStream
from driftgauge.telemetry.window_collector import WindowCollector

__all__ = ["NO_STREAM", "RecordOutcome", "SkipPlace", "Telemetry"]

_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
_PHASES = {Role.COUNT: ("decode", "count", "commit"), Role.WINDOWS: ("apply", "close", "write")}

NO_STREAM = ""
"""The `stream` label of rejected records whose stream is not known or not configured."""


class RecordOutcome(StrEnum):
    """What became of a record that was read."""

    ACCEPTED = "accepted"
    FILTERED = "filtered"
    REJECTED = "rejected"


class SkipPlace(StrEnum):
    """Where offsets without a record were passed.

    START: Before the first record after the client was given a position. In a topic that has offsets without
        a record only there, the service itself may have passed over records.
    BETWEEN: Before any later record, where the client read without a break.
    """

    START = "start"
    BETWEEN = "between"


class Telemetry:
    """All metrics of the catalogue in one registry, which a scrape renders."""

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
        """Create the metrics, with counters at 0 for every label set that holds no stream."""
        self.registry = MetricsRegistry()
        self.health = health
        self.clock = clock
        self.windows = WindowCollector(streams, clock)
        self.registry.register(self.windows)
        read = [*(topics if Role.COUNT in roles else ()), *((shards_topic,) if Role.WINDOWS in roles else ())]
        self._create_counters(topics, roles)
        self._create_gauges(read, roles)
        ready = self._gauge("driftgauge_ready")
        for condition in health.conditions:
            ready.labels(condition).set_function(partial(_condition_value, health, condition))
        self.web_config_valid = self._gauge("driftgauge_web_config_valid")
        self.web_config_valid.set(1)
        self._marks = self._gauge("driftgauge_mark_timestamp_seconds")
        self._gauge("driftgauge_build_info").labels(version).set(1)
        GCCollector(self.registry)
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)

    def marked(self, marks: Iterable[Mark]) -> None:
        """Set the newest deployment mark of each stream, and of all."""
        self._marks.clear()
        for mark in marks:
            self._marks.labels(mark.stream or "", mark.text).set(mark.time / 1_000)

    def login_refused(self, reason: LoginRefusal) -> None:
        """Count a refused login over HTTP."""
        self._logins_refused.labels(reason).inc()

    def logged(self, level: int) -> None:
        """Count a logged message by its level, as in the standard library; thread-safe."""
        self._log_messages.labels(_LOG_LEVELS[min(max(level // 10, 1), len(_LOG_LEVELS)) - 1]).inc()

    def _create_counters(self, topics: Iterable[str], roles: Collection[Role]) -> None:
        self.events = self._counter("driftgauge_events_total")
        self.rebalances = self._counter("driftgauge_consumer_rebalances_total")
        self.commits = self._counter("driftgauge_commits_total")
        self.sessions_lost = self._counter("driftgauge_sessions_lost_total")
        self.records = self._counter("driftgauge_records_total")
        self.records_rejected = self._counter("driftgauge_records_rejected_total")
        self.records_lost = self._counter("driftgauge_records_lost_total")
        self.offsets_skipped = self._counter("driftgauge_offsets_skipped_total")
        for role in roles:
            for kind in ("assigned", "revoked", "lost"):
                self.rebalances.labels(role, kind)
            for outcome in ("ok", "aborted"):
                self.commits.labels(role, outcome)
            self.sessions_lost.labels(role)
        if Role.COUNT in roles:
            for topic in topics:
                self.records_lost.labels(topic)
                for place in SkipPlace:
                    self.offsets_skipped.labels(topic, place)
                for result in RecordOutcome:
                    self.records.labels(topic, result)
        self._logins_refused = self._counter("driftgauge_logins_refused_total")
        for reason in LoginRefusal:
            self._logins_refused.labels(reason)
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
        self.without_schema = self._gauge("driftgauge_schema_waiting_partitions")
        self.waiting = self._gauge("driftgauge_waiting")
        self.unwritable = self._gauge("driftgauge_unwritable_partitions")
        self.batch_duration = self._histogram("driftgauge_batch_duration_seconds")
        self.restore_duration = self._histogram("driftgauge_restore_duration_seconds")
        for role in roles:
            self.last_poll.labels(role)
            self.restore_duration.labels(role)
            for phase in _PHASES[role]:
                self.batch_duration.labels(phase)

    def _counter(self, name: str) -> Counter:
        metric = METRICS[name]
        return Counter(name, metric.documentation, metric.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        metric = METRICS[name]
        return Gauge(name, metric.documentation, metric.labels, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        metric = METRICS[name]
        return Histogram(
            name, metric.documentation, metric.labels, registry=self.registry, buckets=metric.buckets
        )


def _condition_value(health: Health, condition: ReadinessCondition) -> float:
    return float(condition not in health.missing())
