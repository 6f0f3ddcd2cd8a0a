"""The changelog on a real broker: compaction, and records stamped by a wrong clock."""

import os
import time

import pytest
from confluent_kafka import KafkaError

from driftgauge.kafka import client
from driftgauge.kafka.topics import CHANGELOG_SETTINGS
from tests.harness.topics import TIMEOUT_S

pytestmark = pytest.mark.broker

# The size of a changelog record, and the number of keys written in turn.
VALUE_BYTES = 3_000
KEYS = 50


def test_compaction_keeps_rewritten_state_small_and_complete(internal):
    internal.prepare()
    producer = internal.producer()
    written, newest = 0, {}
    for number in range(4_000):
        if number % 20 == 0:
            producer.begin_transaction()
        key = b"pane-%d" % (number % KEYS)
        newest[key] = b"%d" % number + os.urandom(VALUE_BYTES)
        written += len(newest[key])
        producer.produce(internal.changelog, newest[key], key, partition=0)
        if number % 20 == 19:
            producer.commit_transaction(TIMEOUT_S)
    records = []

    def is_small():
        # The last record of each key, and the active segment at most.
        records[:] = internal.pairs(internal.changelog)
        return sum(len(value) for _, value in records) < (1024 * 1024 + KEYS * VALUE_BYTES)

    internal.await_that(is_small, "a small changelog")
    assert written > 12_000_000
    assert dict(records) == newest


def test_active_segment_with_few_writes_is_compacted(internal):
    """Compaction skips the active segment, and this one never fills."""
    lag_ms = 500
    settings = {**CHANGELOG_SETTINGS, "max.compaction.lag.ms": str(lag_ms)}
    internal.create(internal.changelog, 1, **settings)
    producer = client.producer(internal.properties)
    for number in range(100):
        producer.produce(internal.changelog, b"%d" % number, b"key", partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    assert len(internal.pairs(internal.changelog)) == 100

    def is_compacted():
        producer.produce(internal.changelog, b"newest", b"key", partition=0)
        assert producer.flush(TIMEOUT_S) == 0
        return b"99" not in dict(map(reversed, internal.pairs(internal.changelog)))

    internal.await_that(is_compacted, "the compaction")


def test_changelog_accepts_records_stamped_in_the_future(internal):
    internal.prepare()
    refusals = {}
    producer = client.producer(internal.properties)
    for topic in (internal.events, internal.changelog):
        ahead_ms = int(time.time() * 1_000) + 2 * 3_600_000
        producer.produce(
            topic,
            b"value",
            b"key",
            timestamp=ahead_ms,
            on_delivery=lambda error, message: refusals.update({message.topic(): error and error.code()}),
        )
    assert producer.flush(TIMEOUT_S) == 0
    assert refusals == {internal.events: KafkaError.INVALID_TIMESTAMP, internal.changelog: None}
