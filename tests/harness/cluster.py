"""The topics and the consumer group of one test on a real broker."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from confluent_kafka import Consumer, Producer, TopicPartition

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.partition import Partition
from driftgauge.engine.producer.transaction import Transaction
from driftgauge.kafka import client
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.shared_admin import SharedAdmin
from tests.harness.closing import close
from tests.harness.topics import SHORT_SESSION, TIMEOUT_S, TopicOwner, committed


class Cluster(AbstractContextManager["Cluster"], TopicOwner):
    """An events topic, topics for results and dead letters, and a consumer group, all with unique names."""

    def __init__(self, bootstrap: str, partitions: int = 2) -> None:
        name = uuid.uuid4().hex
        self.group = f"group-{name}"
        self.events, self.windows, self.letters = f"events-{name}", f"windows-{name}", f"letters-{name}"
        self.partitions = partitions
        self.bootstrap = bootstrap
        self.properties: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "group.id": self.group,
            **SHORT_SESSION,
        }
        self.admin = client.admin(self.properties)
        self.shared_admin = SharedAdmin(partial(client.admin, self.properties), SYSTEM_CLOCK)
        for topic, number in ((self.events, partitions), (self.windows, 1), (self.letters, 1)):
            self.create(topic, number)

    def __exit__(self, *_: object) -> None:
        # The broker is shared, and each partition keeps files open.
        internal = [topic for topic in self.admin.list_topics().topics if f".{self.group}." in topic]
        self.admin.delete_topics([self.events, self.windows, self.letters, *internal])

    def publish(self, *values: bytes, partition: int = 0) -> None:
        """Append events to a partition."""
        producer = client.producer(self.properties)
        for value in values:
            producer.produce(self.events, value, partition=partition)
        assert producer.flush(TIMEOUT_S) == 0

    def writer(self, name: str | None = None, **properties: str | int) -> Producer:
        """Return a transactional producer that has been initialised."""
        producer = client.transactional_producer(
            {**self.properties, **properties}, name or f"{self.group}-{uuid.uuid4().hex}", lambda _: None
        )
        producer.init_transactions(TIMEOUT_S)
        return producer

    def unstarted_transaction(self, name: str | None = None, **properties: str | int) -> Transaction:
        """Return a transaction of the service, not started."""
        return Transaction(
            partial(client.transactional_producer, {**self.properties, **properties}),
            name or f"{self.group}-{uuid.uuid4().hex}",
            SYSTEM_CLOCK,
            group=self.group,
            stopping=threading.Event(),
        )

    def transaction(self, name: str | None = None, **properties: str | int) -> Transaction:
        """Return a transaction of the service, started."""
        transaction = self.unstarted_transaction(name, **properties)
        transaction.start(TIMEOUT_S)
        return transaction

    @staticmethod
    def commit_for(
        member: Consumer, transaction: Transaction, offsets: list[TopicPartition], bound_s: float
    ) -> None:
        """Commit a transaction with offsets of a member's group."""
        transaction.bind(member)
        transaction.commit(offsets, bound_s)

    @contextmanager
    def member(self, **properties: str | int) -> Iterator[Consumer]:
        """Yield a member of the group that owns partitions."""
        consumer = client.consumer({**self.properties, **properties}, self.group)
        try:
            consumer.subscribe([self.events])
            self.await_that(lambda: consumer.poll(0.1) is None and bool(consumer.assignment()), "partitions")
            yield consumer
        finally:
            close(consumer, f"the member of {self.group}")

    def at(self, offsets: dict[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self.events, partition, offset) for partition, offset in offsets.items()]

    def committed(self) -> dict[int, int]:
        """Return the group's committed offsets of the events topic, by partition."""
        return committed(self.bootstrap, self.group, self.events, range(self.partitions))

    def offsets(self, partitions: list[Partition], **kind: bool) -> dict[Partition, int]:
        """Return the first or the end offset of each log."""
        offsets = LogOffsets(self.shared_admin, **kind)
        offsets.request(partitions)
        found: list[dict[Partition, int]] = []
        # The simulated cluster takes this method too, and waits by its own clock.
        self.await_that(
            lambda: (answers := offsets.collect()) is not None and not found.append(answers), "offsets"
        )
        return found[0]
