"""Rejected events: counted by reason, kept in the dead-letter topic, without effect on others."""

from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pytest
from confluent_kafka import Message

from tests.integration.case import DAY_MS, DIMENSION, HOUR_MS, START_MS, Case, SourceEvent, make_events
from tests.integration.service import ReplicaProcess

pytestmark = pytest.mark.broker

KEY = b"key \xff"
VECTOR = [0.5] * DIMENSION


def document(**changes: object) -> bytes:
    event = {"stream": "alpha", "timestamp": START_MS + DAY_MS, "embedding": VECTOR, **changes}
    return orjson.dumps(event)


BAD: dict[str, list[bytes | None]] = {
    "undecodable": [
        b"not json",
        None,  # a tombstone
        b"\xff\xfe",
        document().replace(b"0.5", b"NaN", 1),
        np.random.default_rng(8).bytes(900_000),
    ],
    "invalid": [document(timestamp="yesterday"), document(embedding=[[1, 2], [3, 4]])],
    "unknown_stream": [document(stream="gamma")],
    "wrong_model": [document(model_version="v2")],
    "wrong_dimension": [document(embedding=[1.0])],
    "non_finite": [document(embedding=[1e39, 0, 0, 0])],
    "future": [document(timestamp=4_102_444_800_000)],
}
STREAM_OF = {"undecodable": "", "unknown_stream": ""}


def headers(letter: Message) -> dict[str, str]:
    return {name: bytes(value or b"").decode(errors="replace") for name, value in letter.headers() or []}


def source(letter: Message) -> tuple[int, int]:
    names = headers(letter)
    return int(names["driftgauge.partition"]), int(names["driftgauge.offset"])


def rejected(service: ReplicaProcess) -> int:
    scrape = service.scrape()
    return sum(number for outcome, number in scrape.outcomes().items() if outcome in BAD)


def test_rejected_events_are_counted_by_reason_and_kept(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=2,
        model_version="v1",
        stream_settings={"allowed_disorder": "1h", "allowed_lateness": "1h", "idle_timeout": "1h"},
    )
    # The bad events are among the second part.
    first, second = (
        make_events("alpha", 600, start_ms=START_MS + day * DAY_MS, span_ms=6 * HOUR_MS, seed=day)
        for day in (0, 1)
    )
    bad = [(reason, value) for reason, values in BAD.items() for value in values]
    sent: dict[tuple[int, int], tuple[str, bytes | None]] = {}
    with case.serve() as service:
        case.publish(first)
        service.wait_for("the first part to be counted", lambda: service.counted() == 600)
        service.wait_for("windows to be closed", lambda: len(case.final_counts()) >= 3)
        send_interleaved(case, second, bad, sent)
        read = 1_212 + case.close_windows()
        service.wait_for("all events to be read", lambda: service.counted() + rejected(service) >= read)

        case.wait_for_counts(service, case.counts_of(first + second))
        scrape = service.scrape()
        for reason, values in BAD.items():
            stream = STREAM_OF.get(reason, "alpha")
            number = scrape.value("driftgauge_events_total", stream=stream, outcome=reason)
            assert number == len(values), reason
        assert_kept(case, sent)
        service.kill()

    with case.serve() as service:
        service.wait_until_ready()
        case.publish(make_events("alpha", 10, start_ms=START_MS + 2 * DAY_MS, span_ms=HOUR_MS, seed=9))
        service.wait_for("new events to be counted", lambda: service.counted() == 10)
        assert rejected(service) == 0
        service.stop()
    assert_kept(case, sent)


def send_interleaved(
    case: Case,
    good: list[SourceEvent],
    bad: list[tuple[str, bytes | None]],
    sent: dict[tuple[int, int], tuple[str, bytes | None]],
) -> None:
    """Send one bad event after every tenth good one; record partition and offset of each bad one."""
    producer = case.producer()
    remaining = list(bad)
    for number, event in enumerate(good):
        producer.produce(case.events_topic, event.value)
        if number % 10 == 0 and remaining:
            reason, value = remaining.pop()

            def delivered(
                error: object, message: Message, reason: str = reason, value: bytes | None = value
            ) -> None:
                assert error is None
                sent[message.partition() or 0, message.offset() or 0] = reason, value

            producer.produce(
                case.events_topic, value, key=KEY, headers={"trace": b"\x00\x01"}, on_delivery=delivered
            )
    assert producer.flush(30) == 0
    assert not remaining


def assert_kept(case: Case, sent: dict[tuple[int, int], tuple[str, bytes | None]]) -> None:
    """Check that each bad event is in the dead-letter topic exactly once, unchanged."""
    letters = case.dead_letters()
    assert Counter(map(source, letters)) == Counter(sent.keys())
    for letter in letters:
        reason, value = sent[source(letter)]
        names = headers(letter)
        assert names["driftgauge.reason"] == reason
        assert names["driftgauge.topic"] == case.events_topic
        assert names["driftgauge.detail"]
        assert names["trace"] == "\x00\x01"
        assert letter.key() == KEY
        assert letter.value() == value


@pytest.mark.parametrize(
    ("size", "dead_letters_limit"),
    [
        pytest.param(999_900, None, id="its headers exceed the producer's limit"),
        pytest.param(1_800_000, None, id="the event exceeds the producer's limit"),
        pytest.param(300_000, 100_000, id="the event exceeds the topic's limit"),
    ],
)
def test_too_large_dead_letter_omits_content(
    tmp_path: Path, bootstrap: str, size: int, dead_letters_limit: int | None
) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=1,
        topic_config={"max.message.bytes": "2000000"},
        stream_settings={"idle_timeout": "1h"},
    )
    if dead_letters_limit is not None:
        case.create_topic(case.dead_letters_topic, 1, {"max.message.bytes": str(dead_letters_limit)})
    good = make_events("alpha", 50, start_ms=START_MS, span_ms=HOUR_MS, seed=10)
    with case.serve() as service:
        producer = case.producer(**{"message.max.bytes": 2_000_000})
        # Random bytes, because brokers measure the compressed size.
        value = np.random.default_rng(11).bytes(size)
        producer.produce(case.events_topic, value, key=KEY, headers={"trace": b"1"})
        producer.produce(case.events_topic, b"small")
        assert producer.flush(30) == 0
        case.publish_last(good)

        case.wait_for_counts(service, case.counts_of(good))
        service.wait_for("both bad events to be counted", lambda: rejected(service) == 2)
        service.stop()
        (cut,) = service.logged(
            "dead letter cut because it is too large for its topic; its source still holds the record"
        )
        assert "max.message.bytes" in str(cut["remedy"])

    large, small = sorted(case.dead_letters(), key=source)
    assert large.value() is None
    assert large.key() is None
    assert source(large) == (0, 0)
    names = headers(large)
    assert names["driftgauge.reason"] == "undecodable"
    assert int(names["driftgauge.omitted"].split()[0]) == size + len(KEY) + len(b"trace1")
    # The broker may have refused both in one batch.
    assert source(small) == (0, 1)
    assert small.value() == b"small"
    assert headers(small)["driftgauge.reason"] == "undecodable"
