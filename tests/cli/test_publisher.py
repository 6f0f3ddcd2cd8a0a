"""Tests of `driftgauge.cli.publish`."""

from dataclasses import dataclass, field
from threading import Event
from time import monotonic

import numpy as np
import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from driftgauge.cli.publish import Publication, publish
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import ServiceError
from driftgauge.events.baseline_contract import BaselineContract
from tests.builders.clocks import DAY_MS
from tests.builders.clocks import MONDAY_MS as START_MS
from tests.builders.events import decode

CONTRACT = BaselineContract("images", "first", 4, "v7", DistanceMetric.EUCLIDEAN)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
MATRICES = arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(4)), elements=FLOATS)


@dataclass
class RecordingProducer:
    """Records sent events, and fails as configured.

    Attributes:
        full: The number of calls of `produce` that find the queue full.
        unsent: The number of unsent records that `flush` returns.
        refusal: The error of each delivery report.
        fault: The exception that `produce` raises.
        sent: The topic and value of each produced record.
        polled_s: The timeout of each call of `poll`.
        undelivered: The callbacks of the records that `flush` reports.
    """

    full: int = 0
    unsent: int = 0
    refusal: KafkaError | None = None
    fault: KafkaException | None = None
    sent: list = field(default_factory=list)
    polled_s: list = field(default_factory=list)
    undelivered: list = field(default_factory=list)

    def produce(self, topic, value, key, partition, on_delivery):
        if self.fault is not None:
            raise self.fault
        if self.full:
            self.full -= 1
            raise BufferError
        self.sent.append((topic, value))
        self.undelivered.append(on_delivery)

    def poll(self, timeout_s):
        self.polled_s.append(timeout_s)

    def flush(self, timeout_s):
        while self.undelivered:
            self.undelivered.pop()(self.refusal, None)
        return self.unsent


def spread(vectors=None, **changes):
    vectors = np.arange(40, dtype=np.float32).reshape(10, 4) if vectors is None else vectors
    fields = {"start_ms": START_MS, "span_ms": DAY_MS, "disorder_ms": 0, "seed": 0, "model_version": "v7"}
    return Publication.spread(topic="events", stream="images", vectors=vectors, **{**fields, **changes})


@given(st.integers(1, 200), st.integers(0, 10_000), st.integers(0, 2**32))
def test_spread_delays_events_by_disorder_at_most(number, disorder_ms, seed):
    vectors = np.arange(number, dtype=np.float32)[:, None]
    publication = spread(vectors, span_ms=20_000, disorder_ms=disorder_ms, seed=seed)
    behind_ms = np.maximum.accumulate(publication.times_ms) - publication.times_ms
    assert behind_ms.max() <= disorder_ms
    in_order = spread(vectors, span_ms=20_000)
    assert (in_order.times_ms[0], in_order.times_ms.dtype) == (START_MS, np.int64)
    assert (np.diff(in_order.times_ms, append=START_MS + 20_000) > 0).all()
    place = publication.vectors[:, 0].astype(int)
    assert sorted(place) == list(range(number)), "every vector is sent once"
    assert (publication.times_ms == in_order.times_ms[place]).all(), "and keeps its time"


@given(MATRICES)
def test_numbers_and_base64_encode_same_vectors_bit_by_bit(vectors):
    for as_base64 in (False, True):
        publication = spread(vectors, as_base64=as_base64)
        decoded = decode(*map(publication.event, range(len(vectors))), contracts=[CONTRACT])
        assert decoded.rejections == ()
        (batch,) = decoded.batches
        assert batch.vectors.tobytes() == vectors.tobytes()
        assert batch.time_ms.tolist() == publication.times_ms.tolist()


def test_event_holds_stream_and_model_version_if_given():
    with_version, without = (orjson.loads(spread(model_version=version).event(0)) for version in ("v7", None))
    assert with_version == {**without, "model_version": "v7"}
    assert without == {"stream": "images", "timestamp": START_MS, "embedding": [0.0, 1.0, 2.0, 3.0]}


def test_publish_sends_events_in_order_without_a_wait():
    producer, publication = RecordingProducer(full=1), spread()
    publish(producer, publication, rate=None)
    assert set(producer.polled_s) == {0}
    assert producer.sent == [("events", publication.event(row)) for row in range(10)]


def test_publish_keeps_rate_when_poll_returns_early(monkeypatch):
    producer = RecordingProducer()
    # As at a delivery report.
    monkeypatch.setattr(producer, "poll", lambda timeout_s: Event().wait(timeout_s / 2))
    started_s = monotonic()
    publish(producer, spread(), rate=20.0)
    # The tenth event is due after 0.45 s, and may be sent a slice of 0.05 s early.
    assert monotonic() - started_s > 0.39


@pytest.mark.parametrize(
    ("producer", "problem"),
    [
        (
            RecordingProducer(full=1_000, unsent=3),
            r"topic events did not take every record within 30 s; check",
        ),
        (
            RecordingProducer(refusal=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)),
            r"not take every record \(.*authorization failed\); grant Write on events",
        ),
        (
            RecordingProducer(fault=KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))),
            r"(?i)size too large",
        ),
    ],
    ids=["a failed flush", "a failed delivery", "an event refused by the client"],
)
def test_failure_raises_error_with_reason(producer, problem):
    with pytest.raises(ServiceError, match=problem):
        publish(producer, spread(), rate=None)


@pytest.mark.parametrize(("rate", "done"), [(None, [0, 1_000, 2_000]), (1e9, list(range(2_500)))])
def test_progress_counts_sent_events(rate, done):
    reports = []
    publish(RecordingProducer(), spread(np.ones((2_500, 1), np.float32)), rate=rate, track=reports.append)
    assert [work.done for work in reports] == done
    assert {(work.noun, work.total) for work in reports} == {("events sent", 2_500)}
