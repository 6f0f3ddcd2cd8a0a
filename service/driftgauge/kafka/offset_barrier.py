"""The barrier between an assignment and the first event counted: where each partition is read on."""

import logging
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from driftgauge.clock import Clock
from driftgauge.core.partition import Partition
from driftgauge.errors import AuthorizationError
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.kafka.transaction import AUTHORIZATION

__all__ = ["CommittedOffsets", "Start", "find_starts"]

_log = logging.getLogger(__name__)

# Partitions that are held already are not read meanwhile.
_COMMITTED_S = 0.2
_ASK_AGAIN_S = 0.5
_NONE = -1


@dataclass(frozen=True, slots=True)
class Start:
    """Where a source partition is read on.

    Attributes:
        committed: The group's offset; the log's begin where there is none.
        position: The next offset to read.
        begins: No offset was committed for this topic.
        lost: How many records of the log Kafka deleted after `committed` and before they were read.
        leader_epoch: The leader epoch of the committed offset; -1 where it is not known.
        is_cut: The log ends before the committed offset.
    """

    committed: int
    position: int
    begins: bool
    lost: int
    leader_epoch: int
    is_cut: bool = False


class CommittedOffsets:
    """Asks for a group's committed offsets, none of which may be part of an open transaction.

    An owner that was paused between sending its offsets and committing can still commit when it wakes.
    """

    def __init__(self, consumer: Consumer, clock: Clock) -> None:
        self._consumer = consumer
        self._clock = clock
        self.waiting_for = ""
        """What the last answer lacked."""

    def ask(
        self, partitions: Sequence[Partition]
    ) -> Generator[None, None, Mapping[Partition, TopicPartition | None]]:
        """Return the offset of some, None where none was committed; yield while there is no answer.

        Where one partition's offset hangs the client answers for none. So after each failure fewer are
        asked for, and others first.

        Raises:
            AuthorizationError: The cluster does not let us.
        """
        asked = [TopicPartition(*partition) for partition in partitions]
        size = len(asked)
        while True:
            self.waiting_for = "the group's committed offsets, free of open transactions"
            try:
                answers = self._consumer.committed(asked[:size], timeout=_COMMITTED_S)
                errors = [answer.error for answer in answers if answer.error is not None]
            except KafkaException as error:
                errors = [error.args[0]]
            if not errors:
                return {
                    (answer.topic, answer.partition): None if answer.offset == OFFSET_INVALID else answer
                    for answer in answers
                }
            self._heed(errors[0])
            asked = [*asked[size:], *asked[:size]]
            size = max(size // 2, 1)
            asked_s = self._clock.monotonic_s()
            while self._clock.monotonic_s() - asked_s < _ASK_AGAIN_S:
                yield

    def _heed(self, error: KafkaError) -> None:
        """Let it be asked again: of a broker that has just started, or after an open transaction."""
        if error.code() in AUTHORIZATION:
            message = f"the group's offsets must not be read ({error.str()}); check the client's rights"
            raise AuthorizationError(message)
        self.waiting_for = f"the group's committed offsets ({error.str()})"


def find_starts(
    partitions: Sequence[Partition],
    offsets: CommittedOffsets,
    admin: SharedAdmin,
    topic_ids: Mapping[str, str],
    clock: Clock,
) -> Generator[None, None, dict[Partition, Start]]:
    """Return where some of the partitions are read on; yield while none is known.

    One that has no leader, or whose offset hangs in a transaction, holds up no other.

    Raises:
        AuthorizationError: The cluster does not let us read what is needed.
    """
    committed = yield from offsets.ask(partitions)
    begins = yield from ask_ends(LogOffsets(admin, earliest=True), [*committed], clock)
    ends = yield from ask_ends(LogOffsets(admin), [*begins], clock)
    return {
        partition: _start(
            partition, committed[partition], begins[partition], end, topic_ids.get(partition[0], "")
        )
        for partition, end in ends.items()
    }


def ask_ends(
    offsets: LogOffsets, partitions: Sequence[Partition], clock: Clock
) -> Generator[None, None, dict[Partition, int]]:
    """Return an offset of some of the partitions' logs; yield while none is known."""
    while True:
        asked_s = clock.monotonic_s()
        offsets.request(partitions)
        while (answers := offsets.collect()) is None:
            yield
        if answers:
            return answers
        while clock.monotonic_s() - asked_s < _ASK_AGAIN_S:
            yield


def _start(
    partition: Partition, committed: TopicPartition | None, begin: int, end: int, topic_id: str
) -> Start:
    where = f"{partition[0]}[{partition[1]}]"
    if committed is not None and topic_id and committed.metadata and committed.metadata != topic_id:
        _log.error(
            "the topic was deleted and created again; the new one is read from its beginning",
            extra={"partition": where, "committed": committed.offset, "begin": begin},
        )
        committed = None
    if committed is None:
        return Start(begin, begin, begins=True, lost=0, leader_epoch=_NONE)
    if committed.offset > end:
        # What is written from there on is counted, and the shards see by its offsets that the log went back.
        _log.error(
            "the log ends before what was counted of it: Kafka lost records, or the offset was set by hand",
            extra={"partition": where, "committed": committed.offset, "end": end},
        )
        return Start(end, end, begins=False, lost=0, leader_epoch=_NONE, is_cut=True)
    epoch = _NONE if committed.leader_epoch is None else committed.leader_epoch
    lost = max(begin - committed.offset, 0)
    return Start(
        committed.offset,
        max(committed.offset, begin),
        begins=False,
        lost=lost,
        leader_epoch=_NONE if lost else epoch,
    )
