"""Failures that are injected into the commits of one replica."""

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from driftgauge.core.counting.partial import CommitPart
from driftgauge.core.windows.shard import ShardState
from driftgauge.engine import service, session
from driftgauge.engine.count import count_worker
from driftgauge.engine.producer.transaction import Transaction
from driftgauge.errors import TransactionFailed

FAILING_REPLICA: Final = "replica-1"
ABORT_S: Final = 5.0


def rejoin_in_commit() -> None:
    """Suspend the process as `stop_in_commit` does; the consumer joins again before the offsets are sent."""

    def rejoin(transaction: Transaction) -> None:
        _suspend(transaction)
        # A client learns within this time that its group has expelled it.
        time.sleep(1.0)
        # The client joins again by this call, before it reports the loss (librdkafka 2.16).
        transaction._consumer.incremental_unassign([])
        time.sleep(2.0)

    _fail_in("_deliver", rejoin)


def interleave_parts() -> None:
    """Let other commits come between two parts of one, let WINDOWS commit there, and restore from that."""
    produce = count_worker.produce_or_abort  # type: ignore[attr-defined]

    def produce_apart(transaction: Transaction, *record: Any) -> None:
        produce(transaction, *record)
        transaction._opened().client.flush(ABORT_S)
        if os.environ.get("DRIFTGAUGE_REPLICA") == FAILING_REPLICA:
            time.sleep(0.4)

    apply, deliver = ShardState.apply, Transaction._deliver
    waiting: set[int] = set()
    follows, aborts = False, 0

    def apply_slowly(self: ShardState, offset: int, append_ms: int, part: CommitPart) -> None:
        # Parts that become readable together are then applied over several commits of WINDOWS.
        time.sleep(0.01)
        apply(self, offset, append_ms, part)
        waiting.discard(id(self))
        if self._assembler.first_offset is not None:
            waiting.add(id(self))

    def deliver_and_abort(self: Transaction, within_s: float) -> None:
        nonlocal follows, aborts
        deliver(self, within_s)
        if self.producer.endswith(".windows"):
            # The last commit was made while parts waited, so a restore begins among them.
            if follows and aborts < 4:
                follows, aborts = False, aborts + 1
                _abort(self)
            follows = bool(waiting)

    ShardState.apply = apply_slowly
    # Parts that are so small, and so far apart, interleave with those of other replicas.
    service._PART_BYTES = 1_000
    session._BATCH = 1
    count_worker.produce_or_abort = produce_apart  # type: ignore[attr-defined]
    Transaction._deliver = deliver_and_abort


def lose_producer_in_commit() -> None:
    """Lose the producer after the records of a commit are delivered; three attempts at a new one fail."""
    start = Transaction.start
    failing: Counter[str] = Counter()

    def lose(transaction: Transaction) -> None:
        failing[transaction.producer] = 3
        transaction.close()
        raise TransactionFailed("the producer was lost on purpose")

    def start_late(self: Transaction, bound_s: float) -> None:
        if failing[self.producer]:
            failing[self.producer] -= 1
            time.sleep(1.0)
            raise TransactionFailed("no producer, on purpose")
        start(self, bound_s)

    _fail_in("_deliver", lose)
    Transaction.start = start_late


def abort_after_loss() -> None:
    """Abort the transaction after a lost connection, after its records are delivered."""
    begin, deliver, suspect = Transaction.begin, Transaction._deliver, Transaction._suspect
    lost: set[int] = set()
    follows_loss: set[int] = set()

    def suspect_and_note(self: Transaction) -> None:
        lost.add(id(self))
        suspect(self)

    def begin_and_note(self: Transaction, bound_s: float) -> None:
        begin(self, bound_s)
        if id(self) in lost:
            follows_loss.add(id(self))
            lost.clear()

    def deliver_and_abort(self: Transaction, deadline_s: float) -> None:
        deliver(self, deadline_s)
        if id(self) in follows_loss:
            follows_loss.clear()
            _abort(self)

    Transaction._suspect = suspect_and_note
    Transaction.begin = begin_and_note
    Transaction._deliver = deliver_and_abort


def _suspend(_: Transaction) -> None:
    # Longer than the group's session timeout, and shorter than the transaction timeout.
    subprocess.Popen(["sh", "-c", f"sleep 6; kill -CONT {os.getpid()}"])
    # The signal is sent to this thread, so that the thread stops at once.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _abort(transaction: Transaction) -> None:
    transaction.abort(ABORT_S)
    raise TransactionFailed("aborted on purpose")


def _fail_in(step: str, fail: Callable[[Transaction], None], role: str = "count") -> None:
    """Inject a failure into two commits of one replica's role, after a step of the commit."""
    if os.environ.get("DRIFTGAUGE_REPLICA") != FAILING_REPLICA:
        return
    do, begun = getattr(Transaction, step), 0

    def do_and_fail(self: Transaction, within_s: float) -> None:
        nonlocal begun
        do(self, within_s)
        if self.producer.endswith(f".{role}"):
            begun += 1
            if begun in {8, 16}:
                fail(self)

    setattr(Transaction, step, do_and_fail)


FAILURES: Final = {
    # The process is suspended after the records of a commit are delivered and before its offsets are.
    "stop_in_commit": partial(_fail_in, "_deliver", _suspend),
    "rejoin_in_commit": rejoin_in_commit,
    # The transaction is aborted after its records are delivered, or before any record is written.
    "abort_in_commit": partial(_fail_in, "_deliver", _abort),
    "abort_in_windows_commit": partial(_fail_in, "_deliver", _abort, role="windows"),
    "abort_at_begin": partial(_fail_in, "begin", _abort),
    "interleave_parts": interleave_parts,
    "abort_after_loss": abort_after_loss,
    "lose_producer_in_commit": lose_producer_in_commit,
}
