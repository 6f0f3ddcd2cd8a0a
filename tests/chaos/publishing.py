"""The process that publishes a workload at an even pace, and makes it itself rather than be sent it."""

import multiprocessing
import signal
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer

from tests.chaos.workload import Recipe, Workload

TICK_S: Final = 0.02
START_S: Final = 90.0
LONGEST_OUTAGE_S: Final = 300.0


class Publishing:
    """A process of its own that sends the workload; a context manager that ends it."""

    def __init__(self, workload: Workload, bootstrap: str, topic: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_publish,
            args=(workload.recipe, bootstrap, topic, answers),
            daemon=True,
        )
        self._process.start()
        answers.close()

    def __enter__(self) -> "Publishing":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.join()

    def wait_for_start(self) -> float:
        """The moment, by the monotonic clock, when the first event is sent."""
        started_s: float = self._answer(START_S)
        return started_s

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    def wait_for_end(self, within_s: float) -> None:
        """Wait until the broker has every event; AssertionError where it has refused one."""
        problem = self._answer(within_s)
        assert problem == "", problem

    def _answer(self, within_s: float) -> Any:
        assert self._answers.poll(within_s), f"the publisher did not answer within {within_s:g} s"
        try:
            return self._answers.recv()
        except EOFError:
            raise AssertionError("the publisher died; it says why on stderr") from None


def _publish(recipe: Recipe, bootstrap: str, topic: str, answers: Connection) -> None:
    """Send everything in order; answers when it begins, and at the end what went wrong, if anything."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    workload = Workload.make(recipe)
    events, seconds = recipe.events, recipe.seconds
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 10,
            "queue.buffering.max.messages": events,
            "message.timeout.ms": int(LONGEST_OUTAGE_S * 1_000),
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,  # refused connections are part of the run
        }
    )
    failures: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error.str())

    producer.list_topics(topic, timeout=10.0)
    # No live event may be sent before its time.
    time.sleep(max(0.0, recipe.live_from_ms / 1_000 - time.time()))
    started_s = time.monotonic()
    answers.send(started_s)
    row = 0
    while row < events and not failures:
        due = min(events, int((time.monotonic() - started_s) / seconds * events) + 1)
        for due_row in range(row, due):
            place = int(workload.partition[due_row])
            producer.produce(topic, workload.value(due_row), partition=place, on_delivery=delivered)
        row = due
        producer.poll(TICK_S)
    unsent = producer.flush(LONGEST_OUTAGE_S)
    if unsent:
        failures.append(f"{unsent:,} events were not delivered within {LONGEST_OUTAGE_S:g} s")
    answers.send(failures[0] if failures else "")
