"""Cluster metadata and topic settings from the admin client, and the errors for its refusals."""

import logging
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource

from driftgauge.config import Settings
from driftgauge.core.partition import Partition
from driftgauge.errors import AuthorizationError, BrokerError, ServiceError
from driftgauge.kafka.calls import AUTHORIZATION
from driftgauge.kafka.client import REQUEST_TIMEOUT_S

__all__ = [
    "TopicFaults",
    "count_partitions",
    "failure",
    "failures",
    "find_topic_faults",
    "has_controller",
    "hidden_topics",
    "message_limit",
    "metadata",
    "missing_topics",
    "require_visible",
    "settings_of",
    "writable_partitions",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TopicFaults:
    """What keeps topics from being read or written, by the cluster's metadata.

    Attributes:
        missing: The events topics that do not exist.
        hidden: Why it is not known which of them exist; empty if it is.
        leaderless: The partitions without a leader.
    """

    missing: tuple[str, ...] = ()
    hidden: str = ""
    leaderless: tuple[Partition, ...] = ()


def count_partitions(admin: AdminClient, topics: Collection[str]) -> dict[str, int]:
    """Return the partition count of each topic; missing topics are left out.

    All counts come from one metadata response.

    Raises:
        BrokerError: The cluster does not answer.
    """
    known = {name: topic for name, topic in metadata(admin).topics.items() if topic.error is None}
    return {topic: len(known[topic].partitions) for topic in topics if topic in known}


def missing_topics(admin: AdminClient, topics: Collection[str]) -> list[str]:
    """Return the topics that are missing from the cluster.

    Raises:
        AuthorizationError: The cluster hides one of the topics from this client.
        BrokerError: The cluster does not answer.
    """
    counts = count_partitions(admin, topics)
    missing = [topic for topic in topics if topic not in counts]
    if missing:
        require_visible(admin, missing)
    return missing


def find_topic_faults(admin: AdminClient, settings: Settings) -> TopicFaults:
    """Return what keeps the topics of a service from being read or written.

    Raises:
        BrokerError: The cluster does not answer.
    """
    known, names = metadata(admin).topics, settings.topics
    missing = tuple(topic for topic in names.events if topic not in known)
    try:
        require_visible(admin, missing)
    except AuthorizationError as error:
        missing, hidden = (), str(error)
    else:
        hidden = ""
    leaderless = tuple(
        (topic, index)
        for topic in (*names.external, settings.partials_topic, settings.changelog_topic)
        if topic in known
        for index, partition in known[topic].partitions.items()
        if partition.leader < 0
    )
    return TopicFaults(missing, hidden, leaderless)


def message_limit(admin: AdminClient, topics: Collection[str]) -> int | None:
    """Return the largest record batch, in bytes, that all of the topics accept; None if unknown.

    Raises:
        BrokerError: The cluster does not answer, or a topic is missing.
    """
    try:
        settings = settings_of(admin, topics)
    except AuthorizationError as error:
        _log.info(
            "max.message.bytes is unknown; only the brokers check message sizes", extra={"reason": str(error)}
        )
        return None
    return None if settings is None else min(int(each["max.message.bytes"]) for each in settings.values())


def require_visible(admin: AdminClient, topics: Collection[str]) -> None:
    """Raise AuthorizationError for a hidden topic, which the list of topics omits like a missing one."""
    for name, error in hidden_topics(admin, topics):
        raise failure(error, f"topic {name} is hidden", right="grant Describe on it")


def hidden_topics(admin: AdminClient, topics: Collection[str]) -> Iterator[tuple[str, KafkaError]]:
    """Yield the topics that the cluster hides from this client, whether they exist or not."""
    if topics and has_controller(admin):
        pending = admin.describe_topics(TopicCollection(list(topics)), request_timeout=REQUEST_TIMEOUT_S)
        yield from (each for each in failures(pending) if each[1].code() in AUTHORIZATION)


def writable_partitions(admin: AdminClient, partitions: Collection[Partition]) -> set[Partition]:
    """Return the partitions with a leader and enough in-sync replicas for a write.

    Raises:
        BrokerError: The cluster does not answer.
    """
    known = metadata(admin).topics
    try:
        needed = settings_of(admin, {topic for topic, _ in partitions}) or {}
    except AuthorizationError:
        # One replica is needed at least; a write with too few is refused again and retried later.
        needed = {}
    writable = set()
    for topic, index in partitions:
        partition = known[topic].partitions.get(index) if topic in known else None
        least = int(needed.get(topic, {}).get("min.insync.replicas", "1"))
        if partition is not None and partition.leader >= 0 and len(partition.isrs) >= least:
            writable.add((topic, index))
    return writable


def settings_of(admin: AdminClient, topics: Collection[str]) -> dict[str, dict[str, str]] | None:
    """Return the settings of each topic; None if the cluster has no controller to ask.

    Raises:
        AuthorizationError: This client may not see the settings.
        BrokerError: The cluster does not answer, or a topic is missing.
    """
    if not has_controller(admin):
        _log.info("settings of topics are not checked: the cluster has no controller to ask")
        return None
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    pending = admin.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
    for resource, error in failures(pending):
        what = f"the settings of topic {resource.name} are unknown"
        raise failure(error, what, right="grant DescribeConfigs on it")
    return {
        resource.name: {name: entry.value for name, entry in future.result().items()}
        for resource, future in pending.items()
    }


def has_controller(admin: AdminClient) -> bool:
    """True if the cluster answers admin requests, which librdkafka sends to the controller.

    librdkafka's embedded broker names a controller that does not exist, so requests to it time out.
    """
    known = metadata(admin)
    return known.controller_id in known.brokers


def metadata(admin: AdminClient | Producer) -> ClusterMetadata:
    """Return the cluster's brokers and all its topics.

    Raises:
        BrokerError: The cluster does not answer.
    """
    # A request for one topic by name may create the topic with the cluster's default settings.
    try:
        return admin.list_topics(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        what = "the Kafka cluster does not answer"
        raise failure(error.args[0], what, remedy="check kafka.bootstrap.servers") from error


def failures(
    pending: Mapping[Any, Future[Any]], ignored: int | None = None
) -> Iterator[tuple[Any, KafkaError]]:
    """Wait for every answer, and yield each failed request with its error, except the ignored code."""
    for requested, future in pending.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != ignored:
                yield requested, error.args[0]


def failure(
    error: KafkaError, what: str, *, right: str = "check the rights", remedy: str = "check the brokers"
) -> ServiceError:
    """Return the error to raise: with `right` as the remedy for a missing right, else with `remedy`."""
    if error.code() in AUTHORIZATION:
        return AuthorizationError(f"{what} ({error.str()}); {right}", reason=error.name())
    return BrokerError(f"{what} ({error.str()}); {remedy}", reason=error.name())
