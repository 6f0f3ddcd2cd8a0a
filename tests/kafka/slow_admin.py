"""An administration client whose answers come when a test gives them."""

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition

from driftgauge.core.partition import Partition


@dataclass(frozen=True)
class Answer:
    """What is answered for one partition."""

    offset: int


class SlowAdmin:
    """Remembers what it is asked, one request after the other, and for which isolation level."""

    def __init__(self) -> None:
        self.asked: list[dict[TopicPartition, Future[Answer]]] = []
        self.stable: list[bool] = []

    def list_offsets(
        self, partitions: Iterable[TopicPartition], *, isolation_level: IsolationLevel, request_timeout: float
    ) -> dict[TopicPartition, Future[Answer]]:
        answers: dict[TopicPartition, Future[Answer]] = {partition: Future() for partition in partitions}
        self.asked.append(answers)
        self.stable.append(isolation_level is IsolationLevel.READ_COMMITTED)
        return answers

    def list_topics(self, *, timeout: float) -> None:
        """The leaders are learnt again."""

    def answer(self, request: int, partition: Partition, offset: int) -> None:
        self.asked[request][TopicPartition(*partition)].set_result(Answer(offset))

    def fail(self, request: int, partition: Partition) -> None:
        error = KafkaException(KafkaError(KafkaError._TIMED_OUT, "why"))
        self.asked[request][TopicPartition(*partition)].set_exception(error)
