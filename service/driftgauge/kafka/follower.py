"""The global table's reader: every replica follows all partitions of the state topics."""

import logging
import time
from collections.abc import Iterable, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from driftgauge.core.partition import Partition
from driftgauge.core.state import Change
from driftgauge.core.table import Table
from driftgauge.errors import AuthorizationError, BrokerError, StateError
from driftgauge.events.state import decode
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.transaction import AUTHORIZATION

__all__ = ["Follower"]

_log = logging.getLogger(__name__)

_BATCH = 2_000
# So many records are taken in before the events have their turn again.
_BATCHES = 20
# An answer is put off by whatever holds the loop up, and says what the ends were when it was asked for.
_PROMPT_S = 5.0


class Follower:
    """Brings committed changes of the state into the table, in the order of each partition."""

    def __init__(
        self, consumer: Consumer, admin: AdminClient, table: Table, state_topics: Mapping[str, str]
    ) -> None:
        """Follow nothing yet.

        Args:
            consumer: A reader from the beginning, of committed records only.
            admin: Asked for the ends.
            table: Brought up to date.
            state_topics: The state topic of each events topic.
        """
        self._consumer = consumer
        self._table = table
        self._state_topics = state_topics
        self._topics = {state: topic for topic, state in state_topics.items()}
        self._positions: dict[Partition, int] = {}  # of the state's partitions
        self._ends = LogOffsets(admin, stable=True)
        self._asked: dict[Partition, int] = {}  # the positions when the ends were asked for
        self._asked_s = time.monotonic()

    def follow(self, partitions: Iterable[Partition]) -> None:
        """Follow the state of exactly these partitions of the events topics."""
        wanted = {self.state_of(partition) for partition in partitions}
        if wanted != set(self._positions):
            self._positions = {at: self._positions.get(at, OFFSET_BEGINNING) for at in wanted}
            self._consumer.assign([TopicPartition(*at, offset) for at, offset in self._positions.items()])

    @property
    def partitions(self) -> list[Partition]:
        """The partitions of the state topics that are followed."""
        return list(self._positions)

    def state_of(self, partition: Partition) -> Partition:
        """Return the partition of the state topic that keeps an events partition's state."""
        topic, index = partition
        return self._state_topics[topic], index

    def poll(self) -> None:
        """Take in what has come.

        Raises:
            BrokerError: The state cannot be read; later it may.
            AuthorizationError: It must not be read.
            StateError: What was read is not this version's state.
        """
        if not self._positions:
            return
        for _ in range(_BATCHES):
            messages = self._consumer.consume(_BATCH, 0)
            for message in messages:
                error = message.error()
                at = message.topic() or "", message.partition() or 0
                offset = message.offset() or 0
                if error is None:
                    self._take(message, at, offset)
                elif error.code() == KafkaError._PARTITION_EOF:
                    # The end lies past transaction markers and compacted records, which are never delivered.
                    self._positions[at] = max(self._positions[at], offset)
                else:
                    self._complain(error, at)
            if len(messages) < _BATCH:
                return

    def _take(self, message: Message, at: Partition, offset: int) -> None:
        where = f"{at[0]}[{at[1]}]"
        if offset < self._positions[at]:
            # The client goes back to the beginning of a log that does not hold its position.
            raise _not_the_one_read([where])
        try:
            key, value = decode(message.key() or b"", message.value())
        except StateError as error:
            text = f"{where} at offset {offset}: {error}"
            raise StateError(text) from error
        self._table.apply(Change((self._topics[at[0]], at[1]), key, value))
        self._positions[at] = offset + 1

    def has_reached(self, ends: Mapping[Partition, int]) -> bool:
        """Tell whether the state's partitions have been read up to these ends."""
        return all(self._positions.get(at, OFFSET_BEGINNING) >= end for at, end in ends.items())

    def is_current(self) -> bool:
        """Tell whether the table holds all that had been committed a moment ago, if that is known now.

        Raises:
            StateError: A state topic ends before what was read of it.
        """
        ends = self._ends.collect()
        if ends is None:
            return False
        asked, self._asked = self._asked, dict(self._positions)
        asked_s, self._asked_s = self._asked_s, time.monotonic()
        self._ends.request(self._positions)
        gone = [f"{topic}[{index}]" for (topic, index), end in ends.items() if asked[topic, index] > end]
        if gone:
            raise _not_the_one_read(gone)
        if self._asked_s - asked_s > _PROMPT_S:
            return False
        return ends.keys() == self._positions.keys() != set() and self.has_reached(ends)

    def close(self) -> None:
        """Stop following."""
        self._consumer.close()

    def _complain(self, error: KafkaError, at: Partition) -> None:
        where = f"{at[0]}[{at[1]}]"
        if error.code() in AUTHORIZATION:
            message = f"{where} must not be read ({error.str()}); check the client's rights"
            raise AuthorizationError(message)
        if error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            message = f"reading the state in {where} failed ({error.str()})"
            raise BrokerError(message)
        _log.warning("broker notice", extra={"error": error.str(), "topic": at[0], "partition": at[1]})


def _not_the_one_read(where: Iterable[str]) -> StateError:
    return StateError(
        f"the state in {', '.join(where)} is not the one that was read: the topic was made anew, or "
        "lost records; use another group.id, or delete the group and its state topics"
    )
