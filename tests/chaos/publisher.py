"""A process that generates a workload and publishes it on time."""

import multiprocessing
import signal
import time
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
from confluent_kafka import Producer

from tests.chaos.workload import Workload, WorkloadSpec
from tests.harness.topics import DeliveryFailures
from tests.waiting import PATIENCE_S

LONGEST_OUTAGE_S: Final = 900.0


class PublisherProcess(AbstractContextManager["PublisherProcess"]):
    """A child process that publishes the workload; a context manager that kills it."""

    def __init__(self, workload: Workload, bootstrap: str, topic: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_publish,
            args=(workload.spec, bootstrap, topic, answers),
            daemon=True,
        )
        self._process.start()
        answers.close()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    def wait_for_answer(self, within_s: float) -> Any:
        """Return when the first event was sent, by the monotonic clock; then, what was not delivered."""
        assert self._answers.poll(within_s), f"the publisher did not answer within {within_s:g} s"
        try:
            return self._answers.recv()
        except EOFError:
            raise AssertionError("the publisher died; see its stderr") from None


def _publish(spec: WorkloadSpec, bootstrap: str, topic: str, answers: Connection) -> None:
    """Publish all events in order; send the start time, and at the end the errors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and kills this process
    workload = Workload.make(spec)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 10,
            "queue.buffering.max.messages": spec.events,
            "message.timeout.ms": int(LONGEST_OUTAGE_S * 1_000),
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,  # refused connections are expected
        }
    )
    failures = DeliveryFailures()
    producer.list_topics(topic, timeout=PATIENCE_S)
    # No live event may be sent before its event time.
    time.sleep(max(0.0, spec.live_from_ms / 1_000 - time.time()))
    started_s = time.monotonic()
    answers.send(started_s)
    row = 0
    while row < len(workload) and not failures:
        elapsed_ms = (time.monotonic() - started_s) * 1_000
        due = int(np.searchsorted(workload.sent_ms, elapsed_ms, side="right"))
        for due_row in range(row, due):
            partition = int(workload.partition[due_row])
            producer.produce(topic, workload.value(due_row), partition=partition, on_delivery=failures.note)
        row = due
        producer.poll(0.02)
    unsent = producer.flush(LONGEST_OUTAGE_S)
    late = [f"{unsent:,} events were not delivered within {LONGEST_OUTAGE_S:g} s"] if unsent else []
    answers.send([*(error.str() for error in failures[:1]), *late])
