"""Events in the background at a fixed rate, rejected events among them, and open transactions."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from confluent_kafka import Producer

from tests.harness.case import Case, SourceEvent
from tests.harness.closing import join
from tests.harness.topics import TIMEOUT_S, DeliveryFailures
from tests.waiting import PATIENCE_S


def with_rejected(events: Iterable[SourceEvent], *, every: int) -> list[SourceEvent]:
    """Return the events with one of an unknown stream before each `every`th."""
    traffic = []
    for number, event in enumerate(events):
        traffic += [event] if number % every else [replace(event, stream="unwatched"), event]
    return traffic


def rejected_sources(case: Case) -> list[tuple[int, int]]:
    """Return partition and offset of the rejected event of each dead letter."""
    headers = [dict(letter.headers() or []) for letter in case.dead_letters()]
    return [(int(each["driftgauge.partition"] or 0), int(each["driftgauge.offset"] or 0)) for each in headers]


@contextmanager
def publishing(case: Case, events: Iterable[SourceEvent], *, rate: float) -> Iterator[None]:
    """Send the events from another thread, `rate` a second, each exactly once through broker failures.

    The end of the context waits until all are delivered.
    """
    producer = case.producer(**{"enable.idempotence": 1})
    failures = DeliveryFailures()

    def send() -> None:
        started = time.monotonic()
        for number, event in enumerate(events):
            ahead_s = number / rate - (time.monotonic() - started)
            if ahead_s > 0:
                producer.poll(ahead_s)
            placed = {} if event.partition is None else {"partition": event.partition}
            producer.produce(case.events_topic, event.value, on_delivery=failures.note, **placed)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended = join(thread, "the publisher", PATIENCE_S)
        left = producer.flush(PATIENCE_S)
    assert has_ended
    assert not failures
    assert left == 0


def open_transaction(case: Case, events: Iterable[SourceEvent], **properties: str | int) -> Producer:
    """Send the events in a transaction that stays open; return its producer."""
    producer = case.producer(**{"transactional.id": case.name, **properties})
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    for event in events:
        producer.produce(case.events_topic, event.value, partition=event.partition)
    assert producer.flush(TIMEOUT_S) == 0
    return producer
