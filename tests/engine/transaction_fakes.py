"""Fakes of a transactional producer and of a group member, and a transaction over them."""

import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from itertools import count

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftgauge.clock import Clock
from driftgauge.engine.producer.transaction import Transaction
from tests.builders.messages import FakeMessage

BOUND_S = 5.0
COMMIT_STEPS = ("send_offsets_to_transaction", "commit_transaction")

OnError = Callable[[KafkaError], None]
OnDelivery = Callable[[KafkaError | None, FakeMessage], None]
QueuedRecord = tuple[str, int, OnDelivery]


def make_error(code: int, **flags: bool) -> KafkaError:
    return KafkaError(code, "why", **flags)


class FakeProducer:
    """A producer whose calls fail with the errors given, one per call, and then succeed.

    Partitions that are not `unwritable` take records; an abort purges the records of the others.

    Attributes:
        calls: The names of the calls, in order.
        queue: Records that are not delivered yet.
        errors: Errors that the next poll reports.
    """

    on_error: OnError

    def __init__(self, unwritable: Collection[int] = (), **failures: list[KafkaError]) -> None:
        self._failures = {name: [*errors] for name, errors in failures.items()}
        self._unwritable = unwritable
        self.calls: list[str] = []
        self.queue: list[QueuedRecord] = []
        self.errors: list[KafkaError] = []

    def __len__(self) -> int:
        return len(self.queue)

    def init_transactions(self, _: float) -> None:
        self._call("init_transactions")

    def begin_transaction(self) -> None:
        if "begin_transaction" in self.calls[-1:] or self.queue:
            raise KafkaException(make_error(KafkaError._STATE))
        self._call("begin_transaction")

    def send_offsets_to_transaction(self, *_: object) -> None:
        self._call("send_offsets_to_transaction")

    def commit_transaction(self, _: float) -> None:
        self._call("commit_transaction")

    def abort_transaction(self, _: float) -> None:
        self._report(list(self.queue), make_error(KafkaError._PURGE_QUEUE))
        self._call("abort_transaction")

    def poll(self, _: float) -> None:
        while self.errors:
            self.on_error(self.errors.pop())

    def produce(self, topic: str, *, partition: int, on_delivery: OnDelivery, **_: object) -> None:
        self.queue.append((topic, partition, on_delivery))

    def flush(self, _: float) -> int:
        self._report([record for record in self.queue if record[1] not in self._unwritable], None)
        return len(self.queue)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self._failures.get(name):
            raise KafkaException(self._failures[name].pop(0))

    def _report(self, records: list[QueuedRecord], error: KafkaError | None) -> None:
        for topic, partition, on_delivery in records:
            self.queue.remove((topic, partition, on_delivery))
            on_delivery(error, FakeMessage(topic=topic, partition=partition))


class FakeMember:
    """A consumer that is a member of its group, unless its `member_id` is None."""

    def __init__(self) -> None:
        self.member_id: str | None = "member"

    def consumer_group_metadata(self) -> bytes:
        return b""

    def memberid(self) -> str | None:
        return self.member_id


class ProducerFactory:
    """Returns the producers given, one after the other.

    Attributes:
        ids: The transactional ids asked for.
    """

    def __init__(self, *producers: FakeProducer) -> None:
        self._producers = list(producers)
        self.ids: list[str] = []

    def __call__(self, transactional_id: str, on_error: OnError) -> FakeProducer:
        producer = self._producers.pop(0)
        self.ids.append(transactional_id)
        producer.on_error = on_error
        return producer


def unstarted_transaction(
    *producers: FakeProducer,
    clock_ms: Callable[[], int] = lambda: 1_000,
    monotonic: Callable[[], float] | None = None,
    stopping: threading.Event | None = None,
) -> tuple[Transaction, ProducerFactory]:
    """Return a transaction; its clock advances by a second at every reading unless one is given."""
    factory = ProducerFactory(*producers)
    clock = Clock(clock_ms, monotonic or count().__next__)
    return Transaction(factory, "id", clock, group="group", stopping=stopping or threading.Event()), factory


def started(*producers: FakeProducer, **clocks: Callable[[], float]) -> tuple[Transaction, ProducerFactory]:
    transaction, factory = unstarted_transaction(*producers, **clocks)
    transaction.start(BOUND_S)
    return transaction, factory


def commit(transaction: Transaction, bound_s: float = BOUND_S) -> None:
    """Commit one offset for a member, in a new transaction unless one is open."""
    transaction.bind(FakeMember())
    with suppress(RuntimeError):
        transaction.begin(BOUND_S)
    transaction.commit([TopicPartition("t", 0, 1)], bound_s)
