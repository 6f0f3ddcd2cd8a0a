"""The changelog reader: the last committed value of each key, for shards that are being restored."""

from collections.abc import Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from driftgauge.core.partition import name_partition
from driftgauge.core.windows.changelog import Key, Value
from driftgauge.errors import BrokerError, StateError
from driftgauge.kafka.intake import sort_messages
from driftgauge.records.changelog_records import decode

__all__ = ["DAMAGED_REMEDY", "ChangelogReader", "key_of"]

DAMAGED_REMEDY = (
    "a record is damaged on the broker's disk: restore the partition from another replica, or delete both "
    "internal topics and the offsets of both groups, then restart"
)
"""The remedy for a batch that fails its checksum, which the client never passes."""

_BATCH = 2_000
# A poll returns after this many batches, so that running shards do not wait for a long changelog.
_BATCHES = 5


def key_of(key: bytes) -> int:
    """Return a key's bytes as a number of 64 bits, which takes a third of their memory.

    Two keys of one shard have the same number in one of 10^9 shards with 200,000 keys.
    """
    return hash(key)


class ChangelogReader:
    """Reads the changelogs of shards from their beginning, outside any consumer group.

    Attributes:
        positions: The next offset to read of each shard that is read; negative before its first record.
    """

    def __init__(self, consumer: Consumer, topic: str, tally_lengths: Mapping[str, int]) -> None:
        self._consumer = consumer
        self._topic = topic
        self._tally_lengths = tally_lengths
        self.positions: dict[int, int] = {}
        self._values: dict[int, dict[bytes, bytes]] = {}
        self._damaged: dict[int, str] = {}

    def begin(self, shard: int) -> None:
        """Start to read a shard's changelog from its beginning."""
        self.end(shard)
        self.positions[shard], self._values[shard] = OFFSET_BEGINNING, {}
        self._consumer.incremental_assign([TopicPartition(self._topic, shard, OFFSET_BEGINNING)])

    def end(self, shard: int) -> None:
        """Stop reading a shard's changelog, and forget its values."""
        if self.positions.pop(shard, None) is not None:
            self._consumer.incremental_unassign([TopicPartition(self._topic, shard)])
            del self._values[shard]
            self._damaged.pop(shard, None)

    def poll(self) -> None:
        """Read the records that have arrived.

        Raises:
            BrokerError: The changelog cannot be read now.
            AuthorizationError: The cluster denies reading the changelog.
        """
        for _ in range(_BATCHES):
            messages = self._consumer.consume(_BATCH, 0)
            polled = sort_messages(messages)
            for message in polled.records:
                shard = message.partition()
                if shard in self.positions:
                    self.positions[shard] = (message.offset() or 0) + 1
                    self._put(self._values[shard], message.key() or b"", message.value())
            for (_, shard), end in polled.ends.items():
                if shard in self.positions:
                    self.positions[shard] = max(self.positions[shard], end)
            self._damaged |= {
                shard: what for (_, shard), what in polled.damaged.items() if shard in self.positions
            }
            for lost in polled.lost_positions:
                text = f"{name_partition(lost)} was truncated while it was read; new clients read it again"
                raise BrokerError(text)
            if len(messages) < _BATCH:
                return

    def has_reached(self, shard: int, end: int) -> bool:
        """Return whether a shard's changelog has been read up to an offset.

        Raises:
            StateError: A batch of the changelog is damaged.
        """
        if shard in self._damaged:
            message = f"{self._damaged[shard]}; {DAMAGED_REMEDY}"
            raise StateError(message)
        return self.positions[shard] >= end or end == 0

    def content(self, shard: int) -> Mapping[Key, Value]:
        """Return the values of a shard's changelog by key.

        Raises:
            StateError: A record cannot be read.
        """
        decoded = (decode(key, value, self._tally_lengths) for key, value in self._values[shard].items())
        return dict(each for each in decoded if each is not None)

    def keys(self, shard: int) -> set[int]:
        """Return the keys of a shard's changelog, as `key_of` gives them."""
        return set(map(key_of, self._values[shard]))

    @staticmethod
    def _put(values: dict[bytes, bytes], key: bytes, value: bytes | None) -> None:
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
