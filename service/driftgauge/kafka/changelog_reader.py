"""Reads the changelog of shards that are being restored: the last value of each key."""

import logging
from collections.abc import Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from driftgauge.core.windows.changelog import Key, Value
from driftgauge.errors import AuthorizationError, BrokerError, StateError
from driftgauge.kafka.calls import AUTHORIZATION
from driftgauge.records.changelog import decode

__all__ = ["ChangelogReader"]

_log = logging.getLogger(__name__)

_BATCH = 2_000
# So many records are taken in before the other shards have their turn again.
_BATCHES = 5


class ChangelogReader:
    """Reads committed records from the beginning, as a member of no group."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._positions: dict[int, int] = {}
        self._values: dict[int, dict[bytes, bytes]] = {}

    def begin(self, shard: int) -> None:
        """Read a shard's changelog from its beginning."""
        self.end(shard)
        self._positions[shard], self._values[shard] = OFFSET_BEGINNING, {}
        self._consumer.incremental_assign([TopicPartition(self._topic, shard, OFFSET_BEGINNING)])

    def end(self, shard: int) -> None:
        """Read a shard no longer, and forget what was read."""
        if self._positions.pop(shard, None) is not None:
            self._consumer.incremental_unassign([TopicPartition(self._topic, shard)])
            del self._values[shard]

    def poll(self, wait_s: float = 0) -> None:
        """Take in what has come, after waiting so long at most for the first of it.

        Raises:
            BrokerError: The changelog cannot be read; later it may.
            AuthorizationError: It must not be read.
        """
        if not self._positions:
            return
        for _ in range(_BATCHES):
            messages = self._consumer.consume(_BATCH, wait_s)
            for message in messages:
                shard, offset, error = message.partition(), message.offset() or 0, message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    self._heed(error, shard)
                elif shard in self._positions:
                    # The end lies past transaction markers and compacted records, which are never delivered.
                    next_offset = offset if error is not None else offset + 1
                    self._positions[shard] = max(self._positions[shard], next_offset)
                    if error is None:
                        self._put(self._values[shard], message.key() or b"", message.value())
            if len(messages) < _BATCH:
                return

    def has_reached(self, shard: int, end: int) -> bool:
        """Tell whether a shard's changelog has been read up to an offset."""
        return self._positions[shard] >= end or end == 0

    def content(self, shard: int) -> Mapping[Key, Value]:
        """Return what stands in a shard's changelog.

        Raises:
            StateError: A record is damaged, or of another version.
        """
        content: dict[Key, Value] = {}
        for key, value in self._values[shard].items():
            try:
                decoded = decode(key, value)
            except StateError as error:
                message = f"{self._topic}[{shard}]: {error}"
                raise StateError(message) from error
            if decoded is not None and decoded[1] is not None:
                content[decoded[0]] = decoded[1]
        return content

    def close(self) -> None:
        """Let the client go."""
        self._consumer.close()

    @staticmethod
    def _put(values: dict[bytes, bytes], key: bytes, value: bytes | None) -> None:
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value

    def _heed(self, error: KafkaError, shard: int | None) -> None:
        where = f"{self._topic}[{shard}]"
        if error.code() in AUTHORIZATION:
            message = f"{where} must not be read ({error.str()}); check the client's rights"
            raise AuthorizationError(message)
        if error.fatal():
            message = f"the reader of {where} failed for good ({error.str()})"
            raise BrokerError(message)
        _log.warning("broker notice", extra={"error": error.str(), "partition": where})
