"""WINDOWS: the partials of the shards held become closed windows; the changelog keeps the state.

The road of a commit: take -> decode -> apply -> (each commit interval) close, then write changelog, results
and offsets in one transaction.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, Message, TopicPartition

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.closing import WorkBudget
from driftgauge.core.windows.shard import RoundResult, ShardState
from driftgauge.errors import BrokerError, StateError, TransactionAborted
from driftgauge.events.results import result_key, result_record
from driftgauge.kafka.changelog_reader import ChangelogReader
from driftgauge.kafka.intake import sort_messages
from driftgauge.kafka.metadata import writable_partitions
from driftgauge.kafka.offset_barrier import CommittedOffsets
from driftgauge.kafka.shard_restore import ShardRestore
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.kafka.transaction import ANY, BEGIN_S, Transaction, must_produce
from driftgauge.kafka.transaction_watch import TransactionWatch
from driftgauge.records.changelog import encode_key, encode_value
from driftgauge.records.partials import decode_part
from driftgauge.telemetry.roles import RoleTelemetry, Stage

__all__ = ["WindowWorker"]

_log = logging.getLogger(__name__)

_ASK_AGAIN_S = 5.0
# Asking for an offset that hangs takes 0.2 s; the other shards are not to wait for all of these.
_BARRIERS_S = 0.3


@dataclass(slots=True)
class _Restoring:
    """A shard on its way through the barrier."""

    restore: ShardRestore


@dataclass(slots=True)
class _Running:
    """A shard whose partials are read; at the last commit they had been read to `committed`."""

    state: ShardState
    committed: int


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A shard that must not go on, and why."""

    reason: str


@dataclass(slots=True)
class _SetAside:
    """A shard whose changelog could not be written to, and when that is looked at again."""

    again_s: float


