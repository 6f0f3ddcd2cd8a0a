"""A session over a scripted consumer and a recording worker."""

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any
from unittest.mock import Mock

from confluent_kafka import TopicPartition

from driftgauge.core.partition import Partition
from driftgauge.errors import TransactionAborted
from driftgauge.kafka.login import LoginWatch
from driftgauge.kafka.session import Closed, Joining, Session
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.clocks import ManualClock
from tests.builders.messages import TOPIC

FIRST, SECOND = (TOPIC, 0), (TOPIC, 1)

Callback = Callable[["ScriptedConsumer", list[TopicPartition]], None]
Log = list[str]


class Stopping(threading.Event):
    """An event whose waits are over at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class ScriptedConsumer:
    """A consumer whose polls bring what a test has written down: callbacks, then messages.

    Attributes:
        polls: The messages of each poll, and the partitions of the callbacks before them. A list of lists
            calls a callback once for each list.
    """

    def __init__(self, log: Log, stopping: threading.Event) -> None:
        self._log = log
        self._stopping = stopping
        self.polls: list[tuple[Sequence[str], dict[str, Any]]] = []

    def subscribe(
        self, topics: list[str], *, on_assign: Callback, on_revoke: Callback, on_lost: Callback
    ) -> None:
        self.topics = topics
        self._callbacks = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost}

    def consume(self, number: int, timeout_s: float) -> list[str]:
        if not self.polls:
            self._stopping.set()
            return []
        messages, callbacks = self.polls.pop(0)
        for name, partitions in callbacks.items():
            for each in partitions if partitions and isinstance(partitions[0], list) else [partitions]:
                self._callbacks[name](self, [TopicPartition(*partition) for partition in each])
        return list(messages)

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == []

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == []

    def close(self) -> None:
        self._log.append("close")


class RecordingWorker:
    """Logs its calls.

    Attributes:
        errors: By method name, the errors that its next calls raise; None for a call that succeeds.
        commits: The result of `step`.
        bound_s: The bound of the last hand-over.
    """

    bound_s: float

    def __init__(self, log: Log) -> None:
        self._log = log
        self.errors: dict[str, list[Exception | None]] = {}
        self.commits = True

    def assign(self, partitions: Collection[Partition]) -> None:
        self._record("assign", partitions)

    def process(self, messages: Sequence[str]) -> None:
        if messages:
            self._record(f"process {''.join(messages)}")

    def step(self, bound_s: float) -> bool:
        if self.errors.get("step"):
            self._record("step")
        return self.commits

    def hand_over(self, partitions: Collection[Partition], bound_s: float) -> None:
        self.bound_s = bound_s
        self._record("hand_over", partitions)

    def drop(self, partitions: Collection[Partition]) -> None:
        self._record("drop", partitions)

    def begin_again(self) -> None:
        self._record("begin_again")

    def handle_abort(self, error: TransactionAborted) -> None:
        self._record("handle_abort")

    def _record(self, name: str, partitions: Collection[Partition] = ()) -> None:
        self._log.append(" ".join([name, *(str(index) for _, index in partitions)]))
        errors = self.errors.get(name.split(maxsplit=1)[0], [])
        if errors and (error := errors.pop(0)) is not None:
            raise error


class SessionHarness:
    """A session with its fakes, and one log of the calls of all of them."""

    def __init__(self) -> None:
        self.log: Log = []
        self._stopping = Stopping()
        self.consumer = ScriptedConsumer(self.log, self._stopping)
        self.worker = RecordingWorker(self.log)
        self.clock = ManualClock()
        self.transaction = Mock()
        self.transaction.abort.side_effect = lambda bound_s: self.log.append("abort")
        self.login = Mock(spec=LoginWatch)
        self.login.needs_new_clients.return_value = False
        self.telemetry = Mock(spec=RoleTelemetry)
        self.session = Session(
            [TOPIC],
            self.worker,
            consumer=self.consumer,
            transaction=self.transaction,
            login=self.login,
            telemetry=self.telemetry,
            clock=self.clock.clock,
        )

    def poll(self, *polls: tuple[Sequence[str], dict[str, Any]]) -> None:
        """Let the next polls bring these messages, each after callbacks about these partitions."""
        self.consumer.polls += polls

    @property
    def text(self) -> str:
        """The calls so far, with the numbers of their partitions or their messages."""
        return " | ".join(self.log)

    def run(self) -> str:
        """Run the session until its polls are used up; return the calls."""
        assert self.session.state == Joining()
        self.session.run(self._stopping)
        assert self.session.state == Closed()
        return self.text
