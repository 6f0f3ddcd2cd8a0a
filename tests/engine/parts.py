"""The settings, streams and Kafka clients of workers in tests."""

from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from driftgauge.config import Settings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.baseline_contract import BaselineContract
from tests.builders.clocks import SECOND_MS
from tests.builders.references import CLUSTERS, build_reference
from tests.builders.specs import build_spec
from tests.kafka.slow_admin import Answer, Answers, SlowAdmin

STREAM, OTHER = "images", "texts"
SHARDS = 2
# Windows of one second; one stream of each shard.
SPECS = tuple(
    build_spec(
        stream, reference=build_reference(stream), sizes_ms=(SECOND_MS,), disorder_ms=500, lateness_ms=10**9
    )
    for stream in (STREAM, OTHER)
)
CONTRACTS = [
    BaselineContract(spec.name, spec.baselines[0].reference.key, CLUSTERS, None, DistanceMetric.EUCLIDEAN)
    for spec in SPECS
]


def build_settings(kafka: dict[str, object], *, windows: str, letters: str, events: str) -> Settings:
    """Return a configuration; its baseline files do not exist, and no test reads them."""
    return Settings.model_validate(
        {
            "kafka": kafka,
            "streams": [{"name": spec.name, "baseline": "no-such-file", "windows": ["1s"]} for spec in SPECS],
            "topics": {"events": [events], "windows": windows, "dead_letters": letters},
            "shards": SHARDS,
            "commit_interval": "100ms",
        }
    )


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
