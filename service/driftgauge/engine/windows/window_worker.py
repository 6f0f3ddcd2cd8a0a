"""WINDOWS: applies the partials of the assigned shards, closes windows, and keeps the state in the changelog.

Each partial: decode -> apply. Each commit interval: close windows, then write changelog, results and offsets
in one transaction.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.commit_limit import SHARE, CommitLimit
from driftgauge.core.counting.partial import shard_of
from driftgauge.core.partition import Partition, name_partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.changelog import ShardPosition
from driftgauge.core.windows.shard import RoundResult, ShardState
from driftgauge.core.windows.work_budget import WorkBudget
from driftgauge.engine.offset_barrier import CommittedOffsets
from driftgauge.engine.producer.transaction import ANY, Transaction, bounded, produce_or_abort
from driftgauge.engine.stalled import StalledOffsets
from driftgauge.engine.windows.changelog_reader import DAMAGED_REMEDY, ChangelogReader, key_of
from driftgauge.engine.windows.shard_restore import ShardRestore
from driftgauge.errors import AuthorizationError, BrokerError, StateError, TransactionFailed
from driftgauge.kafka.calls import in_thread
from driftgauge.kafka.cluster import writable_partitions
from driftgauge.kafka.intake import sort_messages
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.records.changelog_records import encode_key, encode_value
from driftgauge.records.descriptions import BaselineDescription
from driftgauge.records.partials import decode_part
from driftgauge.records.window_results import result_key, result_record, stream_of
from driftgauge.telemetry.roles import Phase, RoleTelemetry

__all__ = ["WindowWorker"]

_log = logging.getLogger(__name__)

_RETRY_S = 5.0
# A shard whose windows wait reads on now and then, so that its log time does not stand still.
_LONGEST_PAUSE_S = 30.0
# Asking for an offset in an open transaction takes 0.2 s, so one step asks for few of them.
_RESTORE_S = 0.3
_FAULT_REMEDY = (
    "restart the replica; if the shard stops there again, keep a copy of the partials and the changelog, and "
    "report the logged traceback"
)

_Record = tuple[str, int, bytes, bytes | None]
"""Topic, partition, key and value."""


@dataclass(slots=True)
class _Running:
    """A shard whose partials are processed.

    Attributes:
        state: The shard's state.
        next_at_commit: The next offset of the partials to read, as it was at the last commit.
        keys: The keys of its changelog after the next commit, as `key_of` gives them.
        paused_s: Since when the client does not read the partials, in monotonic seconds; None if it does.
        resumed_at: The offset at which the client last began to read again after a pause; None: never.
        closed_s: When a round last closed windows of the shard, in monotonic seconds.
    """

    state: ShardState
    next_at_commit: int
    keys: set[int]
    paused_s: float | None = None
    resumed_at: int | None = None
    closed_s: float = 0.0


class _Stopped:
    """A shard that is not processed any more."""


@dataclass(slots=True)
class _SetAside:
    """A shard whose changelog cannot be written to.

    Attributes:
        retry_s: When the next check is due, in monotonic seconds.
        writable: The answer of the check that was due: those of its partitions that can be written to.
    """

    retry_s: float
    writable: Future[set[Partition]] | None = None


class WindowWorker:
    """Closes the windows of the shards that the group assigns, each shard independently of the others."""

    def __init__(  # noqa: PLR0913 - one caller assembles the worker
        self,
        settings: Settings,
        specs: Sequence[StreamSpec],
        descriptions: Mapping[str, BaselineDescription],
        *,
        consumer: Consumer,
        changelog: Consumer,
        admin: SharedAdmin,
        transaction: Transaction,
        check_settings: Callable[[], Future[None]],
        telemetry: RoleTelemetry,
        clock: Clock,
        limit: CommitLimit,
    ) -> None:
        self._settings = settings
        self._limit = limit
        self._specs = specs
        self._check_settings = check_settings
        self._checked: tuple[float, Future[None]] | None = None  # when asked, and the answer
        self._descriptions = descriptions
        self._consumer = consumer
        self._admin = admin
        self._transaction = transaction
        self._telemetry = telemetry
        self._clock = clock
        schemes = [spec.scheme(each.reference) for spec in specs for each in spec.baselines]
        self._reader = ChangelogReader(
            changelog,
            settings.changelog_topic,
            {each.key: each.length for whole in schemes for each in (whole, whole.of_segments)},
        )
        self._shards: dict[int, ShardRestore | _Running | _Stopped | _SetAside] = {}
        self._stalled = StalledOffsets(admin, clock.monotonic_s)
        self._interval_began_s = clock.monotonic_s()

    @property
    def is_full(self) -> bool:
        """Whether what was applied fills its share of the next commit."""
        return self._load_bytes() >= self._limit.bytes // SHARE

    @property
    def batch(self) -> int:
        """One message, because it may complete a commit of COUNT, which is applied whole."""
        return 1

    def assign(self, partitions: Collection[Partition]) -> None:
        """Start to restore these shards."""
        for _, shard in partitions:
            self._restore(shard)

    def process(self, messages: Sequence[Message]) -> None:
        """Apply the partials of a poll, and read changelogs."""
        # In every state of the session, or the reader's client would show no pulse.
        self._reader.poll()
        polled = sort_messages(messages, group=self._settings.windows_group)
        with self._telemetry.timed(Phase.APPLY):
            for message in polled.records:
                self._apply(message)
        for (_, shard), end in polled.ends.items():
            if running := self._find_reading(shard):
                running.state.skip_to(end)
        for (_, shard), error in polled.damaged.items():
            if self._find_reading(shard):
                self._stop(shard, f"{self._settings.partials_topic}[{shard}]: {error}; {DAMAGED_REMEDY}")
        for _, shard in polled.lost_positions:
            if self._find_reading(shard):
                self._unassign([shard])
                self._restore(shard)

    def step(self, bound_s: float) -> bool:
        """Continue restores; close windows and commit if it is time; return whether it committed.

        Args:
            bound_s: How long the brokers may take for a commit.

        Raises:
            TransactionFailed, AuthorizationError: As `Transaction.commit`.
        """
        positions: dict[Partition, int | None] = {}
        for shard, state in self._shards.items():
            at: Partition = self._settings.partials_topic, shard
            reading = self._find_reading(shard)
            positions[at] = reading.state.next_offset if reading else None
            positions[self._settings.changelog_topic, shard] = self._reader.positions.get(shard)
            if isinstance(state, _Running) and at in self._stalled.high:
                self._telemetry.read_to(*at, position=state.next_at_commit, end=self._stalled.high[at])
        self._telemetry.stalled(self._stalled.step(positions))
        self._continue_restores()
        is_due = (self._clock.monotonic_s() - self._interval_began_s) * 1000 >= self._settings.commit_interval
        has_committed = (is_due or self.is_full) and self._commit(bound_s)
        # A commit at a hand-over may have closed the last window that a paused shard waited for.
        self._pause_backlogs()
        return has_committed

    def hand_over(self, partitions: Collection[Partition], bound_s: float) -> bool:
        """Commit what was applied, then release these shards; see `Worker`."""
        try:
            return self._commit(bound_s)
        finally:
            self.drop(partitions)

    def drop(self, partitions: Collection[Partition]) -> None:
        """Release these shards without a commit."""
        shards = [shard for _, shard in partitions]
        self._unassign(shards)
        for shard in shards:
            self._reader.end(shard)
            self._shards.pop(shard, None)
        self._telemetry.shards_held(self._shards.keys())
        self._telemetry.stopped(self._stopped())

    def begin_again(self) -> None:
        """Drop uncommitted work: restore the running shards."""
        running = [shard for shard, state in self._shards.items() if isinstance(state, _Running)]
        self._unassign(running)
        for shard in running:
            self._restore(shard)

    def handle_failure(self, error: TransactionFailed) -> None:
        """Stop shards whose records are too large; set shards aside whose changelog cannot be written to."""
        for (topic, partition), key in error.too_large.items():
            shard = partition
            if topic == self._settings.topics.windows:
                shard = shard_of(stream_of(key or b""), self._settings.shards)
            if shard in self._shards:
                self._stop(shard, str(error))
        for topic, shard in error.unwritable:
            if topic == self._settings.changelog_topic and shard in self._shards:
                self._unassign([shard])
                self._reader.end(shard)
                self._shards[shard] = _SetAside(self._clock.monotonic_s() + _RETRY_S)
                _log.error(
                    "changelog cannot be written to; the shard waits, the others go on",
                    extra={"shard": shard, "topic": topic, "remedy": "check the partition's brokers"},
                )

    def _restore(self, shard: int) -> None:
        self._shards[shard] = ShardRestore(
            shard,
            ShardState(self._specs, self._settings.topics.events, self._settings.shards),
            partials=self._settings.partials_topic,
            changelog=self._settings.changelog_topic,
            offsets=CommittedOffsets(self._consumer, self._clock, self._settings.windows_group),
            reader=self._reader,
            admin=self._admin,
            check_settings=self._ask_settings,
            lead_ms=self._settings.allowed_lead,
            clock=self._clock,
        )

    def _ask_settings(self) -> Future[None]:
        """Return the answer of a check of the changelog's settings, which restores of a few seconds share."""
        now_s = self._clock.monotonic_s()
        if self._checked is None or now_s - self._checked[0] > _RETRY_S:
            self._checked = now_s, self._check_settings()
        return self._checked[1]

    def _continue_restores(self) -> None:
        """Continue the restores and the checks that are due, those first that have waited longest."""
        began_s = self._clock.monotonic_s()
        for shard, state in list(self._shards.items()):
            if isinstance(state, ShardRestore):
                # At the end of the mapping the shard comes after the others in the next step.
                self._shards[shard] = self._shards.pop(shard)
                self._continue_restore(shard, state)
            elif isinstance(state, _SetAside) and self._clock.monotonic_s() >= state.retry_s:
                self._retry(shard, state)
            if self._clock.monotonic_s() - began_s > _RESTORE_S:
                return

    def _continue_restore(self, shard: int, restore: ShardRestore) -> None:
        """Continue a shard's restore; read its partials once its state is restored."""
        partials, state = self._settings.partials_topic, restore.state
        with self._isolated(shard, f"restore of {self._settings.changelog_topic}[{shard}]"):
            if not restore.step():
                self._telemetry.start_waits([(partials, shard)], restore.waiting_for, restore.waited_s)
                return
            self._shards[shard] = _Running(state, next_at_commit=state.next_offset, keys=restore.keys)
            self._consumer.incremental_assign([TopicPartition(partials, shard, state.position.offset)])
            self._telemetry.started(restore.waited_s, [(partials, shard)])
            self._telemetry.show(shard, state)
            for last in state.removed_alarms:
                self._telemetry.alarm_removed(last)

    def _retry(self, shard: int, state: _SetAside) -> None:
        """Restore a shard that was set aside if its changelog can be written to again."""
        partition = self._settings.changelog_topic, shard
        if state.writable is None:
            # Brokers that are away would hold up the other shards.
            state.writable = in_thread(partial(writable_partitions, self._admin.client, [partition]))
        if not state.writable.done():
            return
        try:
            is_writable = partition in state.writable.result()
        except BrokerError as error:
            _log.warning(
                "cannot check whether a changelog is writable; the shard still waits",
                extra={
                    "partition": name_partition(partition),
                    "error": str(error),
                    "remedy": "check the brokers",
                },
            )
            is_writable = False
        if is_writable:
            self._restore(shard)
            self._telemetry.unwritable(self._unwritable_changelogs())
        else:
            self._shards[shard] = _SetAside(self._clock.monotonic_s() + _RETRY_S)

    def _stop(self, shard: int, reason: str) -> None:
        self._unassign([shard])
        self._reader.end(shard)
        self._shards[shard] = _Stopped()
        self._telemetry.stopped(self._stopped())
        remedy = "do what the reason says, or see the runbook DriftgaugePartitionsStopped; then restart"
        _log.error(
            "shard stopped; the others go on", extra={"shard": shard, "reason": reason, "remedy": remedy}
        )

    @contextmanager
    def _isolated(self, shard: int, what: str) -> Iterator[None]:
        """Stop a shard whose state cannot be used, or on which the code fails; the others go on.

        Args:
            shard: The shard.
            what: What is done to it, for messages.
        """
        try:
            yield
        except StateError as error:
            self._stop(shard, f"{what}: {error}")
        except (BrokerError, AuthorizationError, KafkaException, MemoryError):
            # None of these is a fault of the shard.
            raise
        except Exception:  # noqa: BLE001 - an error in one shard must not stop the others
            _log.exception("the code fails on a shard", extra={"shard": shard, "remedy": _FAULT_REMEDY})
            self._stop(shard, f"{what}: the code fails; {_FAULT_REMEDY}")

    def _unwritable_changelogs(self) -> list[Partition]:
        topic = self._settings.changelog_topic
        return [(topic, shard) for shard, state in self._shards.items() if isinstance(state, _SetAside)]

    def _stopped(self) -> list[Partition]:
        topic = self._settings.partials_topic
        return [(topic, shard) for shard, state in self._shards.items() if isinstance(state, _Stopped)]

    def _find_reading(self, shard: int) -> _Running | None:
        """Return a shard whose partials the client reads; None for any other.

        A shard that is paused, or restored, begins again at its next offset. So what was fetched before that
        is ignored, the ends of partitions included.
        """
        running = self._shards.get(shard)
        return running if isinstance(running, _Running) and running.paused_s is None else None

    def _unassign(self, shards: Collection[int]) -> None:
        """Stop reading the partials of those shards that are read."""
        topic = self._settings.partials_topic
        reading = [shard for shard in shards if self._find_reading(shard)]
        self._consumer.incremental_unassign([TopicPartition(topic, shard) for shard in reading])

    def _pause_backlogs(self) -> None:
        """Read a shard's partials only while no due window waits, which would move a backlog into memory.

        A shard without a due window is never paused, because its windows become due by what it reads.
        """
        now_s = self._clock.monotonic_s()
        for shard, running in self._shards.items():
            if not isinstance(running, _Running):
                continue
            # A fetch may take longer than a commit, so a shard is not paused again before it has read on.
            has_read = running.state.next_offset != running.resumed_at
            if running.paused_s is None and running.state.has_backlog and has_read:
                self._unassign([shard])
                running.paused_s = now_s
            elif running.paused_s is not None and (
                not running.state.has_backlog or now_s - running.paused_s >= _LONGEST_PAUSE_S
            ):
                running.paused_s, running.resumed_at = None, running.state.next_offset
                at = TopicPartition(self._settings.partials_topic, shard, running.resumed_at)
                self._consumer.incremental_assign([at])

    def _apply(self, message: Message) -> None:
        """Apply a partial to its shard, if that runs."""
        shard, offset = message.partition(), message.offset()
        running = self._find_reading(-1 if shard is None else shard)
        if running is None or shard is None or offset is None:
            return
        with self._isolated(shard, f"{message.topic()}[{shard}]@{offset}"):
            part = decode_part(message.value() or b"")
            self._check_shards(part.shards)
            running.state.apply(offset, message.timestamp()[1], part)

    def _check_shards(self, shards: int) -> None:
        """Refuse partials of another number of shards, which distributes streams over shards differently.

        Raises:
            StateError: The numbers differ.
        """
        if shards != self._settings.shards:
            message = (
                f"the record was written for {shards} shards, and {self._settings.shards} are configured; "
                "configure all replicas alike; another number of shards needs another topics.internal"
            )
            raise StateError(message)

    def _commit(self, bound_s: float) -> bool:
        """Close windows in the shards that moved or have a backlog, and commit; return False if none did.

        Order: 1. the changelog of each shard, its position last, 2. the results, 3. the offsets covered,
        4. after the commit, the metrics.
        """
        self._interval_began_s = self._clock.monotonic_s()
        moved = {
            shard: running
            for shard, running in self._shards.items()
            if isinstance(running, _Running)
            and (running.state.next_offset > running.next_at_commit or running.state.has_backlog)
        }
        if not moved:
            return False
        rounds: dict[int, RoundResult] = {}
        with self._telemetry.timed(Phase.CLOSE):
            budget = WorkBudget(max(self._limit.bytes - self._load_bytes(), 0))
            # Shards whose windows had to wait in the last round come first, and of these the one that has
            # waited longest.
            for shard, running in sorted(
                moved.items(), key=lambda item: (not item[1].state.has_backlog, item[1].closed_s)
            ):
                where = f"{self._settings.partials_topic}[{shard}]@{running.state.next_offset}"
                with self._isolated(shard, f"windows up to {where}"):
                    rounds[shard] = running.state.close_windows(budget)
                    if rounds[shard].results:
                        running.closed_s = self._interval_began_s
        records: dict[int, list[_Record]] = {}
        with self._telemetry.timed(Phase.WRITE):
            # All are encoded before the first is written, and before the transaction's time begins.
            for shard, round_ in rounds.items():
                with self._isolated(shard, "changes and results"):
                    records[shard] = [*self._encode(shard, moved[shard], round_)]
            if not records:
                return False
            self._write(records, bound_s)
        self._telemetry.committed(self._unwritable_changelogs())
        for shard in records:
            running = moved[shard]
            running.next_at_commit = running.state.next_offset
            with self._isolated(shard, "metrics"):
                self._telemetry.closed(shard, rounds[shard])
                self._telemetry.show(shard, running.state)
        return True

    def _write(self, records: Mapping[int, Sequence[_Record]], bound_s: float) -> None:
        """Commit the records of some shards with the offsets that they cover, in one transaction."""
        partials, states = self._settings.partials_topic, self._shards
        offsets = [
            TopicPartition(partials, shard, running.state.position.offset)
            for shard in records
            if isinstance(running := states[shard], _Running)
        ]
        with bounded(self._transaction, self._limit, self._clock, bound_s) as deadline_s:
            for each in records.values():
                for record in each:
                    produce_or_abort(self._transaction, *record)
            self._transaction.commit(offsets, deadline_s - self._clock.monotonic_s())

    def _load_bytes(self) -> int:
        """Return what the changes of the running shards since the last commit will write."""
        return sum(each.state.load.bytes for each in self._shards.values() if isinstance(each, _Running))

    def _encode(self, shard: int, running: _Running, round_: RoundResult) -> Iterator[_Record]:
        """Yield the records of a shard: its changes, the position last, and its results."""
        for key, value in running.state.drain_changes():
            raw, content = encode_key(key), None
            if value is None:
                running.keys.discard(key_of(raw))
            else:
                running.keys.add(key_of(raw))
                # The position comes last, so this is the number of keys after the commit.
                counted = (
                    replace(value, keys=len(running.keys)) if isinstance(value, ShardPosition) else value
                )
                content = encode_value(counted)
            yield self._settings.changelog_topic, shard, raw, content
        for result in round_.results:
            record = result_record(result, self._descriptions.get(result.baseline_id))
            yield self._settings.topics.windows, ANY, result_key(result), record
