"""Observer of one role: sets the role's metrics and writes its log messages."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Set
from contextlib import AbstractContextManager
from enum import StrEnum

from driftgauge.core.commit_limit import CommitLimit
from driftgauge.core.counting.partial import shard_of
from driftgauge.core.durations import format_duration
from driftgauge.core.partition import Partition, name_partition, name_partitions
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.shard import RoundResult, ShardState
from driftgauge.errors import TransactionFailed
from driftgauge.events.clock_gaps import describe_gaps
from driftgauge.events.outcomes import CommitOutcomes, RecordLoss, RecordOutcome, SkipPlace
from driftgauge.records.heartbeat import Numbers
from driftgauge.telemetry.health import BlockReason, ReadinessCondition, Role
from driftgauge.telemetry.metrics import (
    NO_STREAM,
    AbortCause,
    Telemetry,
)
from driftgauge.telemetry.replica_metrics import (
    ABORTED,
    ASSIGNED,
    BLOCKED,
    CLOCK_OFFSET,
    COMMIT_LIMIT,
    COMMITS,
    DURATION,
    EVENTS,
    LAG,
    OFFSETS_SKIPPED,
    PARTITIONS,
    POSITION,
    RECORDS,
    REJECTED,
    SESSIONS_LOST,
    STALLED,
    STREAM_RECORDS,
    WAITING,
)
from driftgauge.telemetry.snapshot import take_snapshot

__all__ = ["Phase", "RoleTelemetry"]

_log = logging.getLogger(__name__)

_LONG_WAIT_S = 10.0
# A gap that begins later shows in the records of a stream that are read after so many.
_READ_TOGETHER = 100_000
# Kafka commits a transaction, or aborts it at its timeout, in less than this time.
_MAX_TRANSACTION_S = 60.0
_HANGING_REMEDY = "a transaction does not end; see the runbook DriftgaugeTransactionHanging"
_LONG_START_REMEDY = (
    f"check that partitions of these numbers have leaders in all topics; else {_HANGING_REMEDY}"
)
_RETENTION_REMEDY = (
    "raise the topic's retention.ms and retention.bytes above the longest outage; if replicas were behind, "
    "run more of them; see the runbook DriftgaugeCountsInDoubt"
)
_TRUNCATION_REMEDY = (
    "give the topic three replicas, min.insync.replicas=2 and unclean.leader.election.enable=false; if the "
    "offset was set by hand, nothing is to be repaired; see the runbook DriftgaugeCountsInDoubt"
)

_CHAIN_REMEDY = (
    "find out who reset offsets, deleted records or aborted a transaction; see the runbook "
    "DriftgaugeCountsInDoubt"
)


class Phase(StrEnum):
    """The timed phases of a batch."""

    DECODE = "decode"
    COUNT = "count"
    COMMIT = "commit"
    APPLY = "apply"
    CLOSE = "close"
    WRITE = "write"


class RoleTelemetry:
    """Sets the metrics of one role and logs its events; only the role's thread calls its methods."""

    def __init__(self, telemetry: Telemetry, role: Role, shards: int) -> None:
        self._metrics = telemetry
        self._role = role
        self._streams = telemetry.windows.streams
        self._streams_by_shard: dict[int, list[str]] = {shard: [] for shard in range(shards)}
        for name in sorted(self._streams.names):
            self._streams_by_shard[shard_of(name, shards)].append(name)
        self._names: dict[str, set[str]] = {}  # by pattern
        self._timed: Counter[str] = Counter()
        self._gaps: Counter[tuple[str, int]] = Counter()
        self._told: set[str] = set()
        self._held: set[Partition] = set()
        self._waits_for = ""
        self._is_refused = False
        self._blocked: dict[BlockReason, Set[Partition]] = dict.fromkeys(BlockReason, frozenset())

    def timed(self, phase: Phase) -> AbstractContextManager[object]:
        """Time a phase of a batch: `with telemetry.timed(Phase.DECODE): ...`."""
        return self._metrics[DURATION].labels(phase).time()

    def polled(self) -> None:
        """Record a poll of the role's consumer."""
        self._metrics.health.polled(self._role)

    def set_ready(self, *, is_ready: bool, why: str = "", reason: str = "") -> None:
        """Set the role's condition of readiness: its Kafka clients work.

        Args:
            is_ready: Whether they do.
            why: Why not, if that is known.
            reason: The Kafka client's name of the error, if it has one.
        """
        self._metrics.health.set_condition(ReadinessCondition(self._role.value), is_met=is_ready, why=why)
        self._is_refused &= not is_ready
        if is_ready or why:
            if self._waits_for:
                self._metrics[WAITING].remove(self._role, self._waits_for)
            self._waits_for = reason
            if reason:
                self._metrics[WAITING].labels(self._role, reason).set(1)

    def waits(self, message: str, error: str, reason: str = "") -> None:
        """Log what the role waits for before it starts, and why; report it as not ready."""
        self.set_ready(is_ready=False, why=error, reason=reason)
        self._log_event(logging.WARNING, message, error=error, reason=reason, remedy="do what the error says")

    def committed(self, unwritable: Collection[Partition] = ()) -> None:
        """Count a committed transaction, which left out the partitions that cannot be written to."""
        self._metrics[COMMITS].labels(self._role, "ok").inc()
        self._end_aborts()
        self.unwritable(unwritable)
        self.set_ready(is_ready=True)

    def watch_limit(self, limit: CommitLimit) -> None:
        """Export the bound of what one commit of the role writes."""
        self._metrics[COMMIT_LIMIT].labels(self._role).set_function(lambda: limit.ratio)

    def aborted(self, error: TransactionFailed) -> None:
        """Count and log an aborted transaction, whose work is repeated."""
        self._metrics[COMMITS].labels(self._role, "aborted").inc()
        cause = AbortCause.of(error)
        self._metrics[ABORTED].labels(self._role, cause).inc()
        # Other failures say nothing of partitions; a commit shows that all are written to.
        if error.unwritable:
            self.unwritable(error.unwritable)
        self._log_event(
            logging.WARNING,
            "transaction aborted",
            error=str(error),
            cause=cause,
            remedy="none: its work is repeated; if this repeats, do what the error says",
        )

    def session_lost(self, error: str, pause_s: float, reason: str = "", *, is_refused: bool = False) -> None:
        """Count and log the loss of the Kafka clients; until new ones work, the role holds no partition.

        Args:
            error: What was lost, and why.
            pause_s: How long the role pauses before it makes new clients.
            reason: The Kafka client's name of the error, if it has one.
            is_refused: Whether the cluster refuses what the role does, until an operator changes that.
        """
        self._metrics[SESSIONS_LOST].labels(self._role).inc()
        self.set_ready(is_ready=False, why=error, reason=reason)
        self._is_refused |= is_refused
        self._set_held(set())
        self.stopped(())
        self._log_event(
            logging.ERROR,
            "session lost; the Kafka clients are replaced",
            error=error,
            reason=reason,
            pause_s=pause_s,
            remedy="do what the error says; if this repeats, see the runbook DriftgaugeReplicaFault",
        )

    def unwritable(self, partitions: Collection[Partition]) -> None:
        """Replace the set of partitions that cannot be written to, and log new ones."""
        if self._block(BlockReason.UNWRITABLE, partitions):
            self._log_event(
                logging.ERROR,
                "partitions cannot be written to; nothing is lost, the role waits for them",
                partitions=name_partitions(partitions),
                remedy="repair their brokers; see the runbook DriftgaugePartitionsBlocked",
            )

    def assigned(self, added: Collection[Partition], held: Collection[Partition]) -> None:
        """Log an assignment; `held` is the whole assignment after it."""
        self._set_held(set(held))
        self.settled()
        self._log_event(logging.INFO, "partitions assigned", partitions=name_partitions(added))

    def settled(self) -> None:
        """Report that the role can begin transactions."""
        # What was refused may be refused again: after that only a commit shows that the role works.
        if not (self._is_refused and self._held):
            self.set_ready(is_ready=True)

    def revoked(self, partitions: Collection[Partition]) -> None:
        """Log a revocation."""
        self._set_held(self._held - set(partitions))
        if not self._held:
            # Nothing is left to commit, so no commit would end the row.
            self._end_aborts()
        self._log_event(logging.INFO, "partitions revoked", partitions=name_partitions(partitions))

    def lost(self, partitions: Collection[Partition]) -> None:
        """Log partitions that the group removed without notice."""
        self._set_held(self._held - set(partitions))
        if not self._held:
            self._end_aborts()
        # The next assignment, even an empty one, makes the role ready again.
        why = "Kafka took this replica's partitions; check the brokers, and this process for pauses"
        # An error of the client says more.
        self.set_ready(is_ready=False, why="" if self._waits_for else why)
        self._log_event(
            logging.WARNING,
            "partitions lost",
            partitions=name_partitions(partitions),
            remedy="none: the role joins its group again; if this repeats, look for pauses of this process",
        )

    def clock_is_off(self, offset_ms: int, *, is_off: bool) -> None:
        """Set the offset from the brokers' clock, ms, and the readiness condition for it."""
        why = f"this clock and the brokers' differ by {offset_ms} ms; check NTP here and on the brokers"
        self._metrics.health.set_condition(ReadinessCondition.CLOCK, is_met=not is_off, why=why)
        self._metrics[CLOCK_OFFSET].labels(self._role).set(offset_ms / 1000)

    def topics_missing(self, topics: Collection[str]) -> None:
        """Set the readiness condition of the events topics, by those that Kafka does not describe."""
        why = f"Kafka does not describe {', '.join(sorted(topics))}: create it, or grant Describe on it"
        self._metrics.health.set_condition(ReadinessCondition.TOPICS, is_met=not topics, why=why)

    def started(self, waited_s: float, partitions: Collection[Partition]) -> None:
        """Log that work on these partitions starts after a wait, s."""
        self._block(BlockReason.RESTORE, self._blocked[BlockReason.RESTORE] - set(partitions))
        self._log_event(
            logging.INFO,
            "partitions started",
            partitions=name_partitions(partitions),
            waited_s=round(waited_s, 3),
        )

    def start_waits(self, partitions: Collection[Partition], waiting_for: str, waited_s: float) -> None:
        """Log that work on these partitions has been waiting to start for 10 s or longer, s.

        It is called in every round; `RepeatLimit`, which ignores floats, leaves out the repetitions.
        """
        if waited_s >= _LONG_WAIT_S:
            self._block(BlockReason.RESTORE, self._blocked[BlockReason.RESTORE] | set(partitions))
            self._log_event(
                logging.WARNING,
                "partitions wait for their start",
                partitions=name_partitions(partitions),
                waiting_for=waiting_for,
                waited_s=float(round(waited_s)),
                remedy=_LONG_START_REMEDY if waited_s > _MAX_TRANSACTION_S else "wait: transactions time out",
            )

    def stalled(self, waits: Mapping[Partition, float]) -> None:
        """Replace the partitions whose last stable offset does not move; log new ones.

        Args:
            waits: For each of them, how long the offset has not moved, in seconds.
        """
        for topic, partition in self._blocked[BlockReason.TRANSACTION] - waits.keys():
            self._metrics[STALLED].remove(topic, partition)
        for (topic, partition), waited_s in waits.items():
            self._metrics[STALLED].labels(topic, partition).set(waited_s)
        if new := self._block(BlockReason.TRANSACTION, waits):
            self._log_event(
                logging.ERROR,
                "a transaction does not end; records after it in these partitions cannot be read",
                partitions=name_partitions(new),
                remedy=_HANGING_REMEDY,
            )

    def stopped(self, partitions: Collection[Partition]) -> None:
        """Replace the set of held partitions that are stopped."""
        self._block(BlockReason.STOPPED, partitions)

    def partitions_known(self, numbers: Mapping[str, int]) -> None:
        """Set the number of partitions of each topic."""
        for topic, number in numbers.items():
            self._metrics[PARTITIONS].labels(topic).set(number)

    def read_to(self, topic: str, partition: int, *, position: int, end: int) -> None:
        """Set a partition's position, the offset of the next record to read, and its lag behind `end`.

        Partitions that are not held are ignored, because nothing would update their series again.
        """
        if (topic, partition) in self._held:
            self._metrics[POSITION].labels(topic, partition).set(position)
            lag = max(end - position, 0)
            self._metrics[LAG].labels(topic, partition).set(lag)
            if self._role is Role.COUNT:
                self._metrics.activity.lags[topic, partition] = lag

    def counted(self, outcomes: CommitOutcomes) -> None:
        """Count what a commit brought, and log losses."""
        numbers = Numbers()
        for stream, number in outcomes.events.items():
            self._metrics[EVENTS].labels(self._label(stream)).inc(number)
        for stream, number in outcomes.accepted.items():
            label = self._label(stream)
            self._metrics[STREAM_RECORDS].labels(label).inc(number)
            numbers.accepted[label] += number
        for (topic, named, reason), number in outcomes.rejected.items():
            label = NO_STREAM if named is None else self._label(named)
            self._metrics[REJECTED].labels(topic, label, reason).inc(number)
            numbers.refused[topic, label, reason.value] += number
        for (stream, half_hours), number in outcomes.gaps.items():
            numbers.gaps[self._label(stream), half_hours] += number
        for (topic, outcome), number in outcomes.records.items():
            self._metrics[RECORDS].labels(topic, outcome).inc(number)
            numbers.read[topic] += number if outcome != RecordOutcome.FILTERED else 0
        self._metrics.activity.add(numbers)
        self._log_gaps(numbers)
        for (topic, place), number in outcomes.skipped.items():
            self._metrics[OFFSETS_SKIPPED].labels(topic, place).inc(number)
        for partition, loss in sorted(outcomes.losses.items()):
            self._metrics[OFFSETS_SKIPPED].labels(partition[0], SkipPlace.DELETED).inc(loss.records)
            self._log_loss(partition, loss)

    def _log_gaps(self, numbers: Numbers) -> None:
        """Log once for each stream that its events are whole hours from their records."""
        timed = numbers.timed
        full = {stream for stream in timed if self._timed[stream] > _READ_TOGETHER}
        if full:
            self._timed = Counter({name: n for name, n in self._timed.items() if name not in full})
            self._gaps = Counter({key: n for key, n in self._gaps.items() if key[0] not in full})
        self._timed.update(timed)
        self._gaps.update(numbers.gaps)
        for stream, sentence in describe_gaps(self._gaps, self._timed).items():
            if stream not in self._told:
                self._told.add(stream)
                remedy = "do what it says; none if a job publishes them so much later"
                what = "the events of a stream are whole hours from their records"
                self._log_event(logging.WARNING, what, stream=stream, found=sentence, remedy=remedy)

    def waiting_for_schema(self, partitions: Collection[Partition]) -> None:
        """Replace the set of partitions that are paused until the schema registry answers; log new ones."""
        if self._block(BlockReason.SCHEMA, partitions):
            self._log_event(
                logging.WARNING,
                "partitions wait for a schema; nothing is lost, the others go on",
                partitions=name_partitions(partitions),
                remedy="check the schema registry; see the runbook DriftgaugePartitionsBlocked",
            )

    def shards_held(self, shards: Collection[int]) -> None:
        """Stop exporting the streams of all other shards."""
        self._metrics.windows.keep_only(shards)

    def show(self, shard: int, state: ShardState) -> None:
        """Export the state of a shard's streams: those with an entry, and admitted ones that match one."""
        matched = sorted(
            stream
            for stream, held in state.streams.items()
            if not held.is_retired and stream not in self._streams.names and stream in self._streams
        )
        streams = [*self._streams_by_shard[shard], *matched]
        self._metrics.windows.show(shard, take_snapshot(state, streams))

    def alarm_removed(self, last: WindowResult) -> None:
        """Log that an alarm ends because its stream has no windows of this size any more."""
        _log.warning(
            "an alarm ends: the configuration has no windows of its size any more",
            extra={
                "stream": last.stream,
                "window": format_duration(last.window.size_ms),
                "end_ms": last.window.end_ms,
                "remedy": "look at the stream: page and status show the alarm until a window of another size "
                "has concluded on later events; its alert is resolved",
            },
        )

    def closed(self, shard: int, round_: RoundResult) -> None:
        """Log the round of a shard: windows, events in none, and breaks in its chain of partials."""
        for result in round_.results:
            _log_window(result)
        for late in round_.late:
            partition, offset = late.first
            _log.warning(
                "events came after their window was final; they are counted as late",
                extra={
                    "stream": late.stream,
                    "window": format_duration(late.size_ms),
                    "events": late.number,
                    "first": f"{name_partition(partition)}@{offset}",
                    "remedy": "raise allowed_lateness of the stream, or correct the producer's timestamps",
                },
            )
        numbers = Numbers()
        for surplus in round_.surplus:
            numbers.surplus[surplus.match] += surplus.number
            _log.warning(
                "an entry has as many streams as it is for; events of others are counted as surplus",
                extra={
                    "shard": shard,
                    "match": surplus.match,
                    "most": surplus.most,
                    "events": surplus.number,
                    "first": ", ".join(surplus.streams),
                    "remedy": "raise most of the entry, or stop who sends these names; see the runbook "
                    "DriftgaugeCountsInDoubt",
                },
            )
        self._metrics.activity.add(numbers)
        for error in round_.chain_errors:
            _log.error(
                "the partials do not continue what was counted; the windows concerned are marked",
                extra={"shard": shard, "found": error, "remedy": _CHAIN_REMEDY},
            )

    def _label(self, stream: str) -> str:
        """Return the label of a counted stream: its name, or its entry's pattern after `most` other names."""
        if stream in self._streams.names:
            return stream
        watched = self._streams[stream]
        names = self._names.setdefault(watched.spec.name, set())
        if len(names) < watched.spec.most:
            names.add(stream)
        return stream if stream in names else watched.spec.name

    def _block(self, reason: BlockReason, partitions: Collection[Partition]) -> Set[Partition]:
        """Replace the partitions that are blocked for a reason; return those that are new."""
        found, before = set(partitions), self._blocked[reason]
        if found != before:
            numbers = Counter(topic for topic, _ in found)
            for topic in {topic for topic, _ in found | before}:
                self._metrics[BLOCKED].labels(topic, reason).set(numbers[topic])
            self._blocked[reason] = found
            self._metrics.health.set_blocked(self._role, reason, name_partitions(found))
        return found - before

    def _log_loss(self, partition: Partition, loss: RecordLoss) -> None:
        if loss.is_truncated:
            self._log_event(
                logging.ERROR,
                "the log was truncated, so records may be unread; the windows concerned are marked",
                partition=f"{name_partition(partition)}@{loss.start}",
                records=f"at least {loss.records}",
                remedy=_TRUNCATION_REMEDY,
            )
        else:
            self._log_event(
                logging.ERROR,
                "Kafka deleted records before they were read; the windows concerned are marked",
                partition=name_partition(partition),
                records=loss.records,
                first_offset=loss.start,
                last_offset=loss.last,
                remedy=_RETENTION_REMEDY,
            )

    def _log_event(self, level: int, message: str, **details: object) -> None:
        _log.log(level, message, extra={"role": self._role, **details})

    def _set_held(self, partitions: set[Partition]) -> None:
        for topic, partition in self._held - partitions:
            # A partition that was never read has no series; removing a missing series is no error.
            for gauge in (self._metrics[POSITION], self._metrics[LAG]):
                gauge.remove(topic, partition)
            self._metrics.activity.lags.pop((topic, partition), None)
        if self._role is Role.COUNT:
            for each in partitions - self._held:
                self._metrics.activity.lags[each] = None
        for topic in {topic for topic, _ in self._held | partitions}:
            number = sum(held == topic for held, _ in partitions)
            self._metrics[ASSIGNED].labels(topic).set(number)
        self._block(BlockReason.RESTORE, self._blocked[BlockReason.RESTORE] & partitions)
        self._held = partitions

    def _end_aborts(self) -> None:
        """End the row of aborted transactions."""
        for cause in AbortCause:
            self._metrics[ABORTED].labels(self._role, cause).set(0)


def _log_window(result: WindowResult) -> None:
    divergence = None if result.score is None else result.score.divergence
    _log.info(
        "window closed" if result.revision == 0 else "window revised",
        extra={
            "stream": result.stream,
            "window": format_duration(result.window.size_ms),
            "start_ms": result.window.start_ms,
            "end_ms": result.window.end_ms,
            "revision": result.revision,
            "events": result.count,
            "verdict": result.verdict,
            "incomplete_reason": result.incomplete_reason,
            "js_divergence": None if divergence is None else divergence.js_divergence,
            "noise_floor": None if divergence is None else divergence.noise_floor,
            "p_value": None if result.score is None else result.score.p_value,
            "missing": name_partitions(result.missing),
            "events_lost": result.events_lost,
            "counted_twice": result.counted_twice,
        },
    )
