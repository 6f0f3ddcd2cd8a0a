"""The service's Prometheus metrics in one registry, set by the observers of the roles."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from driftgauge.clock import Clock
from driftgauge.errors import TransactionFailed
from driftgauge.events.outcomes import RecordOutcome, SkipPlace
from driftgauge.events.rejection import Reason
from driftgauge.records.mark import Mark
from driftgauge.telemetry.activity import Activity
from driftgauge.telemetry.health import BlockReason, Health, Role
from driftgauge.telemetry.memory_limit import memory_limit_bytes
from driftgauge.telemetry.metric import Metric, ObjectT, ObservedMetric
from driftgauge.telemetry.replica_metrics import (
    ABORTED,
    ASSIGNED,
    BLOCKED,
    BUILD_INFO,
    COMMIT_LIMIT,
    COMMITS,
    DURATION,
    LOGINS_REFUSED,
    MARK,
    MEMORY_LIMIT,
    OFFSETS_SKIPPED,
    READY,
    RECORDS,
    REJECTED,
    REPLICA_METRICS,
    SESSIONS_LOST,
    WEB_CONFIG_VALID,
)
from driftgauge.telemetry.snapshot import WatchedStream
from driftgauge.telemetry.stream_metrics import SHARD_METRICS, STREAM_METRICS
from driftgauge.telemetry.window_collector import WindowCollector

__all__ = ["METRICS", "NO_STREAM", "AbortCause", "LoginRefusal", "Telemetry"]

_ALL: tuple[Metric, ...] = (*STREAM_METRICS, *SHARD_METRICS, *REPLICA_METRICS)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""The catalogue of all exported metrics: the only source of names, labels, help texts and stream values."""

_PHASES = {Role.COUNT: ("decode", "count", "commit"), Role.WINDOWS: ("apply", "close", "write")}

NO_STREAM = ""
"""The `stream` label of rejected records whose stream is not known or not configured."""


class AbortCause(StrEnum):
    """Why a transaction was aborted; see `driftgauge_commits_aborted_in_row`."""

    SLOW = "slow"
    UNWRITABLE = "unwritable"
    OTHER = "other"

    @classmethod
    def of(cls, error: TransactionFailed) -> "AbortCause":
        """Return the cause that an error names."""
        if error.is_slow:
            return cls.SLOW
        return cls.UNWRITABLE if error.unwritable else cls.OTHER


class LoginRefusal(StrEnum):
    """Why a login over HTTP is refused."""

    WRONG = "wrong"
    """There is no such user, or the password is another one."""
    LIMITED = "limited"
    """The client's address sent too many wrong ones within a minute."""
    BUSY = "busy"
    """Too many others wait for their check."""


class Telemetry:
    """All metrics of the catalogue in one registry, which a scrape renders.

    `telemetry[LAG]` is the prometheus_client object of an observed metric.
    """

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
        # A series `_created` beside each counter and histogram would say when the process began.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.health = health
        self.activity = Activity(health)
        self.clock = clock
        self.windows = WindowCollector(streams, clock)
        self.registry.register(self.windows)
        self._objects: dict[str, Any] = {each.name: each.create(self.registry) for each in REPLICA_METRICS}
        for role in roles:
            self[SESSIONS_LOST].labels(role)
            for cause in AbortCause:
                self[ABORTED].labels(role, cause).set(0)
            self[COMMIT_LIMIT].labels(role).set(1)
            for outcome in ("ok", "aborted"):
                self[COMMITS].labels(role, outcome)
            for phase in _PHASES[role]:
                self[DURATION].labels(phase)
        events_topics = topics if Role.COUNT in roles else ()
        for topic in events_topics:
            for place in SkipPlace:
                self[OFFSETS_SKIPPED].labels(topic, place)
            for result in RecordOutcome:
                self[RECORDS].labels(topic, result)
            # Its alert fires at the first record, which must be an increase.
            self[REJECTED].labels(topic, NO_STREAM, Reason.FAULT)
        for topic in (*events_topics, *((shards_topic,) if Role.WINDOWS in roles else ())):
            self[ASSIGNED].labels(topic).set(0)
            self[BLOCKED].labels(topic, BlockReason.STOPPED).set(0)
        for reason in LoginRefusal:
            self[LOGINS_REFUSED].labels(reason)
        for condition in health.conditions:
            self[READY].labels(condition).set_function(partial(health.is_met, condition))
        self[WEB_CONFIG_VALID].set(1)
        self[MEMORY_LIMIT].set(memory_limit_bytes())
        self[BUILD_INFO].labels(version).set(1)
        GCCollector(self.registry)
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)

    def __getitem__(self, metric: ObservedMetric[ObjectT]) -> ObjectT:
        """Return the object of a metric."""
        created: ObjectT = self._objects[metric.name]
        return created

    def marked(self, mark: Mark, before: Mark | None) -> None:
        """Set the newest deployment mark of a stream, or of all, in place of the one before."""
        if before is not None:
            self[MARK].remove(before.stream or "", before.text)
        self[MARK].labels(mark.stream or "", mark.text).set(mark.time / 1_000)
