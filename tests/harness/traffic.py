"""Open transactions of producers."""

from collections.abc import Iterable

from confluent_kafka import Producer

from tests.harness.case import Case, SourceEvent
from tests.harness.topics import TIMEOUT_S


def open_transaction(case: Case, events: Iterable[SourceEvent], **properties: str | int) -> Producer:
    """Send the events in a transaction that stays open; return its producer."""
    producer = case.producer(**{"transactional.id": case.name, **properties})
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    for event in events:
        producer.produce(case.events_topic, event.value, partition=event.partition)
    assert producer.flush(TIMEOUT_S) == 0
    return producer
