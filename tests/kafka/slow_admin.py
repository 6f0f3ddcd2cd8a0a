"""A fake admin client that answers when a test makes it."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from driftgauge.core.partition import Partition


@dataclass(frozen=True)
class Answer:
    """The answer for one partition."""

    offset: int


Answers = dict[TopicPartition, Future[Answer]]


class SlowAdmin:
    """A fake of both the admin client and its `SharedAdmin`.

    Attributes:
        asked: The answers of each request by partition.
        stable: Whether each request asks for last stable offsets.
        renewed: The number of requests to replace the client.
    """

    def __init__(self) -> None:
        self.asked: list[Answers] = []
        self.stable: list[bool] = []
        self.renewed = 0

    @property
    def client(self) -> "SlowAdmin":
        return self

    def renew(self) -> None:
        self.renewed += 1

    def list_offsets(
        self,
        partitions: Mapping[TopicPartition, OffsetSpec],
        *,
        isolation_level: IsolationLevel,
        request_timeout: float,
    ) -> Answers:
        answers: Answers = {partition: Future() for partition in partitions}
        self.asked.append(answers)
        self.stable.append(isolation_level is IsolationLevel.READ_COMMITTED)
        return answers

    def answer(self, request: int, partition: Partition, offset: int) -> None:
        self.asked[request][TopicPartition(*partition)].set_result(Answer(offset))

    def fail(self, request: int, partition: Partition) -> None:
        error = KafkaException(KafkaError(KafkaError._TIMED_OUT, "why"))
        self.asked[request][TopicPartition(*partition)].set_exception(error)
