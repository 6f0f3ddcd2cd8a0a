"""The source partitions that COUNT holds, each in one state.

    Pending ------> Reading <-----> Paused
       ^   started     |    schema     |
       +---------------+---------------+
         begins again, position lost

Here alone partitions are given to the client and taken from it: the client reads those in the state Reading.
"""

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from driftgauge.clock import Clock
from driftgauge.core.counting.partial import PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.engine.count.source_partition import SourcePartition
from driftgauge.engine.count.topic_watch import TopicWatch
from driftgauge.engine.offset_barrier import CommittedOffsets, find_starts
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.telemetry.roles import RoleTelemetry

__all__ = ["HeldPartitions"]

# Most schemas arrive within this time, and a registry that is away is not asked more often.
_PAUSE_S = 1.0


# Compared by identity: a partition that was revoked and assigned again needs a new answer.
@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A partition whose start is not known yet.

    Attributes:
        since_s: When it became pending, in monotonic seconds.
        former: What was read before it began again; None if it was just assigned.
        has_lost_position: Whether the log no longer held the position.
        truncated_at: The offset at which the log was truncated; None if that is unknown.
    """

    since_s: float
    former: SourcePartition | None = None
    has_lost_position: bool = False
    truncated_at: int | None = None


class HeldPartitions:
    """The states of the partitions that the group has assigned.

    Attributes:
        codes: The number of each partition in batches; a partition that is assigned again keeps it.
        names: The partition of each number.
    """

    def __init__(
        self,
        topics: TopicWatch,
        *,
        group: str,
        consumer: Consumer,
        admin: SharedAdmin,
        telemetry: RoleTelemetry,
        clock: Clock,
    ) -> None:
        self._topics = topics
        self._consumer = consumer
        self._admin = admin
        self._telemetry = telemetry
        self._clock = clock
        self._states: dict[Partition, _Pending | SourcePartition] = {}
        self._in_client: dict[Partition, SourcePartition] = {}  # what the client reads
        self.names: dict[int, Partition] = {}
        self.codes: dict[Partition, int] = {}
        self._offsets = CommittedOffsets(consumer, clock, group)
        self._asked: dict[Partition, _Pending] = {}
        self._barrier: Generator[None, None, dict[Partition, SourcePartition]] | None = None
        # Kept over the barriers, so that partitions without a leader do not hold up the others each time.
        self._slow: set[Partition] = set()

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._states)

    @property
    def started(self) -> list[SourcePartition]:
        """The partitions whose start is known, paused ones included."""
        return [state for state in self._states.values() if isinstance(state, SourcePartition)]

    @property
    def reading(self) -> list[SourcePartition]:
        """The partitions whose records are counted: the positions are validated, and the client reads on."""
        return [source for source in self._given if source.is_validated]

    @property
    def _given(self) -> list[SourcePartition]:
        """The partitions that the client reads."""
        return [source for source in self.started if source.paused_until_s is None]

    def find(self, partition: Partition) -> SourcePartition | None:
        """Return a partition that has started; None for any other."""
        state = self._states.get(partition)
        return state if isinstance(state, SourcePartition) else None

    def progress(self, sizes: Mapping[str, int]) -> dict[int, PartitionProgress]:
        """Return the progress of each started partition by code, given the topics' numbers of partitions."""
        return {self.codes[each.partition]: each.progress(sizes[each.partition[0]]) for each in self.started}

    def assign(self, partitions: Iterable[Partition]) -> None:
        """Hold these partitions as well."""
        now_s = self._clock.monotonic_s()
        self._states |= {partition: _Pending(now_s) for partition in partitions}

    def release(self, partitions: Collection[Partition]) -> None:
        """Hold these partitions no longer."""
        for partition in partitions:
            self._states.pop(partition, None)
        self._sync_client()

    def begin_again(self) -> None:
        """Find the starts of all partitions again that have started."""
        now_s = self._clock.monotonic_s()
        self._states |= {source.partition: _Pending(now_s, source) for source in self.started}
        self._sync_client()

    def lose_positions(self, truncated_at: Mapping[Partition, int | None]) -> None:
        """Find the starts of partitions again whose logs no longer hold the position.

        Args:
            truncated_at: The offset at which each log was truncated; None if that is unknown.
        """
        now_s = self._clock.monotonic_s()
        for partition, end in truncated_at.items():
            if (former := self.find(partition)) is not None:
                self._states[partition] = _Pending(now_s, former, has_lost_position=True, truncated_at=end)
        self._sync_client()

    def pause(self, sources: Iterable[SourcePartition]) -> None:
        """Take these partitions from the client, which reads them later again from where they stopped."""
        until_s = self._clock.monotonic_s() + _PAUSE_S
        for source in sources:
            source.paused_until_s, source.awaits_schema = until_s, True
        self._sync_client()

    def step(self) -> list[SourcePartition]:
        """Read what a pause or the offset barrier has held back; return the partitions that start.

        Raises:
            AuthorizationError: The cluster does not let this client read the group's offsets.
        """
        now_s = self._clock.monotonic_s()
        for source in self.started:
            if source.paused_until_s is not None and now_s >= source.paused_until_s:
                source.paused_until_s = None
        started = []
        for partition, source in self._poll_barrier().items():
            pending = self._asked[partition]
            self.names[self.codes.setdefault(partition, len(self.codes))] = partition
            # Without records lost to retention, the log was truncated and has grown again.
            if pending.has_lost_position and not (source.lost or source.begins):
                source.resume_after_truncation(pending.truncated_at)
            self._states[partition] = source
            started.append(source)
        self._sync_client()
        self._validate_positions()
        return started

    def _validate_positions(self) -> None:
        """Make the client validate its positions: logs may be truncated, and topics created again.

        A topic that is created again after its id was asked for may have a new log when the client is given
        the position. So its id is asked for again from then on; of a later log the client finds that it does
        not hold the position.

        The client validates against the leaders' epochs on a seek, and refuses a seek just after an
        assignment. With the seek all of eleven unclean elections were found; an assignment with its epoch
        found three of eight, and each of the others lost events unmarked (librdkafka 2.16). What the client
        gives before the seek is not counted: it may have passed records that were written since, or be of
        another log, and the seek gives it again. A seek asks for more epochs, and a client may deadlock while
        a leader goes away (librdkafka issue 5476): that ends the process (`pulse`), and loses nothing.
        """
        for source in self._given:
            topic, _ = source.partition
            if source.is_validated or not self._topics.is_known_since(topic, source.given_s):
                continue
            try:
                self._consumer.seek(source.start())
            except KafkaException as error:
                if error.args[0].code() != KafkaError._STATE:
                    raise
            else:
                source.is_validated = True

    def _poll_barrier(self) -> dict[Partition, SourcePartition]:
        """Return the partitions that have passed the barrier, each at its start."""
        # Only a topic id queried after the assignment reveals a topic that was created again.
        asked = {
            partition: state
            for partition, state in self._states.items()
            if isinstance(state, _Pending) and self._topics.is_known_since(partition[0], state.since_s)
        }
        if not asked:
            return {}
        if self._barrier is None or asked != self._asked:
            self._asked = asked
            topic_ids = {name: topic.id for name, topic in self._topics.known.items()}
            at_least = {
                partition: former.committed
                for partition, pending in asked.items()
                if (former := pending.former)
                and not former.begins
                and former.topic_id == topic_ids.get(partition[0], "")
            }
            self._barrier = find_starts(
                [*asked], self._offsets, self._admin, topic_ids, self._clock, self._slow, at_least
            )
        try:
            next(self._barrier)
        except StopIteration as passed:
            self._barrier = None
            starts: dict[Partition, SourcePartition] = passed.value
            self._telemetry.started(self._waited_s(starts), starts.keys())
            return starts
        self._telemetry.start_waits([*asked], self._offsets.waiting_for, self._waited_s(asked))
        return {}

    def _waited_s(self, partitions: Iterable[Partition]) -> float:
        """Return for how many seconds the one of these partitions has waited that was first to."""
        return self._clock.monotonic_s() - min(self._asked[each].since_s for each in partitions)

    def _sync_client(self) -> None:
        """Assign to the client what it is to read, and unassign the rest."""
        wanted = {source.partition: source for source in self._given}
        removed = [at for at, source in self._in_client.items() if wanted.get(at) is not source]
        added = [source for at, source in wanted.items() if self._in_client.get(at) is not source]
        self._in_client = wanted
        if removed:
            self._consumer.incremental_unassign([TopicPartition(*partition) for partition in removed])
        for source in added:
            source.given_s, source.is_validated = self._clock.monotonic_s(), False
        if added:
            self._consumer.incremental_assign([source.start() for source in added])
