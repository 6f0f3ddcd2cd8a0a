"""What the service as a whole suffers from, and whose records are refused, by heartbeats and brokers."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal, NamedTuple

from pydantic import Field

from driftgauge.core.partition import name_partitions
from driftgauge.errors import StateError
from driftgauge.events.clock_gaps import describe_gaps
from driftgauge.events.records import RawRecord
from driftgauge.kafka.cluster import TopicFaults
from driftgauge.page.results import ResultSource
from driftgauge.page.summary_record import Record, UtcMs
from driftgauge.page.words import name_first
from driftgauge.records.heartbeat import INTERVAL_S, Heartbeat, Numbers, add_lags, decode_heartbeat
from driftgauge.telemetry.health import Role

__all__ = [
    "HOUR_MS",
    "LEAST_REFUSED",
    "REFUSED_SHARE",
    "FaultName",
    "Refusal",
    "ServiceFault",
    "ServiceStatus",
    "ServiceWatch",
]

HOUR_MS = 3_600_000
"""How long what a heartbeat counts is counted here."""

REFUSED_SHARE = 0.05
"""The share of refused records in those read above which a stream or a topic is told of."""

LEAST_REFUSED = 20
"""The number of refused records from which the share counts; half of those read are enough at any number.
Share and number hold for the alert as well."""

_MINUTE_MS = 60_000
# A heartbeat that comes late, such as one after an outage of the brokers, says nothing of a clock.
_COMPARED_MINUTES = 5
# Three heartbeats may be missed.
_DEAD_MS = int(4_000 * INTERVAL_S)
_MAX_NAMED = 3
# The parts of a key of refused records.
_TOPIC, _STREAM, _REASON = range(3)

FaultName = Literal[
    "missing_topic",
    "hidden_topic",
    "no_leader",
    "no_heartbeat",
    "not_polling",
    "not_ready",
    "transaction",
    "schema",
    "unwritable",
    "stopped",
    "restore",
    "refused",
    "surplus",
]


_OF_PARTITIONS: tuple[FaultName, ...] = ("transaction", "schema", "unwritable", "stopped", "restore")


class Refusal(NamedTuple):
    """The refused records of a stream or a topic, of those read in the last hour by the brokers' clock.

    Attributes:
        records: Their number.
        read: The number of all records that were accepted or refused.
        reason: Their most frequent reason.
    """

    records: int
    read: int
    reason: str

    @property
    def is_many(self) -> bool:
        """Whether so many are refused that the windows say too little."""
        return self.records > REFUSED_SHARE * self.read and self.records >= min(LEAST_REFUSED, self.read / 2)

    @property
    def extent(self) -> str:
        """How many of how many, in words."""
        return f"{self.records:,} of {self.read:,}"

    @property
    def note(self) -> str:
        """What is said if they are not many."""
        reason = self.reason.replace("_", " ")
        return f"of the records read in the last hour, {self.extent} were refused, most as {reason}"


class ServiceFault(Record):
    """A fault that concerns no single stream."""

    name: FaultName
    """missing_topic: an events topic does not exist. hidden_topic: this process may not see one. no_leader:
    of partitions. no_heartbeat: no replica is known to serve a role. not_polling: a role of a replica hangs.
    not_ready: a condition of a replica's readiness is not met. A replica cannot work on partitions:
    transaction (one does not end there), schema (the registry has not answered), unwritable, stopped (state,
    offset and log do not match), restore (their start is not known yet). refused: many records of a topic,
    of those read in the last hour, name no stream. surplus: an entry with a pattern has more streams than its
    `most`."""

    subject: str
    """The topic, the partitions, the roles, the conditions or the pattern."""

    since_ms: UtcMs | None = Field(None, serialization_alias="since")
    """When it was first seen within the last hour, wall time. Null if that is unknown."""

    text: str = ""
    """The fault, in words."""

    next_step: str = ""
    """What to do."""

    runbook: str = ""
    """The address of the runbook."""

    detail: str = Field("", exclude=True)
    """How many records or events, or what a replica or the cluster says; empty if there is none."""

    reason: str = Field("", exclude=True)
    """Of refused, the most frequent reason."""

    replicas: str = Field("", exclude=True)
    """The replicas that report the fault, whose logs say more; empty if none does."""

    topics: frozenset[str] = Field(frozenset(), exclude=True)
    """The topics of its partitions; empty if it may concern others."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What concerns all streams.

    Attributes:
        refusals: The streams of which records are refused, with patterns for names beyond `most`.
        faults: The faults that concern no single stream.
        gaps: The streams whose events are whole hours from their records, each with a sentence on it.
        unread: The number of records of each topic that are not read yet; missing or None if that is
            unknown.
    """

    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    faults: tuple[ServiceFault, ...] = ()
    gaps: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, int | None] = field(default_factory=dict)


class _Replica(NamedTuple):
    """The last heartbeat of a replica, its time, and since when it has reported each of its faults, ms."""

    heartbeat: Heartbeat
    time_ms: int
    since_ms: Mapping[tuple[FaultName, str], int]


class ServiceWatch:
    """Keeps what heartbeats brought in the last hour; one thread adds, and others read.

    Attributes:
        source: Where the heartbeats are read; None if none are read, and nothing follows from silence.
    """

    def __init__(self) -> None:
        self.source: ResultSource | None = None
        self._topics = TopicFaults()
        self._lock = Lock()
        self._minutes: dict[int, Numbers] = {}
        self._replicas: dict[str, _Replica] = {}
        # By the minute of arrival: the least by which this clock is ahead of the brokers', ms.
        self._ahead_ms: dict[int, int] = {}

    def look(self, topics: TopicFaults) -> None:
        """Replace what the brokers say of the topics."""
        self._topics = topics

    def receive(self, record: RawRecord, arrived_ms: int | None = None) -> None:
        """Add a heartbeat.

        Args:
            record: Its record.
            arrived_ms: When it came, by the wall clock, ms: no heartbeat is later. Once all old ones are
                read, it also says by how much this clock is ahead of the brokers'.

        Raises:
            ValueError: The record is no heartbeat.
        """
        try:
            heartbeat = decode_heartbeat(record.value() or b"")
        except StateError as error:
            raise ValueError(str(error)) from error
        time_ms = record.timestamp()[1]
        with self._lock:
            if arrived_ms is not None:
                time_ms = min(time_ms, arrived_ms)
                if self.source is not None and self.source.has_caught_up:
                    minute, ahead_ms = arrived_ms // _MINUTE_MS, arrived_ms - time_ms
                    self._ahead_ms[minute] = min(ahead_ms, self._ahead_ms.get(minute, ahead_ms))
                    self._ahead_ms = dict(sorted(self._ahead_ms.items())[-_COMPARED_MINUTES:])
            self._forget(time_ms)
            self._minutes.setdefault(time_ms // _MINUTE_MS * _MINUTE_MS, Numbers()).add(heartbeat)
            before = self._replicas.get(heartbeat.replica)
            known = {} if before is None else before.since_ms
            since_ms = {each: known.get(each, time_ms - age_ms) for each, age_ms in _reported(heartbeat)}
            self._replicas[heartbeat.replica] = _Replica(heartbeat, time_ms, since_ms)

    def status(self, now_ms: int) -> ServiceStatus:
        """Return what concerns all streams, by the wall clock, ms."""
        with self._lock:
            now_ms -= min(self._ahead_ms.values(), default=0)
            self._forget(now_ms)
            hour = Numbers()
            for numbers in self._minutes.values():
                hour.add(numbers)
            # The streams say what is refused of records that name one.
            unnamed = Counter({key: number for key, number in hour.refused.items() if not key[_STREAM]})
            read = hour.accepted.copy()
            for (_, stream, _), number in hour.refused.items():
                read[stream] += number
            faults = [
                *self._faults_of_topics(),
                *self._faults_of_replicas(now_ms),
                *(
                    ServiceFault(name="refused", subject=topic, detail=each.extent, reason=each.reason)
                    for topic, each in _refusals(unnamed, _TOPIC, hour.read).items()
                    if each.is_many
                ),
                *(
                    ServiceFault(name="surplus", subject=match, detail=f"{number:,} events")
                    for match, number in sorted(hour.surplus.items())
                ),
            ]
            return ServiceStatus(
                _refusals(hour.refused, _STREAM, read),
                tuple(faults),
                describe_gaps(hour.gaps, hour.timed),
                self._unread(now_ms),
            )

    def _unread(self, now_ms: int) -> Mapping[str, int | None]:
        """Return the number of records of each held topic that are not read yet; None if it is unknown."""
        return add_lags(lag for each in self._alive(now_ms) for lag in each.heartbeat.unread.items())

    def _alive(self, now_ms: int) -> list[_Replica]:
        return [each for each in self._replicas.values() if each.time_ms > now_ms - _DEAD_MS]

    def _forget(self, now_ms: int) -> None:
        """Remove what is older than an hour."""
        self._minutes = {at: each for at, each in self._minutes.items() if at > now_ms - HOUR_MS}
        self._replicas = {
            name: each for name, each in self._replicas.items() if each.time_ms > now_ms - HOUR_MS
        }

    def _faults_of_topics(self) -> Iterator[ServiceFault]:
        for topic in self._topics.missing:
            yield ServiceFault(name="missing_topic", subject=topic, topics=frozenset([topic]))
        if self._topics.hidden:
            yield ServiceFault(name="hidden_topic", subject="", detail=self._topics.hidden)
        if leaderless := self._topics.leaderless:
            topics = frozenset(topic for topic, _ in leaderless)
            yield ServiceFault(name="no_leader", subject=_list(name_partitions(leaderless)), topics=topics)

    def _faults_of_replicas(self, now_ms: int) -> Iterator[ServiceFault]:
        alive = self._alive(now_ms)
        unserved = {*map(str, Role)}.difference(*(each.heartbeat.roles for each in alive))
        # Replicas create the topic of heartbeats once the events topics exist.
        if unserved and self.source is not None and not self._topics.missing:
            known = self._replicas.values()
            last_ms = [each.time_ms for each in known if unserved.intersection(each.heartbeat.roles)]
            if self.source.error or self.source.has_caught_up:
                last = max(last_ms, default=None)
                yield ServiceFault(
                    name="no_heartbeat",
                    subject=_list(unserved),
                    since_ms=last,
                    detail=self.source.error or "",
                )
        reports: defaultdict[tuple[FaultName, str], list[tuple[str, int, _Replica]]] = defaultdict(list)
        for each in alive:
            for (name, subject), since_ms in each.since_ms.items():
                # Faults of partitions are told together, and each condition or role by itself.
                condition = "" if name in _OF_PARTITIONS else subject
                reports[name, condition].append((subject, since_ms, each))
        for (name, condition), listed in sorted(reports.items()):
            newest = max((each for _, _, each in listed), key=lambda each: each.time_ms)
            subjects = {subject for subject, _, _ in listed}
            more = {each.heartbeat.replica: each.heartbeat.more_blocked.get(name, 0) for _, _, each in listed}
            is_whole = name in _OF_PARTITIONS and not any(more.values())
            yield ServiceFault(
                name=name,
                subject=_list(subjects, sum(more.values())),
                since_ms=min(since_ms for _, since_ms, _ in listed),
                detail=newest.heartbeat.reasons.get(condition, ""),
                replicas=_list(each.heartbeat.replica for _, _, each in listed),
                topics=frozenset(each.rpartition("[")[0] for each in subjects if is_whole),
            )


def _reported(heartbeat: Heartbeat) -> Iterator[tuple[tuple[FaultName, str], int]]:
    """Yield the faults that a replica reports, name and partition, condition or role, with their ages, ms."""
    for reason in _OF_PARTITIONS:
        for partition in heartbeat.blocked.get(reason, ()):
            yield (reason, partition), 0
    for condition in heartbeat.reasons:
        yield ("not_ready", condition), 0
    for role, age_ms in heartbeat.unpolled_ms.items():
        yield ("not_polling", role), age_ms


def _refusals(refused: Counter[tuple[str, str, str]], by: int, read: Mapping[str, int]) -> dict[str, Refusal]:
    """Return the streams, or topics, of which records are refused, by the part of the key they are."""
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for key, number in refused.items():
        reasons[key[by]][key[_REASON]] += number
    return {
        name: Refusal(each.total(), read[name], each.most_common(1)[0][0])
        for name, each in sorted(reasons.items())
        if name
    }


def _list(names: Iterable[str], unnamed: int = 0) -> str:
    return name_first(sorted({*names}), _MAX_NAMED, unnamed)
