"""The observer of one role: its methods alone move the role's metrics and write its messages."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum

from driftgauge.core.counting.partial import shard_of
from driftgauge.core.partition import Partition, name_partition, name_partitions
from driftgauge.core.windows.shard import RoundResult, ShardState
from driftgauge.events.rejection import Reason
from driftgauge.telemetry.health import Condition, Role
from driftgauge.telemetry.metrics import NO_STREAM, Telemetry
from driftgauge.telemetry.round_log import log_round
from driftgauge.telemetry.snapshot import take_snapshot

__all__ = ["RoleTelemetry", "Stage"]

_log = logging.getLogger(__name__)

# What waits is said this often.
_COMPLAIN_EVERY_S = 10.0
# By then every transaction has been committed, or aborted for its timeout.
_LONG_S = 60.0
_HANGS = (
    "a transaction does not end; see driftgauge kafka transactions list, and the runbook "
    "DriftgaugeTransactionHanging"
)


class Stage(StrEnum):
    """The stages of a batch that are timed."""

    DECODE = "decode"
    COUNT = "count"
    COMMIT = "commit"
    APPLY = "apply"
    CLOSE = "close"
    WRITE = "write"


class RoleTelemetry:
    """Counts, times and logs what one role does; every method is called from the role's thread."""

    def __init__(self, telemetry: Telemetry, role: Role, shards: int) -> None:
        self._metrics = telemetry
        self._role = role
        self._names = telemetry.stream_names
        self._by_shard: dict[int, list[str]] = {shard: [] for shard in range(shards)}
        for name in sorted(self._names):
            self._by_shard[shard_of(name, shards)].append(name)
        self._held: set[Partition] = set()
        self._complained_s: dict[tuple[str, ...], float] = {}
        self._unwritable: set[Partition] = set()
        self._stalled: set[Partition] = set()
        self._stopped: set[str] = set()

    def timed(self, stage: Stage) -> AbstractContextManager[object]:
        """Time a stage of a batch: `with telemetry.timed(Stage.DECODE): ...`."""
        return self._metrics.batch_duration.labels(stage).time()

    def polled(self) -> None:
        """The consumer polled."""
        self._metrics.health.polled(self._role)
        self._metrics.last_poll.labels(self._role).set(self._metrics.clock.wall_ms() / 1000)

    def works(self, *, well: bool) -> None:
        """The role's clients work, or do not."""
        self._metrics.health.set_ready(Condition(self._role.value), met=well)

    def committed(self, unwritable: Collection[Partition] = ()) -> None:
        """A transaction was committed; what cannot be written to was left out of it."""
        self._metrics.commits.labels(self._role, "ok").inc()
        self.unwritable(unwritable)
        self.works(well=True)

    def aborted(self, error: str) -> None:
        """A transaction was aborted; what it held is done again."""
        self._metrics.commits.labels(self._role, "aborted").inc()
        self._say(logging.WARNING, "transaction aborted", error=error)

    def session_lost(self, error: str, pause_s: float) -> None:
        """The Kafka clients could do no more, and are replaced after a pause; nothing is held meanwhile."""
        self._metrics.sessions_lost.labels(self._role).inc()
        self.works(well=False)
        self._hold(set())
        for topic in self._stopped:
            self._metrics.stopped_partitions.labels(topic).set(0)
        self._say(logging.ERROR, "session lost; the Kafka clients are replaced", error=error, pause_s=pause_s)

    def unwritable(self, partitions: Collection[Partition]) -> None:
        """These partitions cannot be written to; none: all can."""
        found = set(partitions)
        numbers = Counter(topic for topic, _ in found)
        for topic in {topic for topic, _ in self._unwritable} - numbers.keys():
            self._metrics.unwritable.remove(topic)
        for topic, number in numbers.items():
            self._metrics.unwritable.labels(topic).set(number)
        if found - self._unwritable:
            self._say(
                logging.ERROR,
                "partitions cannot be written to; nothing is lost, but it waits for them",
                partitions=name_partitions(found),
            )
        self._unwritable = found

    def assigned(self, added: Collection[Partition], held: Collection[Partition]) -> None:
        """These partitions were added to what is held."""
        self._metrics.rebalances.labels(self._role, "assigned").inc()
        self._hold(set(held))
        self.works(well=True)
        self._say(logging.INFO, "partitions assigned", partitions=name_partitions(added))

    def revoked(self, partitions: Collection[Partition]) -> None:
        """These partitions were given up."""
        self._metrics.rebalances.labels(self._role, "revoked").inc()
        self._hold(self._held - set(partitions))
        self._say(logging.INFO, "partitions revoked", partitions=name_partitions(partitions))

    def lost(self, partitions: Collection[Partition]) -> None:
        """These partitions were taken away without notice."""
        self._metrics.rebalances.labels(self._role, "lost").inc()
        self._hold(self._held - set(partitions))
        # Until the group assigns partitions again, be they none.
        self.works(well=False)
        self._say(logging.WARNING, "partitions lost", partitions=name_partitions(partitions))

    def clock_is_off(self, offset_ms: int | None, *, is_off: bool) -> None:
        """The clock differs from the brokers' by so much, which is too much or is not."""
        self._metrics.health.set_ready(Condition.CLOCK, met=not is_off)
        if offset_ms is not None:
            self._metrics.clock_offset.labels(self._role).set(offset_ms / 1000)

    def restored(self, waited_s: float, partitions: Collection[Partition]) -> None:
        """These partitions are worked on from now on."""
        self._metrics.restore_duration.labels(self._role).observe(waited_s)
        self._complained_s.clear()
        self._say(
            logging.INFO, "restored", partitions=name_partitions(partitions), waited_s=round(waited_s, 3)
        )

    def restore_waits(self, partitions: Collection[Partition], waiting_for: str, waited_s: float) -> None:
        """These partitions cannot be worked on yet."""
        if waited_s < _COMPLAIN_EVERY_S:
            return
        named, now_s = name_partitions(partitions), self._metrics.clock.monotonic_s()
        said_s = self._complained_s.get(tuple(named))
        if said_s is None or now_s - said_s >= _COMPLAIN_EVERY_S:
            self._complained_s[tuple(named)] = now_s
            self._say(
                logging.WARNING,
                "restore is waiting",
                partitions=named,
                waiting_for=waiting_for,
                waited_s=round(waited_s),
                remedy=_HANGS if waited_s > _LONG_S else "wait: transactions time out",
            )

    def stalled(self, waits: Mapping[Partition, float]) -> None:
        """The stable offsets of these partitions have stood still for so many seconds; no others any more."""
        for topic, partition in self._stalled - waits.keys():
            self._metrics.stalled.remove(topic, partition)
        for (topic, partition), waited_s in waits.items():
            self._metrics.stalled.labels(topic, partition).set(waited_s)
        self._stalled = set(waits)

    def hangs(self, partition: Partition, offset: int, waited_s: float, writer: str | None) -> None:
        """A transaction in a partition does not end."""
        self._say(
            logging.ERROR,
            "a transaction does not end; what stands after it in the partition cannot be read",
            partition=f"{name_partition(partition)}@{offset}",
            open_since_s=round(waited_s),
            producer=writer or "unknown",
            remedy=_HANGS,
        )

    def stopped(self, topic: str, number: int) -> None:
        """So many partitions of a topic are held and not worked on."""
        self._stopped.add(topic)
        self._metrics.stopped_partitions.labels(topic).set(number)

    def partitions_known(self, numbers: Mapping[str, int]) -> None:
        """Each topic has so many partitions."""
        for topic, number in numbers.items():
            self._metrics.topic_partitions.labels(topic).set(number)

    def read_to(self, topic: str, partition: int, *, position: int, end: int) -> None:
        """The next record to read of a partition is at `position`, and its log ends at `end`.

        A partition that is not held is passed over: its series would never be moved again.
        """
        if (topic, partition) in self._held:
            self._metrics.position.labels(topic, partition).set(position)
            self._metrics.lag.labels(topic, partition).set(max(end - position, 0))

    def counted(
        self,
        accepted: Mapping[str, int],
        rejected: Mapping[tuple[str | None, Reason], int],
        lost: Mapping[str, int],
    ) -> None:
        """A commit counted, rejected and found deleted so many records."""
        for stream, number in accepted.items():
            self._metrics.events.labels(stream, "accepted").inc(number)
        for (named, reason), number in rejected.items():
            known = named if named in self._names else NO_STREAM
            self._metrics.events.labels(known, reason).inc(number)
        for topic, number in lost.items():
            self._metrics.records_lost.labels(topic).inc(number)
            if number:
                _log.error(
                    "Kafka deleted records before they were read; the windows concerned are marked",
                    extra={"topic": topic, "records": number},
                )

    def shards_held(self, shards: Collection[int]) -> None:
        """These shards are held, and their streams shown; no others any more."""
        self._metrics.windows.keep(shards)

    def show(self, shard: int, state: ShardState) -> None:
        """Show a shard's streams as they are now."""
        self._metrics.windows.show(shard, take_snapshot(state, self._by_shard[shard]))

    def closed(self, shard: int, round_: RoundResult) -> None:
        """A shard closed or corrected windows, and found events too late or its chain broken."""
        log_round(shard, round_)

    def _say(self, level: int, message: str, **details: object) -> None:
        _log.log(level, message, extra={"role": self._role, **details})

    def _hold(self, partitions: set[Partition]) -> None:
        for topic, partition in self._held - partitions:
            # One that was never read has no series, and removing none is no error.
            for gauge in (self._metrics.position, self._metrics.lag):
                gauge.remove(topic, partition)
        for topic in {topic for topic, _ in self._held | partitions}:
            number = sum(held == topic for held, _ in partitions)
            self._metrics.assigned_partitions.labels(topic).set(number)
        self._held = partitions
