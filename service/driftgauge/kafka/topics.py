"""The topics' existence and settings: what is asked of the cluster, and made there, before reading."""

import logging
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from time import monotonic, sleep
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, NewPartitions, NewTopic

from driftgauge.errors import AuthorizationError, BrokerError, ServiceError, StateError
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.transaction import AUTHORIZATION

__all__ = [
    "STATE_SETTINGS",
    "count_partitions",
    "create_missing_topics",
    "has_controller",
    "message_limit",
    "missing_topics",
    "prepare_state_topics",
]

_log = logging.getLogger(__name__)

_HOUR_MS: Final = 3_600_000

STATE_SETTINGS: Final[Mapping[str, str]] = {
    # Of each key the last record is kept, however old it is.
    "cleanup.policy": "compact",
    # Only what is rolled is compacted, never the segment that is written to. Kafka 4 takes nothing
    # smaller (KIP-1030); at 4 kB/s it is rolled every four minutes.
    "segment.bytes": str(1024 * 1024),
    # Compacted as soon as a tenth is new, which beside little state means with every roll.
    "min.cleanable.dirty.ratio": "0.1",
    # What is hardly written to is rolled, with its next record, and compacted after an hour all the
    # same: for a compacted topic segment.ms is never more than this.
    "max.compaction.lag.ms": str(_HOUR_MS),
    # Nobody reads the history. Said because a cluster's own default above the hour would be refused.
    "min.compaction.lag.ms": "0",
    # How long tombstones and transactions' markers are kept. Whoever takes longer to read from the
    # first record to the last, which takes seconds, or pauses for longer, may miss a tombstone. Not a
    # day, the default, for then one transaction a second leaves 6.7 MB of markers in every partition.
    "delete.retention.ms": str(_HOUR_MS),
    # A replica's clock must not matter: Kafka 4 refuses records stamped over an hour ahead.
    "message.timestamp.type": "LogAppendTime",
}
"""What a state topic is created with; the rest, such as its replicas, is the cluster's choice.

Measured (Kafka 4.3): a partition stays below what stands in it, an hour's markers (0.3 MB) and 1.4 MB.
"""

# Brokers learn of a new topic, and of a group's coordinator, within milliseconds to a few seconds.
_PATIENCE_S: Final = 10.0
_RETRY_S: Final = 0.1


def count_partitions(admin: AdminClient, topics: Collection[str]) -> dict[str, int]:
    """Return how many partitions each of the topics has; a topic that does not exist is left out.

    The counts are of one moment: none of them is older than another.

    Raises:
        BrokerError: The cluster does not answer.
    """
    known = {name: topic for name, topic in _metadata(admin).topics.items() if topic.error is None}
    return {topic: len(known[topic].partitions) for topic in topics if topic in known}


def missing_topics(admin: AdminClient, topics: Collection[str]) -> list[str]:
    """Return those of the topics that the cluster does not have.

    Raises:
        AuthorizationError: The cluster does not tell this client of one of them.
        BrokerError: The cluster does not answer.
    """
    counts = count_partitions(admin, topics)
    missing = [topic for topic in topics if topic not in counts]
    if missing:
        _require_visible(admin, missing)
    return missing


def create_missing_topics(admin: AdminClient, topics: Collection[str]) -> None:
    """Create the topics that are missing, with the cluster's own defaults.

    Raises:
        AuthorizationError: This client may not.
        BrokerError: The cluster does not answer, or refuses.
    """
    missing = missing_topics(admin, topics)
    if missing:
        _create(admin, [NewTopic(topic) for topic in missing])


