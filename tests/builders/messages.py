"""Builder of Kafka messages, which tests cannot create by the client."""

from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError

from tests.builders.clocks import MONDAY_MS

TOPIC = "embeddings"


class FakeMessage:
    """A message of a poll: a record, or a notice if it has an error."""

    def __init__(
        self,
        value: bytes | None = b"",
        *,
        topic: str | None = TOPIC,
        partition: int | None = 0,
        offset: int | None = 0,
        key: bytes | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
        stamp: tuple[int, int] = (TIMESTAMP_CREATE_TIME, MONDAY_MS),
        error: KafkaError | None = None,
    ) -> None:
        self._value, self._key, self._headers = value, key, headers
        self._topic, self._partition, self._offset = topic, partition, offset
        self._stamp, self._error = stamp, error

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes | None:
        return self._key

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self._headers

    def topic(self) -> str | None:
        return self._topic

    def partition(self) -> int | None:
        return self._partition

    def offset(self) -> int | None:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return self._stamp

    def error(self) -> KafkaError | None:
        return self._error
