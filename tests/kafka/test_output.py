import os

import orjson
import pytest
from confluent_kafka import KafkaError

from driftgauge.core.state import BaselineKey, Change, FinalKey, Progress, ProgressKey
from driftgauge.core.windows.window import Window
from driftgauge.errors import StateError, TransactionAborted
from driftgauge.events.rejection import Reason, Rejection
from driftgauge.events.state import decode
from driftgauge.kafka.output import Output
from tests.kafka.cluster import Cluster
from tests.kafka.parts import LETTERS, SPEC, STATE, TOPIC, WINDOWS, Record, RecordingTransaction
from tests.results import build_result

REJECTION = Rejection(0, Reason.WRONG_DIMENSION, "embedding: 3 numbers, not 4", "images")
OWN = {
    "driftgauge.reason": b"wrong_dimension",
    "driftgauge.detail": b"embedding: 3 numbers, not 4",
    "driftgauge.topic": b"embeddings",
    "driftgauge.partition": b"3",
    "driftgauge.offset": b"41",
}


def build_output(transaction, *, max_letter_bytes=100_000, letters=LETTERS):
    return Output(
        transaction,
        windows_topic=WINDOWS,
        dead_letters_topic=letters,
        state_topics={TOPIC: STATE},
        max_letter_bytes=max_letter_bytes,
    )


@pytest.fixture
def transaction():
    return RecordingTransaction()


@pytest.fixture
def output(transaction):
    return build_output(transaction)


def result(revision=0):
    return build_result(
        Window(86_400_000, 1_762_128_000_000),
        SPEC.reference.counts,
        baseline_id=SPEC.reference.baseline_id,
        revision=revision,
    )


def rejected(**parts):
    return Record(**{"topic": "embeddings", "partition": 3, "offset": 41, **parts})


def letters(transaction):
    return [sent for sent in transaction.open if sent.topic == LETTERS]


def test_a_result_goes_to_its_topic_under_the_key_of_its_window(output, transaction):
    output.publish(result())
    output.publish(result(revision=1))
    first, second = transaction.open
    assert first.topic == second.topic == WINDOWS
    assert first.key == second.key == b"images/1d/2025-11-03T00:00:00Z"
    assert [orjson.loads(sent.value)["revision"] for sent in (first, second)] == [0, 1]


def test_a_change_goes_to_the_partition_of_the_state_that_it_is_of(output, transaction):
    progress = Progress(7, {})
    output.keep(Change((TOPIC, 3), ProgressKey(), progress))
    output.keep(Change((TOPIC, 5), FinalKey("images"), None))
    kept, forgotten = transaction.open
    assert (kept.topic, kept.partition) == (STATE, 3)
    assert decode(kept.key, kept.value) == (ProgressKey(), progress)
    assert (forgotten.topic, forgotten.partition, forgotten.value) == (STATE, 5, None)
    assert decode(forgotten.key, None) == (FinalKey("images"), None)


@pytest.mark.parametrize("key", [None, b"", b"\x00\xff key"])
@pytest.mark.parametrize("value", [None, b"", b"\xff not json \x00"])
def test_a_dead_letter_keeps_its_key_and_its_bytes(output, transaction, key, value):
    output.dead_letter(rejected(key=key, value=value), REJECTION)
    (sent,) = transaction.open
    assert (sent.topic, sent.key, sent.value) == (LETTERS, key, value)


def test_a_dead_letter_says_why_and_where_it_was_read(output, transaction):
    output.dead_letter(rejected(), REJECTION)
    (sent,) = transaction.open
    assert dict(sent.headers) == OWN


def test_a_dead_letter_keeps_the_headers_it_had_before_its_own(output, transaction):
    had = [("trace", b"a"), ("trace", b"b"), ("none", None)]
    output.dead_letter(rejected(headers=had), REJECTION)
    (sent,) = transaction.open
    assert sent.headers[:3] == had
    assert dict(sent.headers[3:]) == OWN


def test_headers_that_the_client_cannot_read_are_left_out_and_it_says_so(output, transaction):
    class Unreadable(Record):
        def headers(self):
            raise SystemError

    output.dead_letter(Unreadable(b"v", topic="embeddings", partition=3, offset=41), REJECTION)
    (sent,) = transaction.open
    omitted = b"the headers, for a name among them is not UTF-8"
    assert dict(sent.headers) == {**OWN, "driftgauge.omitted": omitted}
    assert sent.value == b"v"


