"""Creates missing topics; the settings of the internal ones, and the refusal of those that cannot be used."""

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from time import sleep
from types import MappingProxyType
from typing import Final

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient, NewTopic

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.errors import BrokerError, StateError
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.cluster import (
    count_partitions,
    failure,
    failures,
    metadata,
    missing_topics,
    require_visible,
    settings_of,
)

__all__ = [
    "CHANGELOG_SETTINGS",
    "HEARTBEATS_SETTINGS",
    "PARTIALS_SETTINGS",
    "InternalTopics",
    "OwnTopic",
    "create_missing_topics",
    "own_topics",
    "prepare_internal_topics",
    "prepare_topics",
    "replication_factor",
    "require_changelog_settings",
    "try_to_create",
    "wrong_settings",
]

_log = logging.getLogger(__name__)

# Brokers see a new topic within milliseconds to a few seconds.
_TIMEOUT_S: Final = 10.0
_RETRY_S: Final = 0.1
# With three replicas, two still accept a write while one broker is down.
_SAFE_REPLICAS: Final = 3

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_RETENTION_MS: Final = 7 * _DAY_MS


@dataclass(frozen=True, slots=True)
class InternalTopics:
    """The names of the internal topics, and the number of shards: the partition count of each topic."""

    partials: str
    changelog: str
    shards: int


PARTIALS_SETTINGS: Final[Mapping[str, str]] = {
    "cleanup.policy": "delete",
    # WINDOWS may be down for this long without losing records.
    "retention.ms": str(_RETENTION_MS),
    "retention.bytes": "-1",
    # Kafka deletes expired records by whole segments only.
    "segment.ms": str(_DAY_MS),
    # WINDOWS uses the append time of this log, and replicas measure their clocks against it.
    "message.timestamp.type": "LogAppendTime",
}
"""The settings to create the partials topic with."""

CHANGELOG_SETTINGS: Final[Mapping[str, str]] = {
    # Compaction keeps the last record of each key, however old.
    "cleanup.policy": "compact",
    # Kafka compacts rolled segments only, never the active one. Kafka 4 accepts no smaller size
    # (KIP-1030); at 4 kB/s a segment is rolled every four minutes.
    "segment.bytes": str(1024 * 1024),
    # Compaction starts once a tenth of the log is new; with little state that is at every roll.
    "min.cleanable.dirty.ratio": "0.1",
    # A partition with few writes is rolled at its next record and compacted after an hour as well: this
    # setting caps segment.ms of a compacted topic.
    "max.compaction.lag.ms": str(_HOUR_MS),
    # No reader needs the history; a cluster default above max.compaction.lag.ms would be refused.
    "min.compaction.lag.ms": "0",
    # Kafka keeps tombstones and transaction markers for this long. A reader that takes or pauses longer
    # between the first record and the last may miss a tombstone; reading takes seconds. With the default
    # of a day, one transaction a second leaves 6.7 MB of markers in every partition.
    "delete.retention.ms": str(_HOUR_MS),
    # Kafka 4 refuses records with a create time over an hour ahead, so a replica's wrong clock would matter.
    "message.timestamp.type": "LogAppendTime",
}
"""The settings to create the changelog with.

Measured (Kafka 4.3): a partition's log stays below the size of its state, plus an hour's markers (0.3 MB),
plus 1.4 MB.
"""


HEARTBEATS_SETTINGS: Final[Mapping[str, str]] = {
    "cleanup.policy": "delete",
    # Nobody reads more than the last hour.
    "retention.ms": str(_HOUR_MS),
    "segment.ms": str(_HOUR_MS),
    # All replicas count by one clock.
    "message.timestamp.type": "LogAppendTime",
}
"""The settings to create the topic of heartbeats with, which has one partition."""


@dataclass(frozen=True, slots=True)
class OwnTopic:
    """What the service creates a topic with: -1 partitions are the cluster's number."""

    partitions: int = -1
    settings: Mapping[str, str] = field(default_factory=dict)


def own_topics(settings: Settings) -> dict[str, OwnTopic]:
    """Return the topics that the service creates if they are missing."""
    return {
        settings.topics.windows: OwnTopic(),
        settings.topics.dead_letters: OwnTopic(),
        settings.heartbeats_topic: OwnTopic(1, HEARTBEATS_SETTINGS),
        settings.partials_topic: OwnTopic(settings.shards, PARTIALS_SETTINGS),
        settings.changelog_topic: OwnTopic(settings.shards, CHANGELOG_SETTINGS),
    }


