"""Watches for transactions that do not end, in the partitions that a role reads."""

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

# By then brokers have aborted what timed out, and looked for it twice.
_AFTER_S = 40.0

# A shard's position is the last record of its transaction.
_RECORDS = 5_000
_WAIT_S = 1.0


class TransactionWatch:
    """Says of each partition whose stable offset stands still since when, and whose transaction it is."""

    def __init__(
        self, settings: Settings, admin: SharedAdmin, telemetry: RoleTelemetry, clock: Clock
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._offsets = StalledOffsets(admin, _AFTER_S, clock.monotonic_s)
        self._said: dict[Partition, int] = {}

    def step(self, partitions: Collection[Partition]) -> None:
        """Look at these partitions, without waiting but for a second when one is found."""
        stalled = self._offsets.step(partitions)
        self._telemetry.stalled(stalled)
        self._said = {at: offset for at, offset in self._said.items() if at in stalled}
        for at, waited_s in stalled.items():
            offset = self._offsets.offset(at)
            if self._said.get(at) != offset:
                self._said[at] = offset
                self._telemetry.transaction_hangs(
                    at, offset, waited_s, _writer_of(self._settings, at, offset)
                )
                # The others have their turn in the next steps: this one took a second.
                return


def _writer_of(settings: Settings, partition: Partition, offset: int) -> str | None:
    """Return the transactional id that wrote the open transaction at an offset; None where none says so."""
    topic, index = partition
    # Other topics are written by producers that we do not know.
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