def test_a_dead_letter_that_is_rejected_again_shows_the_newest_reason_last(output, transaction):
    output.dead_letter(rejected(), REJECTION)
    again = Rejection(0, Reason.LATE, "all its windows are past correction", "images")
    output.dead_letter(rejected(topic="letters", headers=transaction.open[0].headers), again)
    headers = transaction.open[1].headers
    assert [value for name, value in headers if name == "driftgauge.reason"] == [b"wrong_dimension", b"late"]
    assert dict(headers)["driftgauge.topic"] == b"letters"


def test_a_detail_that_utf_8_cannot_carry_is_sent_all_the_same(output, transaction):
    output.dead_letter(rejected(), Rejection(0, Reason.INVALID, "stream: \ud800", None))
    assert dict(transaction.open[0].headers)["driftgauge.detail"] == b"stream: ?"


CUT = {**OWN, "driftgauge.omitted": b"2020 bytes of key, value and headers"}


def large():
    return rejected(key=b"k" * 10, value=b"v" * 2_000, headers=[("trace", b"a" * 5)])


def assert_cut(sent, caplog):
    assert (sent.key, sent.value, dict(sent.headers)) == (None, None, CUT)
    (line,) = caplog.records
    assert line.getMessage().startswith("dead letter cut")


def test_a_dead_letter_that_its_topic_would_not_take_is_cut_to_its_headers_and_says_so(transaction, caplog):
    build_output(transaction, max_letter_bytes=4_000).dead_letter(large(), REJECTION)
    (sent,) = transaction.open
    assert_cut(sent, caplog)


def test_a_dead_letter_that_the_client_does_not_take_is_cut(output, transaction, caplog):
    transaction.limit = 1_000
    output.dead_letter(large(), REJECTION)
    (sent,) = transaction.open
    assert_cut(sent, caplog)


@pytest.mark.parametrize("value", [b"v" * 2_000, None])
def test_a_dead_letter_that_the_broker_refused_is_cut_when_it_is_written_again(output, transaction, value):
    letter = rejected(key=b"k" * 3_000, value=value)
    output.dead_letter(letter, REJECTION)
    transaction.report(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    output.dead_letter(letter, REJECTION)
    output.dead_letter(rejected(value=b"small"), REJECTION)
    whole, cut, small = transaction.open
    assert (whole.value, cut.value) == (value, None)
    assert "driftgauge.omitted" in dict(cut.headers)
    # The limit is half of what was refused, and a record has its frame: a guess that is safe.
    assert (small.value == b"small") == (value is not None)


def test_a_dead_letter_that_was_refused_for_another_reason_is_written_again_whole(output, transaction):
    for code in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._MSG_TIMED_OUT):
        output.dead_letter(large(), REJECTION)
        transaction.report(KafkaError(code))
    output.dead_letter(large(), REJECTION)
    assert {sent.value for sent in transaction.open} == {b"v" * 2_000}


@pytest.mark.integration
def test_a_topic_that_takes_less_than_was_known_gets_the_letter_cut_at_last(bootstrap):
    with Cluster(bootstrap, partitions=1) as cluster, cluster.member() as member:
        small = f"{cluster.letters}-small"
        cluster.create(small, 1, max_message_bytes="3000")
        transaction = cluster.transaction()
        output = build_output(transaction, letters=small)
        letter = rejected(key=b"k", value=os.urandom(20_000))
        aborted = 0
        for _ in range(10):
            output.dead_letter(letter, REJECTION)
            try:
                transaction.commit(cluster.at({0: 42}), member, 10.0)
                break
            except TransactionAborted:
                aborted += 1
        # Once for the letter; the client may then refuse the next one for its sequence numbers.
        assert aborted in (1, 2)
        assert cluster.read(small) == [(None, None)]
        assert cluster.committed() == {0: 42}


@pytest.mark.integration
def test_state_and_results_that_are_too_large_end_the_run_rather_than_go_missing(bootstrap):
    with Cluster(bootstrap, partitions=1) as cluster:
        output = build_output(cluster.transaction(**{"message.max.bytes": 1_000}))
        part = Change((TOPIC, 0), BaselineKey("0123456789abcdef", 0, 1), b"b" * 2_000)
        with pytest.raises(
            StateError, match=rf"2,001 bytes for topic {STATE} is too large.*message.max.bytes"
        ):
            output.keep(part)
