"""Creates missing topics, and refuses internal topics that cannot be used."""

import logging
from collections.abc import Collection, Mapping
from time import sleep
from typing import Final

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient, NewTopic

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.errors import BrokerError, StateError
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.internal_topics import (
    CHANGELOG_SETTINGS,
    PARTIALS_SETTINGS,
    InternalTopics,
    require_settings,
)
from driftgauge.kafka.metadata import (
    count_partitions,
    failure,
    failures,
    metadata,
    missing_topics,
    require_visible,
    settings_of,
)

__all__ = ["create_missing_topics", "prepare_internal_topics", "prepare_topics", "replication_factor"]

_log = logging.getLogger(__name__)

# Brokers see a new topic within milliseconds to a few seconds.
_TIMEOUT_S: Final = 10.0
_RETRY_S: Final = 0.1
# With three replicas, two still accept a write while one broker is down.
_SAFE_REPLICAS: Final = 3


def prepare_topics(admin: AdminClient, settings: Settings, clock: Clock) -> None:
    """Create the missing output and internal topics, and check the existing internal ones.

    Raises:
        AuthorizationError: This client lacks the rights to create or describe a topic.
        BrokerError: The cluster does not answer or refuses.
        StateError: An internal topic has another number of partitions, or would lose records.
    """
    names = settings.topics
    replication = replication_factor(admin, names.events, names.replication_factor)
    create_missing_topics(admin, [names.windows, names.dead_letters], replication)
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


def create_missing_topics(admin: AdminClient, topics: Collection[str], replication: int) -> None:
    """Create the missing topics with the cluster's default number of partitions.

    Raises:
        AuthorizationError: This client may not create them.
        BrokerError: The cluster does not answer, or refuses.
    """
    missing = missing_topics(admin, topics)
    if missing:
        _create(admin, [_new_topic(topic, -1, replication, {}) for topic in missing], "it")


def prepare_internal_topics(
    admin: AdminClient, topics: InternalTopics, *, replication: int, clock: Clock
) -> None:
    """Create or check the internal topics: one partition per shard, and settings that lose no records.

    The call is idempotent, and several replicas may make it at once. A topic that was lost is created empty;
    each shard then finds that its changelog, the group's offset and the partials contradict each other.

    Raises:
        AuthorizationError: This client lacks the rights to create or describe a topic.
        BrokerError: The cluster does not answer or refuses.
        StateError: A topic has another number of partitions, or would lose its records.
    """
    names = (topics.partials, topics.changelog)
    deadline_s = clock.monotonic_s() + _TIMEOUT_S
    while missing := _missing_or_refuse(admin, topics):
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
        require_settings(topics, settings_by_topic)


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
