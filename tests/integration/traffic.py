"""Events that go on coming while a test does something else, and some that are refused among them."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from confluent_kafka import KafkaError, Message

from tests.integration.case import Case, SourceEvent

FLUSH_S = 60.0


def among_refused(events: Iterable[SourceEvent], *, every: int) -> list[SourceEvent]:
    """Return the events, and before each `every`th of them one of a stream that nobody watches."""
    traffic = []
    for number, event in enumerate(events):
        traffic += [event] if number % every else [replace(event, stream="unwatched"), event]
    return traffic


def refused(case: Case) -> list[tuple[int, int]]:
    """Where the events that were refused stand, partition and offset, one for each dead letter."""
    headers = [dict(letter.headers() or []) for letter in case.dead_letters()]
    return [(int(each["driftgauge.partition"] or 0), int(each["driftgauge.offset"] or 0)) for each in headers]


@contextmanager
def publishing(case: Case, events: Iterable[SourceEvent], *, rate: float) -> Iterator[None]:
    """Send the events from another thread at this rate, each of them once whatever the broker does.

    Leaving the context waits until the last one has been delivered.
    """
    producer = case.producer(**{"enable.idempotence": 1})
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    def send() -> None:
        started = time.monotonic()
        for number, event in enumerate(events):
            ahead_s = number / rate - (time.monotonic() - started)
            if ahead_s > 0:
                producer.poll(ahead_s)
            placed = {} if event.partition is None else {"partition": event.partition}
            producer.produce(case.events_topic, event.value, on_delivery=delivered, **placed)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        left = producer.flush(FLUSH_S)
    assert not failures
    assert left == 0
