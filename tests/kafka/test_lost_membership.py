"""A member that its group has removed commits no more offsets of its former partitions."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Sequence
from functools import partial
from unittest.mock import Mock

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import NewTopic

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.partition import Partition
from driftgauge.errors import TransactionAborted
from driftgauge.kafka import client
from driftgauge.kafka.login import Login, LoginWatch
from driftgauge.kafka.pulse import Pulse
from driftgauge.kafka.session import Session
from driftgauge.kafka.transaction import Transaction
from driftgauge.telemetry.roles import RoleTelemetry
from tests.output import say
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

TOPIC = "lost-membership"
WITHIN_S = 120.0
SESSION_TIMEOUT_S = 6.0
COMMIT_S = 10.0


class RestartingWorker:
    """A worker that stops and restarts its partitions while its client has a loss yet to report.

    The client takes that for the answer to the loss: it joins its group again, and reports a revocation.
    """

    batch, is_full = 1, False

    def __init__(self, consumer: Consumer, transaction: Transaction) -> None:
        self._consumer = consumer
        self._transaction = transaction
        self._held: list[TopicPartition] = []

    def assign(self, partitions: Collection[Partition]) -> None:
        self._held = [TopicPartition(*partition, 0) for partition in partitions]
        self._consumer.incremental_assign(self._held)

    def process(self, messages: Sequence[Message]) -> None:
        assert not messages

    def step(self, bound_s: float) -> bool:
        if self._held:
            say("holding")
            wait_for("the loss of the membership", lambda: not self._consumer.memberid(), within_s=WITHIN_S)
            self._consumer.incremental_unassign(self._held)
            self._consumer.incremental_assign(self._held)
            wait_for("the new membership", lambda: bool(self._consumer.memberid()), within_s=WITHIN_S)
            self._commit("work")
            self._held = []
        return False

    def begin_again(self) -> None:
        pass

    def hand_over(self, partitions: Collection[Partition], bound_s: float) -> bool:
        self._commit("hand-over")
        return True

    def drop(self, partitions: Collection[Partition]) -> None:
        say("dropped")

    def handle_abort(self, error: TransactionAborted) -> None:
        pass

    def _commit(self, during: str) -> None:
        self._transaction.begin(COMMIT_S)
        try:
            self._transaction.commit([TopicPartition(TOPIC, 0, 7)], COMMIT_S)
        except TransactionAborted:
            say(f"{during}: refused")
        else:
            say(f"{during}: committed")


def run_member(bootstrap: str) -> None:
    properties = {"bootstrap.servers": bootstrap}
    consumer = client.consumer({**properties, "session.timeout.ms": round(1000 * SESSION_TIMEOUT_S)}, TOPIC)
    stopping = threading.Event()
    make_producer = partial(client.transactional_producer, properties)
    transaction = Transaction(make_producer, TOPIC, SYSTEM_CLOCK, group=TOPIC, stopping=stopping)
    transaction.start(COMMIT_S)
    session = Session(
        [TOPIC],
        RestartingWorker(consumer, transaction),
        consumer=consumer,
        transaction=transaction,
        login=LoginWatch(Login({}), SYSTEM_CLOCK),
        pulse=Pulse(TOPIC, SYSTEM_CLOCK.monotonic_s),
        telemetry=Mock(spec=RoleTelemetry),
        clock=SYSTEM_CLOCK,
    )
    session.run(stopping)


def test_member_that_lost_its_place_commits_nothing(bootstrap: str) -> None:
    admin = client.admin({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(TOPIC, 2)])[TOPIC].result(WITHIN_S)
    command = [sys.executable, "-m", "tests.kafka.test_lost_membership", bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as member:
        assert member.stdout is not None
        watchdog = threading.Timer(WITHIN_S, member.kill)
        watchdog.start()
        try:
            assert member.stdout.readline() == "holding\n"
            member.send_signal(signal.SIGSTOP)
            time.sleep(1.5 * SESSION_TIMEOUT_S)
            member.send_signal(signal.SIGCONT)
            said = [member.stdout.readline() for _ in range(2)]
            assert said == ["work: refused\n", "hand-over: refused\n"]
        finally:
            watchdog.cancel()
            member.kill()


if __name__ == "__main__":
    run_member(sys.argv[1])
