"""Topics and groups on a broker: create, publish, read, commit, each within a bound."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)

from driftgauge.kafka import cluster as metadata
from tests.harness.closing import close
from tests.waiting import PATIENCE_S, wait_for

BOOTSTRAP_VARIABLE = "TEST_BOOTSTRAP"
# The minimum of the tests' own broker; the default minimum of other brokers is 6 s.
SHORT_SESSION: dict[str, str | int | float | bool] = (
    {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 1_500}
    if os.environ.get(BOOTSTRAP_VARIABLE)
    else {"session.timeout.ms": 1_500, "heartbeat.interval.ms": 300}
)
TIMEOUT_S = 60.0


class DeliveryFailures(list[KafkaError]):
    """Collects the error of each undelivered record: `note` is the callback `on_delivery`."""

    def note(self, error: KafkaError | None, _: Message) -> None:
        """Record the error of a delivery report, if it has one."""
        if error is not None:
            self.append(error)


@contextmanager
def non_member(bootstrap: str, group: str, **properties: str | bool) -> Iterator[Consumer]:
    """Yield a consumer with a group's id that is not a member of the group."""
    names = {name.replace("_", "."): value for name, value in properties.items()}
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, **names}
    )
    try:
        yield consumer
    finally:
        close(consumer, f"the consumer outside of {group}")


def read(
    bootstrap: str, topic: str, *, within_s: float = PATIENCE_S, isolation: str = "read_committed"
) -> Iterator[Message]:
    """Yield the present records, each partition's in order; none if the topic does not exist."""
    with non_member(
        bootstrap,
        f"{topic}.reader",
        isolation_level=isolation,
        enable_partition_eof=True,
        auto_offset_reset="error",
    ) as consumer:
        known = consumer.list_topics(timeout=PATIENCE_S).topics
        unread = set(known[topic].partitions) if topic in known else set()
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in unread])
        deadline = time.monotonic() + within_s
        while unread:
            assert time.monotonic() < deadline, f"{topic} was not read within {within_s:g} s"
            for message in consumer.consume(10_000, 0.1):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                else:
                    raise KafkaException(error)


def committed(
    bootstrap: str, group: str, topic: str, partitions: Iterable[int], isolation: str = "read_committed"
) -> dict[int, int]:
    """Return a group's committed offsets by partition.

    Under `read_committed` this waits for the end of a transaction that holds an offset.
    """
    requested = [TopicPartition(topic, partition) for partition in partitions]
    answers: list[TopicPartition] = []

    def are_answered() -> bool:
        try:
            answers[:] = consumer.committed(requested, timeout=TIMEOUT_S)
        except KafkaException as error:
            # After a restart the broker may take a moment to load its groups.
            if error.args[0].code() != KafkaError.NOT_COORDINATOR:
                raise
            return False
        return True

    with non_member(bootstrap, group, isolation_level=isolation) as consumer:
        wait_for(f"the coordinator of {group}", are_answered)
    return {answer.partition: answer.offset for answer in answers if answer.offset >= 0}


class TopicOwner:
    """Base of one test's topics and groups on a broker; a subclass sets the attributes."""

    admin: AdminClient
    bootstrap: str

    def create(self, topic: str, partitions: int, **settings: str) -> None:
        config = {name.replace("_", "."): value for name, value in settings.items()}
        self.admin.create_topics([NewTopic(topic, partitions, config=config)])[topic].result(TIMEOUT_S)
        self.await_partitions(topic, partitions)

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(TIMEOUT_S)
        self.await_partitions(topic, 0)

    def configure(self, topic: str, **settings: str) -> None:
        """Change settings of a topic."""
        entries = [
            ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for name, value in settings.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result(TIMEOUT_S)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete the records before an offset of a partition, as retention does."""
        at = TopicPartition(topic, partition, before)
        self.admin.delete_records([at])[at].result(TIMEOUT_S)

    def count_partitions(self, topic: str) -> int:
        """Return the number of a topic's partitions, 0 for a missing topic."""
        return metadata.count_partitions(self.admin, [topic]).get(topic, 0)

    def await_partitions(self, topic: str, number: int) -> None:
        self.await_that(lambda: self.count_partitions(topic) == number, f"{number} partitions of {topic}")

    def await_that(self, is_met: Callable[[], bool], condition: str) -> None:
        """Wait for a condition; fail after the time-out."""
        wait_for(condition, is_met)

    def read(self, topic: str, isolation: str = "read_committed") -> list[Message]:
        """Return every record of a topic, partition by partition; none if the topic is missing."""
        return sorted(
            read(self.bootstrap, topic, isolation=isolation),
            key=lambda message: (message.partition(), message.offset()),
        )

    def pairs(self, topic: str) -> list[tuple[bytes | None, bytes | None]]:
        """Return key and value of every committed record of a topic."""
        return [(message.key(), message.value()) for message in self.read(topic)]

    def count_members(self, *groups: str) -> int:
        described = self.admin.describe_consumer_groups([*groups])
        return sum(len(described[group].result(TIMEOUT_S).members) for group in groups)
