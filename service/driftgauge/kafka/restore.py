"""The barrier between an assignment and the first event counted: all that was committed, and no more."""

import logging
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from driftgauge.core.partition import Partition
from driftgauge.core.table import Table
from driftgauge.errors import AuthorizationError
from driftgauge.kafka.follower import Follower
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.transaction import AUTHORIZATION

__all__ = ["Restore", "Restored"]

_log = logging.getLogger(__name__)

_COMMITTED_S = 1.0
_COMPLAIN_EVERY_S = 10.0
_ASK_AGAIN_S = 0.5
# By then every transaction has been committed, or aborted for its timeout.
_LONG_S = 60.0
_REMEDY = (
    "check the brokers; if a transaction stays open in a state topic or in __consumer_offsets, find and "
    "abort it with kafka-transactions.sh (describe-producers, abort)"
)


@dataclass(frozen=True, slots=True)
class Restored:
    """From where the partitions are read on.

    Attributes:
        positions: The next offset of each partition that can be counted.
        lost: How many offsets the log no longer keeps of what was to be read, where there are any.
        stopped: The partitions that must not be counted, and why.
    """

    positions: dict[Partition, int] = field(default_factory=dict)
    lost: dict[Partition, int] = field(default_factory=dict)
    stopped: dict[Partition, str] = field(default_factory=dict)


class Restore:
    """One assignment's way through the barrier, a step at a time, so that the group is heard meanwhile.

    1. The group's committed offsets, none of which may be part of an open transaction: an owner
       that was paused between sending its offsets and committing can still commit when it wakes.
    2. The state's high watermarks, asked for after that, and the table's reader past them. The end
       of what is committed would not do: it stands still before an open transaction. Of the
       partitions of others it does, which must be known, but need not be settled; unless a partition
       is new, for what it counts must not be final already by what is about to be committed.
    3. The state's position must be the committed one; where the group's offset has expired, the
       state's stands.
    """

    def __init__(
        self,
        partitions: Sequence[Partition],
        consumer: Consumer,
        admin: AdminClient,
        follower: Follower,
        table: Table,
        streams: Collection[str],
        since_s: float,
    ) -> None:
        self._partitions = partitions
        self._consumer = consumer
        self._admin = admin
        self._follower = follower
        self._table = table
        self._streams = streams
        self._since_s = since_s
        self._complained_s = time.monotonic()
        self._waiting_for = ""
        self._steps = self._run()

    def step(self) -> Restored | None:
        """Go as far as possible without waiting; None while there is something to wait for.

        Raises:
            AuthorizationError: The cluster does not let us read what is needed.
        """
        try:
            next(self._steps)
        except StopIteration as end:
            restored: Restored = end.value
            return restored
        now_s = time.monotonic()
        if now_s - self._complained_s >= _COMPLAIN_EVERY_S:
            self._complained_s = now_s
            remedy = _REMEDY if self.waited_s > _LONG_S else "wait: transactions time out"
            _log.warning(
                "restore is waiting",
                extra={"waiting_for": self._waiting_for, "waited_s": self.waited_s, "remedy": remedy},
            )
        return None

    @property
    def waited_s(self) -> float:
        """Seconds since the assignment, or since what was held had to be dropped."""
        return time.monotonic() - self._since_s

    def _run(self) -> Generator[None, None, Restored]:
        if not self._partitions:
            return Restored()
        committed = yield from self._committed()
        state = [self._follower.state_of(partition) for partition in self._partitions]
        everywhere = self._follower.partitions
        stable = yield from self._ask(LogOffsets(self._admin, stable=True), everywhere, "the state's ends")
        settled = yield from self._ask(LogOffsets(self._admin), state, "the state's ends")
        yield from self._read_to(stable | settled)
        if any(self._is_new(partition) for partition in self._partitions):
            settled = yield from self._ask(LogOffsets(self._admin), everywhere, "the state's ends")
            yield from self._read_to(settled)
        begin = yield from self._ask(
            LogOffsets(self._admin, earliest=True), self._partitions, "the events' ends"
        )
        end = yield from self._ask(LogOffsets(self._admin), self._partitions, "the events' ends")
        restored = Restored()
        for partition in self._partitions:
            progress = self._table.progress(partition)
            self._judge(
                partition,
                None if progress is None else progress.position,
                committed[partition],
                (begin[partition], end[partition]),
                restored,
            )
        return restored

    def _is_new(self, partition: Partition) -> bool:
        """Tell whether nothing was ever counted of some stream on a partition."""
        progress = self._table.progress(partition)
        return progress is None or not set(self._streams) <= set(progress.streams)

    def _judge(
        self,
        partition: Partition,
        kept: int | None,
        committed: int | None,
        log: tuple[int, int],
        restored: Restored,
    ) -> None:
        """Decide where a partition is read on.

        Args:
            partition: Which.
            kept: The position that its state stands for.
            committed: The group's offset.
            log: Where its log begins and ends.
            restored: Where the decision goes.
        """
        begin, end = log
        if kept is None and committed is None:
            restored.positions[partition] = begin
        elif kept is None or committed not in {None, kept}:
            restored.stopped[partition] = (
                f"its state has been counted up to offset {kept}, and the group has committed {committed}: "
                "the offsets were reset, or the state is another's; put the offset back and restart the "
                "replica, or delete the group and its state topics to begin anew"
            )
        elif kept > end:
            restored.stopped[partition] = (
                f"its log ends at offset {end}, and it has been counted up to {kept}: the topic was made "
                "anew, or lost records; delete the group and its state topics, or use another group.id"
            )
        else:
            restored.positions[partition] = max(kept, begin)
            if kept < begin:
                restored.lost[partition] = begin - kept

    def _committed(self) -> Generator[None, None, Mapping[Partition, int | None]]:
        """Return the committed offsets, once none of them is held by an open transaction."""
        asked = [TopicPartition(*partition) for partition in self._partitions]
        while True:
            self._waiting_for = "the group's committed offsets, free of open transactions"
            try:
                answers = self._consumer.committed(asked, timeout=_COMMITTED_S)
                errors = [answer.error for answer in answers if answer.error is not None]
            except KafkaException as error:
                errors = [error.args[0]]
            if not errors:
                return {
                    (answer.topic, answer.partition): None
                    if answer.offset == OFFSET_INVALID
                    else answer.offset
                    for answer in answers
                }
            self._heed(errors[0])
            yield

    def _read_to(self, ends: Mapping[Partition, int]) -> Generator[None, None, None]:
        self._waiting_for = "the table to be read to the state's ends"
        while not self._follower.has_reached(ends):
            yield

    def _ask(
        self, offsets: LogOffsets, partitions: Sequence[Partition], what: str
    ) -> Generator[None, None, dict[Partition, int]]:
        """Return an offset of every one of the partitions."""
        self._waiting_for = what
        while True:
            asked_s = time.monotonic()
            offsets.request(partitions)
            while (answers := offsets.collect()) is None:
                yield
            if len(answers) == len(partitions):
                return answers
            while time.monotonic() - asked_s < _ASK_AGAIN_S:
                yield

    def _heed(self, error: KafkaError) -> None:
        """Let it be asked again: of a broker that has just started, or after an open transaction."""
        if error.code() in AUTHORIZATION:
            message = f"the group's offsets must not be read ({error.str()}); check the client's rights"
            raise AuthorizationError(message)
        self._waiting_for = f"the group's committed offsets ({error.str()})"