def prepare_state_topics(admin: AdminClient, consumer: Consumer, wanted: Mapping[str, str]) -> dict[str, int]:
    """See to it that each source topic has its state topic: compacted, and with as many partitions.

    It may be repeated, and several replicas may do it at once. Returns how many partitions each
    source has; its state has as many.

    Args:
        admin: An administration client.
        consumer: One of the group, that reads nothing yet.
        wanted: Source topic -> its state topic.

    Raises:
        AuthorizationError: This client may not do, or not see, what is needed.
        BrokerError: The cluster does not answer or refuses, or a source topic is missing.
        StateError: A state topic is lost, is of another source, or would lose its records.
    """
    deadline_s = monotonic() + _PATIENCE_S
    while True:
        # Counted together: were the source's count the older one, a state topic that another
        # replica has just grown would look like one with too many.
        counts = count_partitions(admin, [*wanted, *wanted.values()])
        lacking = [source for source, state in wanted.items() if _lacks(counts, source, state)]
        if not lacking:
            break
        if monotonic() > deadline_s:
            message = f"the state topics of {', '.join(lacking)} have not appeared; check the brokers"
            raise BrokerError(message)
        for source in lacking:
            topic = NewTopic(wanted[source], counts[source], config=dict(STATE_SETTINGS))
            if topic.topic in counts:
                _grow(admin, topic)
            else:
                _create_state_topic(admin, consumer, source, topic)
        sleep(_RETRY_S)
    _require_compaction(admin, wanted.values())
    return {source: counts[source] for source in wanted}


def message_limit(admin: AdminClient, topics: Collection[str]) -> int | None:
    """Return how large a batch of records, in bytes, all of the topics take; None where it is not told.

    Raises:
        BrokerError: The cluster does not answer, or has not all of the topics.
    """
    try:
        limits = _settings(admin, topics, "max.message.bytes")
    except AuthorizationError as error:
        _log.info("the size of messages is not checked beforehand", extra={"reason": str(error)})
        return None
    return None if limits is None else min(map(int, limits.values()))


def _lacks(counts: Mapping[str, int], source: str, state: str) -> bool:
    """Tell whether the state topic is missing or has fewer partitions than its source."""
    if source not in counts:
        message = f"topic {source} is missing; create it"
        raise BrokerError(message)
    found, partitions = counts.get(state, 0), counts[source]
    if found > partitions:
        message = (
            f"state topic {state} has {found} partitions and {source} only {partitions}: it was made anew, "
            "and the state is of events that are gone. Use another kafka.group.id; or stop every replica, "
            f"and delete {state} and the group's offsets of {source}"
        )
        raise StateError(message)
    return found < partitions


def _create_state_topic(admin: AdminClient, consumer: Consumer, source: str, topic: NewTopic) -> None:
    state = topic.topic
    _require_visible(admin, [state])
    # In this order: another replica creates the topic before it commits an offset.
    if _has_committed(consumer, source, topic.num_partitions) and not _exists(admin, state):
        message = (
            f"state topic {state} is missing, yet the group has read {source}: what it counted is lost. "
            f"Restore the topic; or stop every replica and delete the group's offsets of {source} "
            "(kafka-consumer-groups.sh --delete-offsets), and what it still holds is counted again"
        )
        raise StateError(message)
    _create(admin, [topic], f"it with {topic.num_partitions} partitions and cleanup.policy=compact")


def _has_committed(consumer: Consumer, topic: str, partitions: int) -> bool:
    """Tell whether the group has committed an offset; a transaction about to commit one is waited for."""
    # Not by AdminClient.list_consumer_group_offsets: while a cluster's coordinator is coming up,
    # librdkafka 2.16 ends the process there (https://github.com/confluentinc/librdkafka/issues/5040).
    asked = [TopicPartition(topic, index) for index in range(partitions)]
    deadline_s = monotonic() + _PATIENCE_S
    while True:
        failure: KafkaError | None
        try:
            answers = consumer.committed(asked, timeout=REQUEST_TIMEOUT_S)
            failure = next((answer.error for answer in answers if answer.error is not None), None)
        except KafkaException as error:
            failure = error.args[0]
            # A group that is barred gets no answer; why, the next poll tells.
            notice = consumer.poll(0)
            if notice is not None:
                failure = notice.error() or failure
        if failure is None:
            return any(answer.offset >= 0 for answer in answers)
        if failure.code() in AUTHORIZATION or monotonic() > deadline_s:
            what = f"the group's offsets of topic {topic} are unknown"
            raise _failure(failure, what, right=f"grant Read on the group and on {topic}")
        sleep(_RETRY_S)


