"""Detects hanging transactions in the partitions that a role reads."""

from collections.abc import Collection
from contextlib import closing

from confluent_kafka import Consumer, TopicPartition

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.partition import Partition
from driftgauge.core.windows.changelog import PositionKey
from driftgauge.errors import StateError
from driftgauge.kafka import client
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.kafka.stalled import StalledOffsets
from driftgauge.records.changelog import decode, encode_key
from driftgauge.records.partials import decode_part
from driftgauge.telemetry.roles import RoleTelemetry

__all__ = ["TransactionWatch"]

# Within this time brokers have looked twice for transactions that timed out, and aborted them.
_AFTER_S = 40.0

# The batch must reach a shard's position, which is the last record of its transaction.
_RECORDS = 5_000
_WAIT_S = 1.0


class TransactionWatch:
    """Reports each partition whose stable offset is stalled, for how long, and the transaction's writer."""

    def __init__(
        self, settings: Settings, admin: SharedAdmin, telemetry: RoleTelemetry, clock: Clock
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._offsets = StalledOffsets(admin, _AFTER_S, clock.monotonic_s)
        self._reported: dict[Partition, int] = {}  # the offset of each reported transaction

    def step(self, partitions: Collection[Partition]) -> None:
        """Check these partitions; takes up to a second when a new hanging transaction is found."""
        stalled = self._offsets.step(partitions)
        self._telemetry.stalled(stalled)
        self._reported = {at: offset for at, offset in self._reported.items() if at in stalled}
        for partition, stalled_s in stalled.items():
            offset = self._offsets.offset(partition)
            if self._reported.get(partition) != offset:
                self._reported[partition] = offset
                writer = _find_writer(self._settings, partition, offset)
                self._telemetry.transaction_hangs(partition, offset, stalled_s, writer)
                # The next steps report the others, because this one took up to a second.
                return


def _find_writer(settings: Settings, partition: Partition, offset: int) -> str | None:
    """Return the transactional id of the open transaction at an offset; None if no record names it."""
    topic, index = partition
    # Records of other topics do not name their producer.
    if topic not in {settings.partials_topic, settings.changelog_topic}:
        return None
    with closing(client.uncommitted_consumer(settings.kafka)) as consumer:
        consumer.assign([TopicPartition(topic, index, offset)])
        return _read_writer(consumer, is_partials=topic == settings.partials_topic)


def _read_writer(consumer: Consumer, *, is_partials: bool) -> str | None:
    position = encode_key(PositionKey())
    for message in consumer.consume(_RECORDS, _WAIT_S):
        key, value = message.key(), message.value()
        if message.error() is not None or value is None:
            continue
        try:
            if is_partials:
                return decode_part(value).commit.producer
            if key == position and (decoded := decode(key, value)) is not None:
                return getattr(decoded[1], "writer", None)
        except StateError:
            continue
    return None