class WindowWorker:
    """Closes the windows of the shards that the group gives it, each shard by itself."""

    def __init__(
        self,
        settings: Settings,
        specs: Sequence[StreamSpec],
        *,
        consumer: Consumer,
        changelog: Consumer,
        admin: SharedAdmin,
        transaction: Transaction,
        telemetry: RoleTelemetry,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._specs = specs
        self._consumer = consumer
        self._admin = admin
        self._transaction = transaction
        self._telemetry = telemetry
        self._clock = clock
        self._reader = ChangelogReader(changelog, settings.changelog_topic)
        self._shards: dict[int, _Restoring | _Running | _Stopped | _SetAside] = {}
        self._watch = TransactionWatch(settings, admin, telemetry, clock)
        self._committed_s = clock.monotonic_s()

    def assign(self, partitions: Collection[Partition]) -> None:
        """Restore these shards as well."""
        for _, shard in partitions:
            self._restore(shard)
        self._telemetry.shards_held(self._shards.keys())

    def process(self, messages: Sequence[Message]) -> None:
        """Apply the commits that a poll brought."""
        records, lost = sort_messages(messages, self._read_to)
        with self._telemetry.timed(Stage.APPLY):
            for message in records:
                self._take(message)
        for _, shard in lost:
            if isinstance(self._shards.get(shard), _Running):
                self._unread([shard])
                self._restore(shard)

    def step(self, bound_s: float) -> bool:
        """Go on with the barriers; close what is due and commit it if it is time, and tell whether it was.

        Args:
            bound_s: How long the brokers may take for a commit.

        Raises:
            TransactionAborted, ClientLost, AuthorizationError: As `Transaction.commit`.
        """
        self._reader.poll()
        topics = (self._settings.partials_topic, self._settings.changelog_topic)
        self._watch.step([(topic, shard) for topic in topics for shard in self._shards])
        self._pass_barriers()
        if (self._clock.monotonic_s() - self._committed_s) * 1000 < self._settings.commit_interval:
            return False
        return self._commit(bound_s)

    def hand_over(self, partitions: Collection[Partition], bound_s: float) -> None:
        """Commit what was applied, and give these shards up."""
        try:
            self._commit(bound_s)
        finally:
            self.drop(partitions)

    def drop(self, partitions: Collection[Partition]) -> None:
        """Give these shards up, whatever was applied."""
        shards = [shard for _, shard in partitions]
        self._unread(shards)
        for shard in shards:
            self._reader.end(shard)
            self._shards.pop(shard, None)
        self._telemetry.stopped(self._settings.partials_topic, self._stopped())

    def rewind(self) -> None:
        """Drop what was not committed: the running shards are restored."""
        running = [shard for shard, state in self._shards.items() if isinstance(state, _Running)]
        self._unread(running)
        for shard in running:
            self._restore(shard)

    def reset(self) -> None:
        """Drop what was not committed: the running shards are restored."""
        self.rewind()

    def handle_abort(self, error: TransactionAborted) -> None:
        """Let the shards wait whose changelog could not be written to; the others go on without them."""
        self._telemetry.unwritable(error.unwritable)
        for topic, shard in error.too_large:
            if topic == self._settings.changelog_topic and shard in self._shards:
                self._stop(
                    shard, f"{error}; raise max.message.bytes of {topic}, and message.max.bytes under kafka"
                )
        for topic, shard in error.unwritable:
            if topic == self._settings.changelog_topic and shard in self._shards:
                self._unread([shard])
                self._reader.end(shard)
                self._shards[shard] = _SetAside(self._clock.monotonic_s() + _ASK_AGAIN_S)
                _log.error(
                    "changelog cannot be written to; the shard waits, the others go on",
                    extra={"shard": shard, "topic": topic, "remedy": "check the partition's brokers"},
                )

    def close(self) -> None:
        """Let the changelog's reader go."""
        self._reader.close()

    def _restore(self, shard: int) -> None:
        state = ShardState(self._specs, self._settings.topics.events, self._settings.shards)
        restore = ShardRestore(
            shard,
            state,
            partials=self._settings.partials_topic,
            changelog=self._settings.changelog_topic,
            offsets=CommittedOffsets(self._consumer, self._clock),
            reader=self._reader,
            admin=self._admin,
            clock=self._clock,
        )
        self._shards[shard] = _Restoring(restore)

    def _pass_barriers(self) -> None:
        """Go on with the shards that are not read yet, those first that have waited longest for a turn."""
        began_s = self._clock.monotonic_s()
        for shard, state in list(self._shards.items()):
            if isinstance(state, _Restoring):
                # To the end of the mapping: its next turn comes after the others'.
                self._shards[shard] = self._shards.pop(shard)
                self._go_on(shard, state.restore)
            elif isinstance(state, _SetAside) and self._clock.monotonic_s() >= state.again_s:
                self._look_again(shard)
            if self._clock.monotonic_s() - began_s > _BARRIERS_S:
                return

    def _go_on(self, shard: int, restore: ShardRestore) -> None:
        """Go on with a shard's barrier, and read its partials once it is passed."""
        try:
            if not restore.step():
                at = self._settings.partials_topic, shard
                self._telemetry.restore_waits([at], restore.waiting_for, restore.waited_s)
                return
        except StateError as error:
            self._stop(shard, str(error))
            return
        state = restore.state
        self._shards[shard] = _Running(state, committed=state.next_offset)
        partials = self._settings.partials_topic
        self._consumer.incremental_assign([TopicPartition(partials, shard, state.position.offset)])
        self._telemetry.restored(restore.waited_s, [(partials, shard)])
        self._telemetry.show(shard, state)

    def _look_again(self, shard: int) -> None:
        at = self._settings.changelog_topic, shard
        try:
            is_writable = at in writable_partitions(self._admin.client, [at])
        except BrokerError as error:
            _log.warning("whether a changelog can be written to is unknown", extra={"error": str(error)})
            is_writable = False
        if is_writable:
            self._restore(shard)
            self._telemetry.unwritable(self._set_aside())
        else:
            self._shards[shard] = _SetAside(self._clock.monotonic_s() + _ASK_AGAIN_S)

    def _stop(self, shard: int, reason: str) -> None:
        self._unread([shard])
        self._reader.end(shard)
        self._shards[shard] = _Stopped(reason)
        self._telemetry.stopped(self._settings.partials_topic, self._stopped())
        _log.error("shard stopped; the others go on", extra={"shard": shard, "reason": reason})

    def _set_aside(self) -> list[Partition]:
        topic = self._settings.changelog_topic
        return [(topic, shard) for shard, state in self._shards.items() if isinstance(state, _SetAside)]

    def _stopped(self) -> int:
        return sum(isinstance(state, _Stopped) for state in self._shards.values())

    def _unread(self, shards: Collection[int]) -> None:
        topic = self._settings.partials_topic
        read = [shard for shard in shards if isinstance(self._shards.get(shard), _Running)]
        self._consumer.incremental_unassign([TopicPartition(topic, shard) for shard in read])

    def _take(self, message: Message) -> None:
        shard, offset = message.partition(), message.offset()
        running = self._shards.get(-1 if shard is None else shard)
        if not isinstance(running, _Running) or shard is None or offset is None:
            return
        try:
            part = decode_part(message.value() or b"")
            self._check(part.shards)
        except StateError as error:
            self._stop(shard, f"{message.topic()}[{shard}]@{offset}: {error}")
            return
        try:
            running.state.take(offset, message.timestamp()[1], part)
        except Exception:  # noqa: BLE001 - whatever is wrong with this shard, the others go on
            _log.exception("a partial could not be applied", extra={"shard": shard, "offset": offset})
            self._stop(
                shard, f"{message.topic()}[{shard}]@{offset} could not be applied; see the log before this"
            )

    def _check(self, shards: int) -> None:
        """Refuse partials of another number of shards: their streams would be other shards' as well."""
        if shards != self._settings.shards:
            message = (
                f"the record was written for {shards} shards, and {self._settings.shards} are configured; "
                "configure all replicas alike, and use driftgauge kafka reshard to change the number"
            )
            raise StateError(message)

    def _read_to(self, partition: Partition, position: int) -> None:
        running = self._shards.get(partition[1])
        if isinstance(running, _Running):
            running.state.read_to(position)

    def _commit(self, bound_s: float) -> bool:
        """Close what is due in the shards that moved, and let it stand; False where none has moved.

        1. The changelog of each shard, its position last. 2. The results. 3. The offsets covered. 4. Only
        then the metrics.
        """
        self._committed_s = self._clock.monotonic_s()
        moved = {
            shard: running
            for shard, running in self._shards.items()
            if isinstance(running, _Running) and running.state.next_offset > running.committed
        }
        if not moved:
            return False
        deadline_s = self._clock.monotonic_s() + bound_s
        with self._telemetry.timed(Stage.CLOSE):
            rounds = self._close(moved)
            moved = {shard: running for shard, running in moved.items() if shard in rounds}
        with self._telemetry.timed(Stage.WRITE):
            self._transaction.begin(min(bound_s, BEGIN_S))
            for shard, running in moved.items():
                self._write(shard, running.state, rounds[shard])
            partials = self._settings.partials_topic
            offsets = [
                TopicPartition(partials, shard, running.state.position.offset)
                for shard, running in moved.items()
            ]
            self._transaction.commit(offsets, self._consumer, deadline_s - self._clock.monotonic_s())
        self._telemetry.committed(self._set_aside())
        for shard, running in moved.items():
            running.committed = running.state.next_offset
            self._telemetry.closed(shard, rounds[shard])
            self._telemetry.show(shard, running.state)
            _, end = self._consumer.get_watermark_offsets(TopicPartition(partials, shard), cached=True)
            if end >= 0:
                self._telemetry.read_to(partials, shard, position=running.committed, end=end)
        return True

    def _close(self, moved: Mapping[int, _Running]) -> dict[int, RoundResult]:
        """Close what is due in these shards; one that cannot is stopped."""
        budget = WorkBudget()
        rounds = {}
        # Those that had no time left for their windows in the last round come first.
        for shard, running in sorted(moved.items(), key=lambda item: not item[1].state.has_waiting):
            try:
                rounds[shard] = running.state.advance(budget)
            except Exception:  # noqa: BLE001 - as above
                _log.exception("windows could not be closed", extra={"shard": shard})
                self._stop(shard, "its windows could not be closed; see the log before this")
        return rounds

    def _write(self, shard: int, state: ShardState, round_: RoundResult) -> None:
        for key, value in state.take_changes(self._transaction.producer):
            content = None if value is None else encode_value(value)
            must_produce(self._transaction, self._settings.changelog_topic, shard, encode_key(key), content)
        for result in round_.results:
            topic = self._settings.topics.windows
            must_produce(self._transaction, topic, ANY, result_key(result), result_record(result))
