"""Topics that a test creates, grows and deletes, each time until the cluster shows it."""

from collections.abc import Callable

from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from driftgauge.kafka import metadata
from tests.waiting import wait_for

TIMEOUT_S = 30.0


class TopicOwner:
    """Base of the test clusters; a subclass sets `admin`."""

    admin: AdminClient

    def create(self, topic: str, partitions: int, **settings: str) -> None:
        config = {name.replace("_", "."): value for name, value in settings.items()}
        self.admin.create_topics([NewTopic(topic, partitions, config=config)])[topic].result(TIMEOUT_S)
        self.await_partitions(topic, partitions)

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(TIMEOUT_S)
        self.await_partitions(topic, 0)

    def grow(self, topic: str, partitions: int) -> None:
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(TIMEOUT_S)
        self.await_partitions(topic, partitions)

    def count_partitions(self, topic: str) -> int:
        """Return the number of a topic's partitions, 0 for a missing topic."""
        return metadata.count_partitions(self.admin, [topic]).get(topic, 0)

    def await_partitions(self, topic: str, number: int) -> None:
        self.await_that(lambda: self.count_partitions(topic) == number, f"{number} partitions of {topic}")

    def await_that(self, is_met: Callable[[], bool], condition: str, within_s: float = TIMEOUT_S) -> None:
        """Wait for a condition; fail after the time-out."""
        wait_for(condition, is_met, within_s=within_s)