def try_to_create(
    admin: AdminClient, topics: Mapping[str, OwnTopic], replication: int
) -> Iterator[tuple[str, KafkaError]]:
    """Yield the topics that the cluster would not create, each with the error; create none."""
    new = [_new_topic(name, own.partitions, replication, own.settings) for name, own in topics.items()]
    yield from failures(admin.create_topics(new, request_timeout=REQUEST_TIMEOUT_S, validate_only=True))


def wrong_settings(own: OwnTopic, found: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with which an internal topic would lose needed records, as they must be."""
    needed = ["cleanup.policy"]
    if own.settings is PARTIALS_SETTINGS:
        needed += ["message.timestamp.type", "retention.bytes"]
        if not _retains(found["retention.ms"], _RETENTION_MS):
            needed.append("retention.ms")
    return {name: own.settings[name] for name in needed if found[name] != own.settings[name]}


def prepare_topics(admin: AdminClient, settings: Settings, clock: Clock) -> None:
    """Create the missing output and internal topics, and check the existing internal ones.

    Raises:
        AuthorizationError: This client lacks the rights to create or describe a topic.
        BrokerError: The cluster does not answer or refuses.
        StateError: An internal topic has another number of partitions, or would lose records.
    """
    names, own = settings.topics, own_topics(settings)
    replication = replication_factor(admin, names.events, names.replication_factor)
    for name in (names.windows, names.dead_letters, settings.heartbeats_topic):
        create_missing_topics(
            admin, [name], replication, partitions=own[name].partitions, settings=own[name].settings
        )
    prepare_internal_topics(
        admin,
        InternalTopics(settings.partials_topic, settings.changelog_topic, settings.shards),
        replication=replication,
        clock=clock,
    )


def replication_factor(admin: AdminClient, events: Collection[str], configured: int | None) -> int:
    """Return the replication factor of new topics: as configured, or that of the events topics.

    Raises:
        BrokerError: The cluster does not answer, or all events topics are missing.
    """
    known = metadata(admin)
    factor = configured
    if factor is None:
        found = [known.topics[topic] for topic in events if topic in known.topics]
        replicas = [len(part.replicas) for topic in found for part in topic.partitions.values()]
        if not replicas:
            message = f"topic {', '.join(events)} is missing; create it"
            raise BrokerError(message)
        factor = max(replicas)
    if factor == 1 and len(known.brokers) > 1:
        _log.warning(
            "topics have one replica: a broker that is away stops what depends on it",
            extra={"remedy": "set topics.replication_factor, and add replicas to topics that exist"},
        )
    return factor


def create_missing_topics(
    admin: AdminClient,
    topics: Collection[str],
    replication: int,
    *,
    partitions: int = -1,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Create the missing topics, by default with the cluster's number of partitions and settings.

    Raises:
        AuthorizationError: This client may not create them.
        BrokerError: The cluster does not answer, or refuses.
    """
    missing = missing_topics(admin, topics)
    if missing:
        _create(admin, [_new_topic(topic, partitions, replication, settings) for topic in missing], "it")


def prepare_internal_topics(
    admin: AdminClient, topics: InternalTopics, *, replication: int, clock: Clock
) -> None:
    """Create or check the internal topics: one partition per shard, and settings that lose no records.

    The call is idempotent, and several replicas may make it at once. A topic that was lost is created empty;
    each shard then finds that its changelog, the group's offset and the partials contradict each other.

    Raises:
        AuthorizationError: This client lacks the rights to create or describe a topic.
        BrokerError: The cluster does not answer or refuses.
        StateError: A topic has another number of partitions, or would lose its records; or there are
            partials of another number of shards.
    """
    names = (topics.partials, topics.changelog)
    deadline_s = clock.monotonic_s() + _TIMEOUT_S
    while missing := _missing_or_refuse(admin, topics):
        if topics.partials in missing:
            _require_same_shards(admin, topics)
        if clock.monotonic_s() > deadline_s:
            message = f"the topics {', '.join(missing)} have not appeared; check the brokers"
            raise BrokerError(message)
        require_visible(admin, missing)
        for topic, wanted in zip(names, (PARTIALS_SETTINGS, CHANGELOG_SETTINGS), strict=True):
            if topic in missing:
                new = _new_topic(topic, topics.shards, replication, wanted)
                _create(admin, [new], f"it with {topics.shards} partitions and {_format_settings(wanted)}")
        sleep(_RETRY_S)
    settings_by_topic = settings_of(admin, names)
    if settings_by_topic is not None:
        _require_settings(topics, settings_by_topic)


def _missing_or_refuse(admin: AdminClient, topics: InternalTopics) -> list[str]:
    """Return the missing internal topics; raise StateError for one with another number of partitions."""
    counts = count_partitions(admin, [topics.partials, topics.changelog])
    for topic, number in counts.items():
        if number != topics.shards:
            message = (
                f"internal topic {topic} has {number} partitions and must have {topics.shards}, one a shard: "
                "somebody created it by hand or added partitions. Stop every replica, and restore the topic "
                "with its own number; or set another topics.internal and kafka.group.id, and the events that "
                "Kafka still holds are counted again"
            )
            raise StateError(message)
    return [topic for topic in (topics.partials, topics.changelog) if topic not in counts]


def _require_same_shards(admin: AdminClient, topics: InternalTopics) -> None:
    """Refuse another number of shards: its new topics know nothing of what the former ones hold."""
    stem, dot, _ = topics.partials.rpartition(".")
    former = re.compile(re.escape(stem + dot) + r"(\d+)")
    for name in sorted(metadata(admin).topics):
        if (found := former.fullmatch(name)) and name != topics.partials:
            message = (
                f"topic {name} holds the counts of {found[1]} shards, and {topics.shards} are configured: "
                f"open windows would lose them. Set shards to {found[1]}; or stop all replicas, set another "
                "topics.internal, and delete the offsets of both groups: then the events that Kafka still "
                "holds are counted again"
            )
            raise StateError(message)


def _new_topic(topic: str, partitions: int, replication: int, settings: Mapping[str, str]) -> NewTopic:
    # A record on a single replica is lost with that replica.
    safe = {"min.insync.replicas": "2"} if replication >= _SAFE_REPLICAS else {}
    return NewTopic(topic, partitions, replication, config={**settings, **safe})


def _format_settings(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _create(admin: AdminClient, topics: list[NewTopic], by_hand: str) -> None:
    """Create the topics; accept one that another client has just created."""
    pending = admin.create_topics(topics, request_timeout=REQUEST_TIMEOUT_S)
    for name, error in failures(pending, ignored=KafkaError.TOPIC_ALREADY_EXISTS):
        what, remedy = f"topic {name} is missing and cannot be created", f"create {by_hand}"
        raise failure(error, what, right=f"grant Create on it, or {remedy}", remedy=remedy)


def require_changelog_settings(admin: AdminClient, topic: str) -> None:
    """Refuse a changelog whose settings would lose needed records.

    Raises:
        AuthorizationError: This client may not see the settings.
        BrokerError: The cluster does not answer.
        StateError: The operator must change a setting of the topic.
    """
    settings = settings_of(admin, [topic])
    if settings is not None:
        _require_compaction(topic, settings[topic])


def _require_compaction(topic: str, settings: Mapping[str, str]) -> None:
    policy = settings["cleanup.policy"]
    if policy != "compact":
        message = (
            f"changelog topic {topic} has cleanup.policy={policy}: state would be deleted while it is "
            "needed, or never be compacted. Set it to compact only"
        )
        raise StateError(message)


def _require_settings(topics: InternalTopics, settings: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse internal topics with settings that would lose needed records.

    Raises:
        StateError: The operator must change a setting of one of the topics.
    """
    _require_compaction(topics.changelog, settings[topics.changelog])
    found = settings[topics.partials]
    needed = wrong_settings(OwnTopic(topics.shards, PARTIALS_SETTINGS), found)
    if needed:
        more = {"retention.ms": " or more"}
        wrong = [
            f"{name}={found[name]} (must be {value}{more.get(name, '')})" for name, value in needed.items()
        ]
        message = (
            f"partials topic {topics.partials} has {', '.join(wrong)}: counts could be deleted before they "
            "are applied, or have no append time. Change the topic's settings"
        )
        raise StateError(message)


def _retains(retention_ms: str, at_least_ms: int) -> bool:
    """True if the topic retains records for at least this long; -1 means without limit."""
    return int(retention_ms) == -1 or int(retention_ms) >= at_least_ms
