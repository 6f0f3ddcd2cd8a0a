import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException

from driftgauge.core.result import Window, WindowResult, score
from driftgauge.errors import BrokerError
from driftgauge.events.rejection import Reason, Rejection
from driftgauge.kafka import client
from driftgauge.kafka.embedded import EmbeddedBroker
from driftgauge.kafka.output import Output
from tests.kafka.parts import SPEC, Record, RecordingProducer

REJECTION = Rejection(0, Reason.WRONG_DIMENSION, "embedding: 3 numbers, not 4", "images")
OWN = {
    "driftgauge.reason": b"wrong_dimension",
    "driftgauge.detail": b"embedding: 3 numbers, not 4",
    "driftgauge.topic": b"embeddings",
    "driftgauge.partition": b"3",
    "driftgauge.offset": b"41",
}


@pytest.fixture
def producer():
    return RecordingProducer()


@pytest.fixture
def output(producer):
    return Output(producer, windows_topic="windows", dead_letters_topic="letters")


def result(revision=0):
    counts = SPEC.baseline_counts
    window = Window(86_400_000, 1_762_128_000_000)
    return WindowResult("images", window, revision, counts, counts, "sha256:abc", score(counts, counts))


def rejected(**parts):
    return Record(**{"topic": "embeddings", "partition": 3, "offset": 41, **parts})


def test_a_result_goes_to_its_topic_under_the_key_of_its_window(output, producer):
    output.publish(result())
    output.publish(result(revision=1))
    (first, second) = producer.to("windows")
    assert first[0] == second[0] == b"images/1d/2025-11-03T00:00:00Z"
    assert [orjson.loads(value)["revision"] for _, value, _ in (first, second)] == [0, 1]
    assert producer.to("letters") == []


@pytest.mark.parametrize("key", [None, b"", b"\x00\xff key"])
@pytest.mark.parametrize("value", [None, b"", b"\xff not json \x00"])
def test_a_dead_letter_keeps_its_key_and_its_bytes(output, producer, key, value):
    output.dead_letter(rejected(key=key, value=value), REJECTION)
    ((sent_key, sent_value, _),) = producer.to("letters")
    assert (sent_key, sent_value) == (key, value)


def test_a_dead_letter_says_why_and_where_it_was_read(output, producer):
    output.dead_letter(rejected(), REJECTION)
    ((_, _, headers),) = producer.to("letters")
    assert dict(headers) == OWN


def test_a_dead_letter_keeps_the_headers_it_had_before_its_own(output, producer):
    had = [("trace", b"a"), ("trace", b"b"), ("none", None)]
    output.dead_letter(rejected(headers=had), REJECTION)
    ((_, _, headers),) = producer.to("letters")
    assert headers[:3] == had
    assert dict(headers[3:]) == OWN


def test_a_dead_letter_that_is_rejected_again_shows_the_newest_reason_last(output, producer):
    output.dead_letter(rejected(), REJECTION)
    ((_, _, headers),) = producer.to("letters")
    again = Rejection(0, Reason.LATE, "all its windows are past correction", "images")
    output.dead_letter(rejected(topic="letters", headers=headers), again)
    (_, (_, _, headers)) = producer.to("letters")
    assert [value for name, value in headers if name == "driftgauge.reason"] == [b"wrong_dimension", b"late"]
    assert dict(headers)["driftgauge.topic"] == b"letters"


def test_a_detail_that_utf_8_cannot_carry_is_sent_all_the_same(output, producer):
    output.dead_letter(rejected(), Rejection(0, Reason.INVALID, "stream: \ud800", None))
    ((_, _, headers),) = producer.to("letters")
    assert dict(headers)["driftgauge.detail"] == b"stream: ?"


def test_a_full_queue_is_waited_on_and_the_record_sent_once(output, producer):
    producer.full = 3
    output.publish(result())
    assert len(producer.to("windows")) == 1
    assert producer.polled_s == [1.0, 1.0, 1.0, 0]


def test_a_queue_that_stays_full_is_a_broker_error(output, producer):
    producer.full = 1_000
    with pytest.raises(BrokerError, match=r"queue has been full for 60 s; check the brokers"):
        output.publish(result())
    assert sum(producer.polled_s) == 60


def test_a_record_that_the_client_does_not_take_is_a_broker_error_that_names_the_topic(output, producer):
    producer.fault = KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
    with pytest.raises(BrokerError, match="topic letters does not take a record"):
        output.dead_letter(rejected(), REJECTION)
    with pytest.raises(BrokerError, match="topic windows does not take a record"):
        output.publish(result())


