"""One life of a replica's Kafka clients: poll -> restore -> process -> commit, until one of them fails."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from driftgauge.config import Settings
from driftgauge.core.partition import Partition
from driftgauge.core.pipeline import Pipeline
from driftgauge.core.reference import MissingBaselineError
from driftgauge.core.spec import StreamSpec
from driftgauge.core.table import Table
from driftgauge.errors import AuthorizationError, ClientLost, ServiceError, TransactionAborted
from driftgauge.events.decoder import Decoder
from driftgauge.kafka import client, topics
from driftgauge.kafka.assignment import Assignment
from driftgauge.kafka.follower import Follower
from driftgauge.kafka.intake import PositionLost, read_notices
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.output import Output
from driftgauge.kafka.ownership import Ownership
from driftgauge.kafka.restore import Restore
from driftgauge.kafka.transaction import AUTHORIZATION, Transaction
from driftgauge.telemetry.health import Condition, Health
from driftgauge.telemetry.metrics import Stage, Telemetry
from driftgauge.watching import References

__all__ = ["Session"]

_log = logging.getLogger(__name__)

# consume() returns with this many or when the time is up: enough for a matrix product to pay,
# short enough for a signal to be heard at once (Python runs no handler inside it).
_BATCH = 1_000
_POLL_S = 0.1
_RESTORE_POLL_S = 0.02
_START_S = 20.0
# While a broker restarts a commit is insisted on, for as long as brokers keep a transaction open;
# what takes longer is settled by a new producer.
_COMMIT_S = 10.0
_MAX_ABORTS = 5
# Clocks are set to rights by less all the time.
_CLOCK_STEP_MS = 1_000
# The others of the group wait for one who gives partitions up, and a supervisor for one who leaves.
_REVOKED_S = 4.0
_ABORT_S = 4.0
# The table's freshness is asked for at least this often; `Health` calls it stale after some failures.
_SHOW_INTERVAL_MS = 1_000
# librdkafka's own default, where the topic's limit cannot be had.
_LETTER_BYTES = 1_000_000
_NOTHING = Assignment({})


class Session:
    """Consumer, transactional producer and table of one replica; a failed one is replaced by a new one."""

    def __init__(
        self,
        settings: Settings,
        specs: Sequence[StreamSpec],
        decoder: Decoder,
        *,
        transactional_id: str,
        established: set[str],
        telemetry: Telemetry,
        health: Health,
        clock_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._specs = specs
        self._decoder = decoder
        self._established = established
        self._telemetry = telemetry
        self._health = health
        self._clock_ms = clock_ms
        self._admin = client.admin(settings.kafka)
        self._consumer = client.consumer(settings.kafka)
        self._transaction = Transaction(client.transactional_producer(settings.kafka, transactional_id))
        self._table = Table()
        self._references = References(self._table)
        self._follower = Follower(
            client.table_consumer(settings.kafka), self._admin, self._table, settings.state_topics
        )
        self._every: list[Partition] = []
        self._assigned: list[Partition] = []
        self._waits_since_s = 0.0
        self._lacks = ""  # what was last said to be missing
        self._must_restore = False
        self._restore: Restore | None = None
        self._ownership: Ownership | None = None
        self._aborts = 0  # in a row
        self._is_current = False

    def run(self, stopping: threading.Event) -> None:
        """Read until `stopping` is set, then commit and leave the group.

        Raises:
            BrokerError: A new session is needed.
            AuthorizationError: The cluster does not let us.
            StateError: The state cannot be used.
        """
        try:
            self._live(stopping)
        except KafkaException as error:
            # A client that has failed for good says so from whatever is called next.
            cause: KafkaError = error.args[0]
            message = f"a Kafka client failed ({cause.str()})"
            if cause.code() in AUTHORIZATION:
                message = f"{message}; check the client's rights"
                raise AuthorizationError(message) from error
            raise ClientLost(message) from error

    def _live(self, stopping: threading.Event) -> None:
        try:
            self._transaction.start(_START_S)
            self._output = self._make_output()
            self._know_partitions()
            self._consumer.subscribe(
                list(self._settings.topics.events),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            self._read(stopping)
        except BaseException:
            # Whatever went wrong, what is held must not be committed on the way out.
            with suppress(ServiceError):
                self._drop()
            raise
        finally:
            # Leaving the group gives up what is held, which may fail.
            with closing(self._follower):
                self._consumer.close()

    def _read(self, stopping: threading.Event) -> None:
        committed_ms = shown_ms = last_ms = self._clock_ms()
        show_interval_ms = min(self._settings.commit_interval, _SHOW_INTERVAL_MS)
        while not stopping.is_set():
            messages = self._consumer.consume(_BATCH, _RESTORE_POLL_S if self._restore else _POLL_S)
            now_ms = self._clock_ms()
            self._health.polled()
            self._telemetry.polled(now_ms)
            with self._telemetry.timed(Stage.FOLLOW):
                self._follower.poll()
            if self._ownership is None:
                # Nothing is to be counted, but the client may say why.
                read_notices(messages, _NOTHING)
            # A clock that was set back must not put commits off.
            is_due = not 0 <= now_ms - committed_ms < self._settings.commit_interval
            committed_ms = now_ms if is_due else committed_ms
            try:
                if self._must_restore:
                    self._begin_restore()
                elif self._restore is not None:
                    self._continue(self._restore)
                elif self._ownership is not None:
                    self._ownership.process(messages)
                    if now_ms < last_ms - _CLOCK_STEP_MS:
                        # Silence is measured by this clock; measured anew it lasts as long as it should.
                        self._start_over(f"the clock was set back by {last_ms - now_ms} ms")
                    elif is_due or self._ownership.is_full:
                        self._commit(self._ownership, _COMMIT_S)
                        self._ownership.report_positions(self._consumer)
            except TransactionAborted as error:
                self._count_abort(error)
                self._rewind()
            except PositionLost as error:
                self._start_over(str(error))
            last_ms = now_ms
            if not 0 <= now_ms - shown_ms < show_interval_ms:
                shown_ms = now_ms
                with self._telemetry.timed(Stage.SHOW):
                    self._show()

    def _commit(self, ownership: Ownership, bound_s: float) -> None:
        if ownership.commit(self._consumer, bound_s, is_current=self._is_current):
            self._aborts = 0

    def _count_abort(self, error: TransactionAborted) -> None:
        """Go on after an aborted transaction, but not for ever without a pause.

        Raises:
            ClientLost: It was one of many; a new session comes after a pause.
        """
        self._telemetry.aborted(str(error))
        self._aborts += 1
        if self._aborts == _MAX_ABORTS:
            self._aborts = 0
            message = f"{_MAX_ABORTS} transactions in a row were aborted, the last because {error}"
            raise ClientLost(message) from error

    def _know_partitions(self) -> None:
        """Learn which partitions there are, and follow the state of each; it has grown if they have."""
        counts = topics.prepare_state_topics(self._admin, self._consumer, self._settings.state_topics)
        self._every = [(topic, index) for topic, number in counts.items() for index in range(number)]
        self._table.expect(self._every)
        self._telemetry.partitions_known(counts)
        self._follower.follow(self._every)

    def _make_output(self) -> Output:
        names = self._settings.topics
        limit = topics.message_limit(self._admin, [names.dead_letters])
        return Output(
            self._transaction,
            windows_topic=names.windows,
            dead_letters_topic=names.dead_letters,
            state_topics=self._settings.state_topics,
            max_letter_bytes=_LETTER_BYTES if limit is None else limit,
        )

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned = sorted((partition.topic, partition.partition) for partition in partitions)
        self._waits_since_s = time.monotonic()
        self._telemetry.assigned(self._assigned)
        # Nothing is fetched before the barrier is passed.
        consumer.assign([])
        self._must_restore = True

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._telemetry.revoked([(partition.topic, partition.partition) for partition in partitions])
        if self._ownership is not None:
            try:
                self._commit(self._ownership, _REVOKED_S)
            except TransactionAborted as error:
                self._count_abort(error)
        self._drop()

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._telemetry.lost([(partition.topic, partition.partition) for partition in partitions])
        self._drop()

    def _begin_restore(self) -> None:
        # Partitions may have been added: a rebalance is how the group learns of it.
        self._know_partitions()
        self._health.set_ready(Condition.RESTORED, met=False)
        if not set(self._assigned) <= set(self._every):
            _log.warning("a broker does not know yet of partitions that it has assigned")
            return
        self._must_restore = False
        self._restore = Restore(
            self._assigned,
            self._consumer,
            self._admin,
            self._follower,
            self._table,
            streams=[spec.name for spec in self._specs],
            since_s=self._waits_since_s,
        )

    def _continue(self, restore: Restore) -> None:
        """Go on with the barrier, and begin to count once it is passed."""
        restored = restore.step()
        if restored is None:
            return
        self._restore = None
        self._telemetry.restored(restore.waited_s, restored.lost, restored.stopped)
        self._health.set_ready(Condition.RESTORED, met=not restored.stopped)
        if not restored.positions:
            return
        assignment = Assignment(restored.positions)
        try:
            pipeline = Pipeline(
                self._specs,
                held=assignment.partitions,
                every=self._every,
                table=self._table,
                find_reference=self._references.find,
                established=self._established,
                now_ms=self._clock_ms(),
            )
        except MissingBaselineError as error:
            # It was committed elsewhere with what names it, and is about to be seen.
            if self._lacks != str(error):
                self._lacks = str(error)
                _log.warning(
                    "restore is waiting",
                    extra={
                        "waiting_for": self._lacks,
                        "remedy": "wait; or start a replica that has this baseline",
                    },
                )
            self._must_restore = True
            return
        self._ownership = Ownership(
            assignment=assignment,
            pipeline=pipeline,
            decoder=self._decoder,
            ends=LogOffsets(self._admin),
            transaction=self._transaction,
            output=self._output,
            telemetry=self._telemetry,
            clock_ms=self._clock_ms,
            settings=self._settings,
        )
        self._ownership.lose(restored.lost)
        self._consumer.assign(
            [TopicPartition(*partition, offset) for partition, offset in restored.positions.items()]
        )

    def _start_over(self, why: str) -> None:
        """Let what was not committed go, and begin again from what was."""
        _log.warning("starting over from what is committed", extra={"reason": why})
        self._transaction.abort(_ABORT_S)
        self._rewind()

    def _rewind(self) -> None:
        """Drop what was not committed, and begin again from what was."""
        self._ownership = None
        self._consumer.assign([])
        self._must_restore = True
        self._waits_since_s = time.monotonic()

    def _drop(self) -> None:
        """Hold nothing any more, and let nothing stand that was not committed."""
        self._ownership = None
        self._restore = None
        self._must_restore = False
        self._health.set_ready(Condition.RESTORED, met=False)
        self._transaction.abort(_ABORT_S)

    def _show(self) -> None:
        """Show what the table says, if it is known to be up to date."""
        self._is_current = self._follower.is_current()
        if not self._is_current:
            return
        self._health.refreshed()
        self._telemetry.show(self._table)
        for spec in self._specs:
            # Of a replica that holds nothing as well: see `StreamCounter`. A table that is still being read
            # would tell of baselines that were in force once.
            if self._table.eras(spec.name).is_established(spec.reference.key):
                self._established.add(spec.name)
