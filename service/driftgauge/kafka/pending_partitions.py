"""The assigned partitions that are not counted yet, because their start positions are unknown."""

from collections.abc import Collection, Generator, Iterator, Mapping

from confluent_kafka import Consumer

from driftgauge.clock import Clock
from driftgauge.core.partition import Partition
from driftgauge.kafka.offset_barrier import CommittedOffsets, Start, find_starts
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.kafka.topic_watch import TopicWatch
from driftgauge.telemetry.roles import RoleTelemetry

__all__ = ["PendingPartitions"]


class PendingPartitions:
    """Takes assigned partitions through the offset barrier."""

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
        self._admin = admin
        self._telemetry = telemetry
        self._clock = clock
        self._offsets = CommittedOffsets(consumer, clock, group)
        self._partitions: list[Partition] = []
        self._barrier: Generator[None, None, dict[Partition, Start]] | None = None
        self._topic_ids: Mapping[str, str] = {}
        # Kept over the barriers, so that partitions without a leader do not hold up the others each time.
        self._slow: set[Partition] = set()
        self._waiting_since_s = self._changed_s = 0.0

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._partitions)

    def add(self, partitions: Collection[Partition]) -> None:
        """Find the starts of these partitions as well."""
        self._set([*self._partitions, *partitions])

    def remove(self, partitions: Collection[Partition]) -> None:
        """Stop finding the starts of these partitions."""
        self._set([each for each in self._partitions if each not in set(partitions)])

    def poll(self) -> dict[Partition, tuple[Start, str]]:
        """Return the start and topic id of each partition that has passed the barrier, and remove these.

        Raises:
            AuthorizationError: The cluster does not let this client read the group's offsets.
        """
        # Only a topic id queried after the assignment reveals a topic that was created again.
        known = [each for each in self._partitions if self._topics.is_known_since(each[0], self._changed_s)]
        if not known:
            return {}
        if self._barrier is None:
            self._topic_ids = {name: topic.id for name, topic in self._topics.known.items()}
            self._barrier = find_starts(
                known, self._offsets, self._admin, self._topic_ids, self._clock, self._slow
            )
        waited_s = self._clock.monotonic_s() - self._waiting_since_s
        try:
            next(self._barrier)
        except StopIteration as passed:
            starts: dict[Partition, Start] = passed.value
        else:
            self._telemetry.restore_waits(known, self._offsets.waiting_for, waited_s)
            return {}
        self._barrier = None
        self._partitions = [partition for partition in self._partitions if partition not in starts]
        self._telemetry.restored(waited_s, starts.keys())
        return {partition: (start, self._topic_ids[partition[0]]) for partition, start in starts.items()}

    def _set(self, partitions: list[Partition]) -> None:
        if partitions != self._partitions:
            if not self._partitions:
                self._waiting_since_s = self._clock.monotonic_s()
            self._partitions, self._barrier = partitions, None
            self._changed_s = self._clock.monotonic_s()
