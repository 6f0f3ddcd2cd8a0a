"""Builder of Kafka messages, with defaults for what a test does not say."""

from confluent_kafka import OFFSET_INVALID, TIMESTAMP_CREATE_TIME, KafkaError, Message

from tests.builders.clocks import MONDAY_MS

TOPIC = "embeddings"


class FakeMessage(Message):
    """A message of a poll: a record, or a notice if it has an error."""

    def __init__(
        self,
        value: bytes | None = b"",
        *,
        topic: str | None = TOPIC,
        partition: int = 0,
        offset: int | None = 0,
        key: bytes | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
        stamp: tuple[int, int] = (TIMESTAMP_CREATE_TIME, MONDAY_MS),
        error: KafkaError | None = None,
        leader_epoch: int = -1,
    ) -> None:
        at = OFFSET_INVALID if offset is None else offset
        super().__init__(
            topic, partition, at, key, value, headers, error, timestamp=stamp, leader_epoch=leader_epoch
        )