def _create(admin: AdminClient, topics: list[NewTopic], by_hand: str = "it") -> None:
    """Create the topics; one that somebody else has just created is as good."""
    pending = admin.create_topics(topics, request_timeout=REQUEST_TIMEOUT_S)
    for name, error in _errors(pending, but=KafkaError.TOPIC_ALREADY_EXISTS):
        what, remedy = f"topic {name} is missing and cannot be created", f"create {by_hand}"
        raise _failure(error, what, right=f"grant Create on it, or {remedy}", remedy=remedy)


def _exists(admin: AdminClient, name: str) -> bool:
    """Ask the controller, which knows of a topic before the brokers show it."""
    pending = admin.create_topics([NewTopic(name)], request_timeout=REQUEST_TIMEOUT_S, validate_only=True)
    for _, error in _errors(pending):
        if error.code() not in {KafkaError.TOPIC_ALREADY_EXISTS, *AUTHORIZATION}:
            raise _failure(error, f"whether topic {name} exists is unknown")
        return error.code() == KafkaError.TOPIC_ALREADY_EXISTS
    return False


def _grow(admin: AdminClient, topic: NewTopic) -> None:
    wanted = NewPartitions(topic.topic, topic.num_partitions)
    pending = admin.create_partitions([wanted], request_timeout=REQUEST_TIMEOUT_S)
    # Refused as no increase where another replica was faster; the next count tells.
    for name, error in _errors(pending, but=KafkaError.INVALID_PARTITIONS):
        what, remedy = f"state topic {name} cannot grow", f"give it {topic.num_partitions} partitions"
        raise _failure(error, what, right=f"grant Alter on it, or {remedy}", remedy=remedy)


def _require_compaction(admin: AdminClient, topics: Collection[str]) -> None:
    for topic, policy in (_settings(admin, topics, "cleanup.policy") or {}).items():
        if policy != "compact":
            message = (
                f"state topic {topic} has cleanup.policy={policy}: state would be deleted while it is "
                "needed, or never be compacted. Set it to compact, and nothing else"
            )
            raise StateError(message)


def _require_visible(admin: AdminClient, topics: Collection[str]) -> None:
    """Raise where a topic is not missing but hidden: the list of all topics leaves both out."""
    if not has_controller(admin):
        return
    pending = admin.describe_topics(TopicCollection(list(topics)), request_timeout=REQUEST_TIMEOUT_S)
    for name, error in _errors(pending):
        if error.code() in AUTHORIZATION:
            raise _failure(error, f"topic {name} is hidden", right="grant Describe on it")


def _settings(admin: AdminClient, topics: Collection[str], setting: str) -> dict[str, str] | None:
    """Return the value that each topic has for the setting; None where the cluster cannot be asked."""
    if not has_controller(admin):
        _log.info("settings of topics are not checked: the cluster has no controller to ask")
        return None
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    pending = admin.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
    for resource, error in _errors(pending):
        what = f"{setting} of topic {resource.name} is unknown"
        raise _failure(error, what, right="grant DescribeConfigs on it")
    return {resource.name: future.result()[setting].value for resource, future in pending.items()}


def has_controller(admin: AdminClient) -> bool:
    """Tell whether more than metadata can be asked for: librdkafka asks by way of the controller.

    The broker inside librdkafka names one that does not exist; requests wait for it in vain.
    """
    metadata = _metadata(admin)
    return metadata.controller_id in metadata.brokers


def _metadata(admin: AdminClient) -> ClusterMetadata:
    # Of all topics: asking for one by its name may create it, with settings that are not ours.
    try:
        return admin.list_topics(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        what = "the Kafka cluster does not answer"
        raise _failure(error.args[0], what, remedy="check kafka.bootstrap.servers") from error


def _errors(pending: Mapping[Any, Future[Any]], but: int | None = None) -> Iterator[tuple[Any, KafkaError]]:
    """Wait for every answer, and yield what was not done and why."""
    for asked, future in pending.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != but:
                yield asked, error.args[0]


def _failure(
    error: KafkaError, what: str, *, right: str = "check the rights", remedy: str = "check the brokers"
) -> ServiceError:
    """Return the error to raise: only the remedy for what is forbidden is a right."""
    if error.code() in AUTHORIZATION:
        return AuthorizationError(f"{what} ({error.str()}); {right}")
    return BrokerError(f"{what} ({error.str()}); {remedy}")
