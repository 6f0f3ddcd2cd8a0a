"""`driftgauge` with a fault of its own, or with trouble in the midst of a commit, or with both.

    python mutated.py MUTATION TROUBLE ARGUMENTS…

A mutation takes one guard out of the service; trouble is what the guard is there for. Either may be "none".
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from confluent_kafka import Consumer  # noqa: E402

from driftgauge import cli  # noqa: E402
from driftgauge.core.counting.partial import PaneDelta  # noqa: E402
from driftgauge.errors import TransactionAborted  # noqa: E402
from driftgauge.kafka import client, count_worker  # noqa: E402
from driftgauge.kafka.changelog_reader import ChangelogReader  # noqa: E402
from driftgauge.kafka.transaction import Transaction  # noqa: E402
from driftgauge.kafka.transactional import TransactionalProducer  # noqa: E402

# Trouble comes to one replica, in the commits of these numbers.
TROUBLED: Final = "replica-1"
TROUBLES: Final = (8, 16)
# So often a partial is left out.
EVERY_CALLS: Final = 8
# Longer than the group's session, and shorter than a transaction may be open.
STOPPED_S: Final = 6
ABORT_S: Final = 5.0


def no_group_metadata() -> None:
    """Offsets are committed in the name of a consumer that is no member: no generation is asked for."""
    strangers: dict[int, Consumer] = {}
    make, bind = client.consumer, Transaction.bind

    def make_both(properties: client.KafkaProperties, group: str) -> Consumer:
        consumer = make(properties, group)
        strangers[id(consumer)] = make(properties, group)
        return consumer

    def bind_stranger(self: Transaction, consumer: Consumer) -> None:
        stranger = strangers[id(consumer)]
        # Without the member's id the service itself refuses the commit.
        nobody = SimpleNamespace(
            consumer_group_metadata=stranger.consumer_group_metadata, memberid=consumer.memberid
        )
        bind(self, cast("Consumer", nobody))

    client.consumer = make_both
    Transaction.bind = bind_stranger


def read_uncommitted() -> None:
    """Consumers are shown what is in open and aborted transactions."""

    class Uncommitted(Consumer):
        def __init__(self, properties: dict[str, Any], **named: Any) -> None:
            super().__init__({**properties, "isolation.level": "read_uncommitted"}, **named)

    client.Consumer = Uncommitted  # type: ignore[attr-defined]


def restore_without_the_end() -> None:
    """A shard is restored from what of its changelog has come so far."""
    ChangelogReader.has_reached = lambda *_: True


def progress_not_last() -> None:
    """The parts of a commit are written in another order."""
    encode = count_worker.encode_commit  # type: ignore[attr-defined]
    count_worker.encode_commit = lambda *arguments: encode(*arguments)[::-1]  # type: ignore[attr-defined]


def progress_without_its_partial() -> None:
    """Now and then a shard is told of progress, and not of what was counted on the way."""
    encode = count_worker.encode_commit  # type: ignore[attr-defined]
    calls = 0

    def forget(
        commit: Any, shards: int, panes: Sequence[PaneDelta], examples: Any, *others: Any
    ) -> list[bytes]:
        nonlocal calls
        calls += 1
        if calls % EVERY_CALLS == 0:
            panes, examples = (), ()
        return encode(commit, shards, panes, examples, *others)

    count_worker.encode_commit = forget  # type: ignore[attr-defined]


def producer_not_replaced() -> None:
    """A producer goes on after it lost a connection in the midst of a transaction."""
    TransactionalProducer.is_suspect = property(lambda self: self._producer is None)


def stop_in_commit() -> None:
    """The process stands still when all records are with the brokers, and the offsets are not."""

    def stop(_: Transaction) -> None:
        subprocess.Popen(["sh", "-c", f"sleep {STOPPED_S}; kill -CONT {os.getpid()}"])
        # To this thread: it must not go on until the signal has come round to it.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    _before_offsets(stop)


def abort_in_commit() -> None:
    """The transaction is aborted when all records are with the brokers."""
    _before_offsets(_abort)


def abort_after_loss() -> None:
    """The transaction after a lost connection is aborted, when all its records are with the brokers."""
    begin, deliver = Transaction.begin, Transaction._deliver
    follows_loss: dict[int, bool] = {}

    def begin_and_note(self: Transaction, bound_s: float) -> None:
        self._producer.client.poll(0)
        lost = self._producer._is_suspect
        begin(self, bound_s)
        # A producer that was not replaced has lost it all the same, but once.
        self._producer._is_suspect = False
        follows_loss[id(self)] = lost

    def deliver_and_abort(self: Transaction, deadline_s: float) -> None:
        deliver(self, deadline_s)
        if follows_loss.pop(id(self), False):
            _abort(self)

    Transaction.begin = begin_and_note
    Transaction._deliver = deliver_and_abort


def _abort(transaction: Transaction) -> None:
    transaction.abort(ABORT_S)
    message = "aborted on purpose"
    raise TransactionAborted(message)


def _before_offsets(trouble: Callable[[Transaction], None]) -> None:
    """Let the troubled replica's COUNT have trouble in some commits, when their records are delivered."""
    if os.environ.get("DRIFTGAUGE_REPLICA") != TROUBLED:
        return
    deliver, commits = Transaction._deliver, 0

    def deliver_and_more(self: Transaction, deadline_s: float) -> None:
        nonlocal commits
        deliver(self, deadline_s)
        if self.producer.endswith(".count"):
            commits += 1
            if commits in TROUBLES:
                trouble(self)

    Transaction._deliver = deliver_and_more


CHANGES: Final = {
    change.__name__: change
    for change in (
        no_group_metadata,
        read_uncommitted,
        restore_without_the_end,
        progress_not_last,
        progress_without_its_partial,
        producer_not_replaced,
        stop_in_commit,
        abort_in_commit,
        abort_after_loss,
    )
}


def main() -> None:
    for name in (sys.argv.pop(1), sys.argv.pop(1)):
        if name != "none":
            CHANGES[name]()
    cli.main()


if __name__ == "__main__":
    main()