def test_a_result_is_never_cut(output, producer):
    producer.fault = KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    with pytest.raises(BrokerError, match="topic windows does not take a record"):
        output.publish(result())
    producer.fault = None
    producer.limit = 10
    output.publish(result())
    with pytest.raises(BrokerError, match="was refused"):
        output.flush(1.0)


def test_dead_letters_that_are_too_large_together_only_are_sent_one_by_one(output, producer):
    values = [bytes([number]) * 400 for number in range(5)]
    producer.limit = 1_000
    for value in values:
        output.dead_letter(rejected(value=value), REJECTION)
    assert output.flush(1.0)
    again = [value for _, value, _ in producer.to("letters")[len(values) :]]
    assert sorted(again) == values, "each once more, and whole"


def test_a_dead_letter_that_is_too_large_by_itself_is_cut_to_its_headers_and_says_so(
    output, producer, caplog
):
    producer.limit = 1_000
    output.dead_letter(rejected(key=b"k" * 10, value=b"v" * 2_000, headers=[("trace", b"a" * 5)]), REJECTION)
    assert output.flush(1.0)
    (_, _, (key, value, headers)) = producer.to("letters")
    assert (key, value) == (None, None)
    assert dict(headers) == {**OWN, "driftgauge.omitted": b"2020 bytes of key, value and headers"}
    (line,) = caplog.records
    assert line.getMessage().startswith("dead letter cut")


def test_a_dead_letter_that_the_client_finds_too_large_is_cut_at_the_flush(output, producer):
    producer.fault = KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    output.dead_letter(rejected(value=b"v"), REJECTION)
    assert producer.sent == []
    producer.fault = None
    assert output.flush(1.0)
    ((_, value, headers),) = producer.to("letters")
    assert value is None
    assert dict(headers)["driftgauge.offset"] == b"41"


def test_a_dead_letter_that_is_refused_even_when_cut_is_a_broker_error(output, producer):
    producer.limit = 10
    output.dead_letter(rejected(value=b"v" * 2_000), REJECTION)
    with pytest.raises(BrokerError, match="was refused"):
        output.flush(1.0)
    assert len(producer.sent) == 3, "in a batch, alone, cut"


def test_a_flush_that_runs_out_of_time_leaves_what_is_too_large_to_the_next(output, producer):
    producer.limit = 1_000
    producer.unsent = 1
    output.dead_letter(rejected(value=b"v" * 2_000), REJECTION)
    assert not output.flush(1.0)
    assert len(producer.sent) == 1
    producer.unsent = 0
    assert output.flush(1.0)
    assert len(producer.sent) == 3


def test_a_flush_tells_whether_everything_is_kept(output, producer):
    output.publish(result())
    producer.unsent = 1
    assert not output.flush(1.0)
    producer.unsent = 0
    assert output.flush(1.0)


def test_a_record_refused_on_delivery_is_a_broker_error_at_the_flush(output, producer):
    producer.refusal = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    output.publish(result())
    with pytest.raises(BrokerError, match=r"windows or letters was refused .*; check the topics"):
        output.flush(1.0)


def test_nothing_is_written_and_no_flush_succeeds_once_a_record_was_refused(output, producer):
    producer.refusal = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    output.publish(result())
    with pytest.raises(BrokerError):
        output.flush(1.0)
    producer.refusal = None
    with pytest.raises(BrokerError):
        output.publish(result())
    with pytest.raises(BrokerError):
        output.flush(1.0)
    assert len(producer.sent) == 1


def test_what_was_written_is_on_the_broker_after_the_flush():
    had = [("trace", b"a"), ("none", None)]
    with EmbeddedBroker(["windows", "letters"]) as broker:
        properties = {"bootstrap.servers": broker.bootstrap, "group.id": "g"}
        output = Output(client.producer(properties), windows_topic="windows", dead_letters_topic="letters")
        output.dead_letter(rejected(key=b"k", value=b"\xff", headers=had), REJECTION)
        assert output.flush(10.0)
        reader = client.consumer({**properties, "auto.offset.reset": "earliest"})
        reader.subscribe(["letters"])
        records = []
        for _ in range(100):
            records += [record for record in reader.consume(10, 0.1) if record.error() is None]
            if records:
                break
        reader.close()
    (record,) = records
    assert (record.key(), record.value()) == (b"k", b"\xff")
    assert record.headers()[:2] == had
    assert dict(record.headers()[2:]) == OWN
