"""The offset barrier: the start position of each assigned partition, once no transaction can change it."""

import logging
from collections.abc import Generator, Mapping, Sequence
from types import MappingProxyType

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from driftgauge.clock import Clock
from driftgauge.core.partition import Partition, name_partition
from driftgauge.engine.count.source_partition import SourcePartition
from driftgauge.kafka.calls import AUTHORIZATION
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.rights import reading_denied
from driftgauge.kafka.shared_admin import SharedAdmin

__all__ = ["CommittedOffsets", "find_starts"]

_log = logging.getLogger(__name__)

# The consumer reads nothing during this call.
_COMMITTED_S = 0.2
_ASK_AGAIN_S = 0.5
# A coordinator that knows a part of its log loads it again when it next writes.
_BEHIND_S = 10.0


class CommittedOffsets:
    """Fetches a group's committed offsets, once no open transaction is about to replace them.

    A previous owner that was paused between sending its offsets and committing can still commit. And what is
    known to be committed is not taken back: a coordinator that loads its log while the partition's leader
    changes may take a part of it for the whole, and then answers with older offsets, or none, until it next
    writes to it (seen with Kafka 4.2.2, after `kill -9` of a broker on a busy machine).
    """

    def __init__(self, consumer: Consumer, clock: Clock, group: str) -> None:
        self._consumer = consumer
        self._clock = clock
        self._group = group
        self.waiting_for = ""
        """The reason for the wait, for the log."""

    def fetch(
        self, partitions: Sequence[Partition], at_least: Mapping[Partition, int] = MappingProxyType({})
    ) -> Generator[None, None, Mapping[Partition, TopicPartition | None]]:
        """Return the committed offsets of some of the partitions; yield while there is no answer.

        A partition without a committed offset maps to None. The client answers for no partition while the
        offset of one is pending, so each failure halves the request and starts with the partitions after it.

        Args:
            partitions: The partitions.
            at_least: The offsets that are known to be committed, as far as any are. An answer that lies
                behind is asked for again for ten seconds, and then stands.

        Raises:
            AuthorizationError: The cluster does not let this client read the group's offsets.
        """
        asked = [TopicPartition(*partition) for partition in partitions]
        size = len(asked)
        until_s: float | None = None
        while True:
            self.waiting_for = "the group's committed offsets, free of open transactions"
            try:
                answers = self._consumer.committed(asked[:size], timeout=_COMMITTED_S)
                errors = [answer.error for answer in answers if answer.error is not None]
            except KafkaException as error:
                errors = [error.args[0]]
            asked_s = self._clock.monotonic_s()
            if errors:
                self._note(errors[0])
            else:
                found = {
                    (answer.topic, answer.partition): None if answer.offset == OFFSET_INVALID else answer
                    for answer in answers
                }
                level = {
                    at: answer
                    for at, answer in found.items()
                    if at not in at_least or (answer is not None and answer.offset >= at_least[at])
                }
                if level:
                    return level
                until_s = until_s or asked_s + _BEHIND_S
                if asked_s >= until_s:
                    self._report_behind(found, at_least)
                    return found
                self.waiting_for = "the offsets that this group is known to have committed"
            asked = [*asked[size:], *asked[:size]]
            size = max(size // 2, 1)
            while self._clock.monotonic_s() - asked_s < _ASK_AGAIN_S:
                yield

    @staticmethod
    def _report_behind(
        found: Mapping[Partition, TopicPartition | None], at_least: Mapping[Partition, int]
    ) -> None:
        _log.error(
            "the group's committed offsets went back; what follows them is read again",
            extra={
                "partitions": {
                    name_partition(at): [at_least[at], answer and answer.offset]
                    for at, answer in found.items()
                },
                "remedy": "find out who reset offsets, or whether __consumer_offsets lost records; windows "
                "that count events twice are marked",
            },
        )

    def _note(self, error: KafkaError) -> None:
        """Keep the reason for the wait: a broker that has just started, or an open transaction.

        Raises:
            AuthorizationError: The error is a missing right, which waiting does not resolve.
        """
        if error.code() in AUTHORIZATION:
            what = f"the committed offsets of the group {self._group}"
            raise reading_denied(error, what, group=self._group)
        self.waiting_for = f"the group's committed offsets ({error.str()})"


def find_starts(
    partitions: Sequence[Partition],
    offsets: CommittedOffsets,
    admin: SharedAdmin,
    topic_ids: Mapping[str, str],
    clock: Clock,
    slow: set[Partition],
    at_least: Mapping[Partition, int],
) -> Generator[None, None, dict[Partition, SourcePartition]]:
    """Return some of the partitions, each at its start; yield while none is known.

    A partition without a leader, or with an offset pending in a transaction, does not delay the others.
    `slow` holds the partitions that did not answer the last time, as in `LogOffsets`; `at_least` the offsets
    that are known to be committed, as in `CommittedOffsets`.

    Raises:
        AuthorizationError: The cluster does not let this client read the group's offsets.
    """
    committed = yield from offsets.fetch(partitions, at_least)
    begins = yield from log_offsets(LogOffsets(admin, earliest=True, slow=slow), [*committed], clock)
    ends = yield from log_offsets(LogOffsets(admin, slow=slow), [*begins], clock)
    return {
        at: _start(at, topic_ids.get(at[0], ""), committed[at], begins[at], end, clock.wall_ms())
        for at, end in ends.items()
    }


def log_offsets(
    offsets: LogOffsets, partitions: Sequence[Partition], clock: Clock
) -> Generator[None, None, dict[Partition, int]]:
    """Return the requested log offset of some of the partitions; yield while none is known."""
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
    partition: Partition, topic_id: str, committed: TopicPartition | None, begin: int, end: int, now_ms: int
) -> SourcePartition:
    where = name_partition(partition)
    if committed is not None and topic_id and committed.metadata and committed.metadata != topic_id:
        _log.error(
            "the topic was deleted and created again; the new one is read from its beginning",
            extra={
                "partition": where,
                "committed": committed.offset,
                "begin": begin,
                "remedy": "none; events that were unread when the topic was deleted are lost",
            },
        )
        committed = None
    source = SourcePartition(partition, topic_id, committed=begin, position=begin, since_ms=now_ms)
    if committed is None:
        source.begins = True
    elif committed.offset > end:
        # Counting continues at the log's end, and the shards see from the offsets that the log went back.
        _log.error(
            "the log ends before the committed offset: Kafka lost records, or the offset was set by hand; "
            "reading continues at the log's end",
            extra={
                "partition": where,
                "committed": committed.offset,
                "end": end,
                "remedy": "if no one set it, give the topic three replicas, min.insync.replicas=2 and "
                "unclean.leader.election.enable=false",
            },
        )
        source.committed = source.position = end
        source.is_truncated = True
    else:
        source.committed, source.position = committed.offset, max(committed.offset, begin)
        source.lost = source.position - committed.offset
        if committed.leader_epoch is not None and not source.lost:
            source.leader_epoch = committed.leader_epoch
    return source
