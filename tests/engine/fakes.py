"""Fakes of Kafka clients that several tests share."""

from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from tests.kafka.slow_admin import Answer, Answers, SlowAdmin


class GroupConsumer:
    """A consumer that logs its assignments, in a group whose committed offsets are given by partition.

    Attributes:
        error: The code of the error that `committed` raises, if any.
        log: The calls: "assign" with topic, index, offset and leader epoch of each partition; "unassign" with
            topic and index.
        sought: What the client was made to validate, as "assign".
    """

    def __init__(self, offsets: Mapping[int, tuple[int, str]]) -> None:
        self._offsets = offsets
        self.error: int | None = None
        self.log: list[tuple[str, list[tuple[str | int, ...]]]] = []
        self.sought: list[tuple[str | int, ...]] = []

    def committed(self, asked: Sequence[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        if self.error is not None:
            raise KafkaException(KafkaError(self.error))
        return [
            TopicPartition(
                each.topic, each.partition, *self._offsets.get(each.partition, (OFFSET_INVALID, "")), 5
            )
            for each in asked
        ]

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        self.log.append(
            ("assign", [(each.topic, each.partition, each.offset, each.leader_epoch) for each in partitions])
        )

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        self.log.append(("unassign", [(each.topic, each.partition) for each in partitions]))

    def seek(self, partition: TopicPartition) -> None:
        self.sought.append((partition.topic, partition.partition, partition.offset, partition.leader_epoch))


class QuickAdmin(SlowAdmin):
    """An admin client that answers at once.

    Attributes:
        begin, end: The beginning and the end of every log.
    """

    def __init__(self, begin: int = 0, end: int = 0) -> None:
        super().__init__()
        self.begin, self.end = begin, end

    def list_offsets(self, partitions: Mapping[TopicPartition, OffsetSpec], **options: Any) -> Answers:
        answers = super().list_offsets(partitions, **options)
        for at, spec in partitions.items():
            answers[at].set_result(Answer(self.begin if spec is OffsetSpec.earliest() else self.end))
        return answers
