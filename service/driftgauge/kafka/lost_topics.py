"""Detects a lost internal topic: missing, although offsets or another topic show that it existed."""

from collections.abc import Mapping
from time import sleep
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from driftgauge.clock import Clock
from driftgauge.errors import StateError
from driftgauge.kafka.calls import AUTHORIZATION
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.internal_topics import InternalTopics
from driftgauge.kafka.metadata import failure, failures

__all__ = ["require_changelog_not_lost", "require_partials_not_lost"]

# Long enough for a coordinator to start, and for a committing transaction to end.
_TIMEOUT_S: Final = 10.0
_RETRY_S: Final = 0.1


def require_partials_not_lost(
    admin: AdminClient, topics: InternalTopics, events: Mapping[str, int], count: Consumer, clock: Clock
) -> None:
    """Raise StateError if the missing partials topic existed before."""
    if _exists(admin, topics.changelog):
        known = f"its changelog {topics.changelog} is there"
    elif any(_has_committed(count, topic, number, clock) for topic, number in events.items()):
        known = "the group has read events"
    else:
        return
    # This check comes last, because another replica creates the topics before it commits an offset.
    if not _exists(admin, topics.partials):
        message = (
            f"partials topic {topics.partials} is missing, yet {known}: counts that were not applied are "
            "lost. If the number of shards was changed, run driftgauge kafka reshard. Otherwise restore the "
            f"topic; or stop every replica and delete {topics.changelog} and the offsets of both groups, "
            "and the events that Kafka still holds are counted again"
        )
        raise StateError(message)


def require_changelog_not_lost(
    admin: AdminClient, topics: InternalTopics, windows: Consumer, clock: Clock
) -> None:
    """Raise StateError if the missing changelog existed before."""
    if _exists(admin, topics.changelog):
        # A hanging transaction on the group's offsets delays one shard only, so they are not read here.
        return
    is_known = _has_committed(windows, topics.partials, topics.shards, clock)
    if is_known and not _exists(admin, topics.changelog):
        message = (
            f"changelog topic {topics.changelog} is missing, yet its group has read {topics.partials}: the "
            "windows that were open are lost. Restore the topic; or stop every replica and delete the "
            f"offsets of {topics.partials} (kafka-consumer-groups.sh --delete-offsets), and the counts that "
            "the topic still holds are applied again"
        )
        raise StateError(message)


def _has_committed(consumer: Consumer, topic: str, partitions: int, clock: Clock) -> bool:
    """True if the group has committed an offset; waits for a transaction that is about to commit one."""
    # AdminClient.list_consumer_group_offsets of librdkafka 2.16 crashes the process while a cluster's
    # coordinator starts (https://github.com/confluentinc/librdkafka/issues/5040).
    requested = [TopicPartition(topic, index) for index in range(partitions)]
    deadline_s = clock.monotonic_s() + _TIMEOUT_S
    while True:
        error: KafkaError | None
        try:
            answers = consumer.committed(requested, timeout=REQUEST_TIMEOUT_S)
            error = next((answer.error for answer in answers if answer.error is not None), None)
        except KafkaException as raised:
            error = raised.args[0]
            # A group without rights gets no answer; the next poll reports the reason.
            event = consumer.poll(0)
            if event is not None:
                error = event.error() or error
        if error is None:
            return any(answer.offset >= 0 for answer in answers)
        if error.code() in AUTHORIZATION or clock.monotonic_s() > deadline_s:
            what = f"the group's offsets of topic {topic} are unknown"
            raise failure(error, what, right=f"grant Read on the group and on {topic}")
        sleep(_RETRY_S)


def _exists(admin: AdminClient, name: str) -> bool:
    """True if the controller knows the topic, which it does before the brokers list it."""
    pending = admin.create_topics([NewTopic(name)], request_timeout=REQUEST_TIMEOUT_S, validate_only=True)
    for _, error in failures(pending):
        if error.code() not in {KafkaError.TOPIC_ALREADY_EXISTS, *AUTHORIZATION}:
            raise failure(error, f"whether topic {name} exists is unknown")
        return error.code() == KafkaError.TOPIC_ALREADY_EXISTS
    return False
