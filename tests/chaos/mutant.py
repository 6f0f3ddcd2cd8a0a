"""`driftgauge` with a mutation, an injected failure, or both.

    python mutant.py MUTATION FAILURE ARGUMENTS…

A mutation removes one guard of the service; the failure is the one it guards against. Either may be "none".
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from confluent_kafka import Consumer, Message, TopicPartition  # noqa: E402

from driftgauge import cli  # noqa: E402
from driftgauge.core.counting.partial import PaneDelta, Part  # noqa: E402
from driftgauge.core.windows.closing import WindowCloser  # noqa: E402
from driftgauge.core.windows.shard import ShardState  # noqa: E402
from driftgauge.errors import ClientLost, TransactionAborted  # noqa: E402
from driftgauge.kafka import client, count_worker, intake, service, session  # noqa: E402
from driftgauge.kafka.changelog_reader import ChangelogReader  # noqa: E402
from driftgauge.kafka.count_worker import CountWorker  # noqa: E402
from driftgauge.kafka.held_partitions import HeldPartitions  # noqa: E402
from driftgauge.kafka.session import Session  # noqa: E402
from driftgauge.kafka.transaction import ANY, State, Transaction  # noqa: E402
from driftgauge.kafka.transactional import TransactionalProducer, _Ready, _Suspect  # noqa: E402
from driftgauge.kafka.window_worker import WindowWorker  # noqa: E402

# The replica and the numbers of its commits in which a failure is injected.
FAILING_REPLICA: Final = "replica-1"
FAILING_COMMITS: Final = (8, 16)
# One in this many calls omits the partials.
EVERY_CALLS: Final = 8
# Longer than the group's session timeout, and shorter than the transaction timeout.
STOPPED_S: Final = 6
# Within these times a client learns that its group has expelled it, and has joined again.
NOTICED_S, JOINED_S = 1.0, 2.0
ABORT_S: Final = 5.0
# Parts of a commit that are so small, and so far apart, interleave with those of other replicas.
PART_BYTES: Final = 1_000
PART_S: Final = 0.4
# Parts that become readable together are then applied over several commits of WINDOWS.
APPLY_S: Final = 0.01
# How many attempts at a new producer fail, and how long each lasts.
FAILED_STARTS: Final = 3
FAILED_START_S: Final = 1.0


def no_group_metadata() -> None:
    """Commit offsets with the metadata of a consumer that is no group member, so without a generation."""
    outsiders: dict[int, Consumer] = {}
    make = client.consumer

    def make_both(properties: client.KafkaProperties, group: str, *others: Any) -> Consumer:
        consumer = make(properties, group, *others)
        outsiders[id(consumer)] = make(properties, group)
        return consumer

    client.consumer = make_both
    Transaction._group_metadata = lambda self: outsiders[id(self._consumer)].consumer_group_metadata()


def read_uncommitted() -> None:
    """Read the records of open and aborted transactions."""

    class Uncommitted(Consumer):
        def __init__(self, properties: dict[str, Any], **named: Any) -> None:
            super().__init__({**properties, "isolation.level": "read_uncommitted"}, **named)

    client.Consumer = Uncommitted  # type: ignore[attr-defined]


def restore_before_end() -> None:
    """Restore a shard from the part of its changelog read so far."""
    ChangelogReader.has_reached = lambda *_: True


def progress_not_last() -> None:
    """Write the parts of a commit in reverse order; parts are small, so that there are several."""
    service._PART_BYTES = PART_BYTES
    encode = count_worker.encode_commit  # type: ignore[attr-defined]
    count_worker.encode_commit = lambda *given, **named: encode(*given, **named)[::-1]  # type: ignore[attr-defined]


def progress_without_partials() -> None:
    """Write some commits with their progress and without their counts."""
    encode = count_worker.encode_commit  # type: ignore[attr-defined]
    calls = 0

    def omit_partials(
        commit: Any, shards: int, panes: Sequence[PaneDelta], *others: Any, **named: Any
    ) -> list[bytes]:
        nonlocal calls
        calls += 1
        if calls % EVERY_CALLS == 0:
            panes = ()
        return encode(commit, shards, panes, *others, **named)

    count_worker.encode_commit = omit_partials  # type: ignore[attr-defined]


def producer_not_replaced() -> None:
    """Keep a producer that lost a connection during a transaction."""
    TransactionalProducer.is_suspect = property(lambda self: not isinstance(self._state, _Ready | _Suspect))


def drop_while_settling() -> None:
    """Assign partitions at once when they begin again, and drop what is polled until there is a producer."""
    process = Session._process

    def assign_at_once(self: HeldPartitions) -> None:
        for source in self.started:
            again = replace(source, position=source.committed, records=0, skipped_at_start=0)
            self._states[source.partition] = again
        self._sync_client()

    def process_unless_settling(self: Session, messages: Sequence[Message], *, is_last: bool) -> bool:
        return process(self, messages if self._lost_s is None else [], is_last=is_last)

    HeldPartitions.begin_again = assign_at_once
    Session._process = process_unless_settling


def offsets_outside_transaction() -> None:
    """Commit the offsets on their own, before the transaction."""
    commit = Transaction.commit

    def commit_apart(self: Transaction, offsets: Sequence[TopicPartition], bound_s: float) -> None:
        assert self._consumer is not None
        self._consumer.commit(offsets=list(offsets), asynchronous=False)
        commit(self, offsets, bound_s)

    Transaction.commit = commit_apart


def member_not_checked() -> None:
    """Commit as whatever member of the group the consumer has become."""
    Transaction._group_metadata = lambda self: self._consumer and self._consumer.consumer_group_metadata()


def counts_kept() -> None:
    """Begin again without dropping the uncommitted counts."""

    def begin_again(self: CountWorker) -> None:
        self._held.begin_again()

    CountWorker.begin_again = begin_again


def positions_kept() -> None:
    """Drop the uncommitted counts without going back to the committed offsets."""
    CountWorker.begin_again = lambda self: self._counter.drop()


def revoked_partitions_kept() -> None:
    """Go on counting partitions that the group has revoked."""
    CountWorker.drop = lambda *_: None


def revoked_shards_kept() -> None:
    """Go on closing windows of shards that the group has revoked."""
    WindowWorker.drop = lambda *_: None


def any_shard() -> None:
    """Write each part of a commit to any shard."""
    produce = count_worker.produce_or_abort  # type: ignore[attr-defined]

    def produce_anywhere(transaction: Transaction, topic: str, _: int, key: None, value: bytes) -> None:
        produce(transaction, topic, ANY, key, value)

    count_worker.produce_or_abort = produce_anywhere  # type: ignore[attr-defined]


def epoch_repeated() -> None:
    """Number the commits of a replica that was started again as before, so that they look applied."""
    renew = TransactionalProducer.renew

    def renew_as_before(self: TransactionalProducer, bound_s: float) -> None:
        renew(self, bound_s)
        self.epoch = 1

    TransactionalProducer.renew = renew_as_before


def waiting_parts_passed() -> None:
    """Commit offsets past the parts of commits that are not whole yet."""
    skip_to = ShardState.skip_to

    def skip_past(self: ShardState, offset: int) -> None:
        skip_to(self, offset)
        self.position = replace(self.position, offset=self.next_offset)

    ShardState.skip_to = skip_past


def changelog_uncommitted() -> None:
    """Restore shards from the records of aborted transactions too."""
    client.range_consumer = lambda properties, on_statistics=None: client._consumer(
        properties, {"isolation.level": "read_uncommitted"}, on_statistics
    )


def waiting_windows_final() -> None:
    """Let windows become final, and lose their panes, while they wait for a later round."""
    advance = WindowCloser._advance_horizon
    WindowCloser._advance_horizon = lambda self, watermark_ms, _: advance(self, watermark_ms, None)


def producers_times_trusted() -> None:
    """Let every event time move the watermark, however far ahead of the clock it is."""
    intake.credible_ms = lambda raw, now_ms: np.full(len(raw), 2**62)  # type: ignore[attr-defined]


def stop_in_commit() -> None:
    """Suspend the process after the records of a commit are delivered and before its offsets are."""
    _fail_in("_deliver", lambda _: _suspend())


def rejoin_in_commit() -> None:
    """Suspend the process as `stop_in_commit` does; the consumer joins again before the offsets are sent."""

    def rejoin(transaction: Transaction) -> None:
        _suspend()
        assert transaction._consumer is not None
        time.sleep(NOTICED_S)
        # The client joins again by this call, before it reports the loss (librdkafka 2.16).
        transaction._consumer.incremental_unassign([])
        time.sleep(JOINED_S)

    _fail_in("_deliver", rejoin)


def abort_in_commit() -> None:
    """Abort the transaction after its records are delivered."""
    _fail_in("_deliver", _abort)


def abort_at_begin() -> None:
    """Abort the transaction before any record is written."""
    _fail_in("begin", _abort)


def abort_in_windows_commit() -> None:
    """Abort the transaction of WINDOWS after its records are delivered."""
    _fail_in("_deliver", _abort, role="windows")


def interleave_parts() -> None:
    """Let commits of other replicas come between two parts of one, let WINDOWS commit there, and restore."""
    produce = count_worker.produce_or_abort  # type: ignore[attr-defined]

    def produce_apart(transaction: Transaction, *record: Any) -> None:
        produce(transaction, *record)
        transaction._producer.client.flush(ABORT_S)
        if os.environ.get("DRIFTGAUGE_REPLICA") == FAILING_REPLICA:
            time.sleep(PART_S)

    apply = ShardState.apply

    def apply_slowly(self: ShardState, offset: int, append_ms: int, part: Part) -> None:
        time.sleep(APPLY_S)
        apply(self, offset, append_ms, part)

    ShardState.apply = apply_slowly
    service._PART_BYTES = PART_BYTES
    session._BATCH = 1
    count_worker.produce_or_abort = produce_apart  # type: ignore[attr-defined]
    _fail_in("_deliver", _abort, role="windows", commits=range(6, 25, 3))


def lose_producer_in_commit() -> None:
    """Lose the producer after the records of a commit are delivered; the next attempts at a new one fail."""
    renew = TransactionalProducer.renew
    failing: Counter[str] = Counter()

    def lose(transaction: Transaction) -> None:
        failing[transaction.producer] = FAILED_STARTS
        transaction._state = State.LOST
        message = "the producer was lost on purpose"
        raise TransactionAborted(message)

    def renew_late(self: TransactionalProducer, bound_s: float) -> None:
        if failing[self.transactional_id]:
            failing[self.transactional_id] -= 1
            time.sleep(FAILED_START_S)
            message = "no producer, on purpose"
            raise ClientLost(message)
        renew(self, bound_s)

    _fail_in("_deliver", lose)
    TransactionalProducer.renew = renew_late


def abort_after_loss() -> None:
    """Abort the transaction after a lost connection, after its records are delivered."""
    begin, deliver = Transaction.begin, Transaction._deliver
    follows_loss: dict[int, bool] = {}

    def begin_and_note(self: Transaction, bound_s: float) -> None:
        self._producer.client.poll(0)
        lost = isinstance(self._producer._state, _Suspect)
        begin(self, bound_s)
        # A producer that was not replaced is still suspect: clear that, so that the loss counts once.
        self._producer._state = _Ready(self._producer.client)
        follows_loss[id(self)] = lost

    def deliver_and_abort(self: Transaction, deadline_s: float) -> None:
        deliver(self, deadline_s)
        if follows_loss.pop(id(self), False):
            _abort(self)

    Transaction.begin = begin_and_note
    Transaction._deliver = deliver_and_abort


def _suspend() -> None:
    subprocess.Popen(["sh", "-c", f"sleep {STOPPED_S}; kill -CONT {os.getpid()}"])
    # The signal is sent to this thread, so that the thread stops at once.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _abort(transaction: Transaction) -> None:
    transaction.abort(ABORT_S)
    message = "aborted on purpose"
    raise TransactionAborted(message)


def _fail_in(
    step: str,
    fail: Callable[[Transaction], None],
    role: str = "count",
    commits: Collection[int] = FAILING_COMMITS,
) -> None:
    """Inject a failure into some commits of a role of the failing replica, after a step of the commit."""
    if os.environ.get("DRIFTGAUGE_REPLICA") != FAILING_REPLICA:
        return
    do, begun = getattr(Transaction, step), 0

    def do_and_fail(self: Transaction, within_s: float) -> None:
        nonlocal begun
        do(self, within_s)
        if self.producer.endswith(f".{role}"):
            begun += 1
            if begun in commits:
                fail(self)

    setattr(Transaction, step, do_and_fail)


CHANGES: Final = {
    change.__name__: change
    for change in (
        no_group_metadata,
        read_uncommitted,
        restore_before_end,
        progress_not_last,
        progress_without_partials,
        producer_not_replaced,
        drop_while_settling,
        offsets_outside_transaction,
        member_not_checked,
        counts_kept,
        positions_kept,
        revoked_partitions_kept,
        revoked_shards_kept,
        any_shard,
        epoch_repeated,
        waiting_parts_passed,
        changelog_uncommitted,
        waiting_windows_final,
        producers_times_trusted,
        stop_in_commit,
        rejoin_in_commit,
        abort_in_commit,
        abort_at_begin,
        abort_in_windows_commit,
        interleave_parts,
        abort_after_loss,
        lose_producer_in_commit,
    )
}


def main() -> None:
    for name in (sys.argv.pop(1), sys.argv.pop(1)):
        if name != "none":
            CHANGES[name]()
    cli.main()


if __name__ == "__main__":
    main()
