import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftgauge.kafka import client
from driftgauge.kafka.embedded import EmbeddedBroker
from driftgauge.kafka.ends import EndOffsets
from tests.kafka.parts import TOPIC, SlowAdmin

FIRST, SECOND = (TOPIC, 0), (TOPIC, 1)


class Answer:
    def __init__(self, offset):
        self.offset = offset


@pytest.fixture
def admin():
    return SlowAdmin()


@pytest.fixture
def ends(admin):
    return EndOffsets(admin)


def answer(admin, request, partition, offset):
    admin.asked[request][TopicPartition(*partition)].set_result(Answer(offset))


def test_the_answers_come_together_and_once_under_the_partitions_codes(admin, ends):
    ends.request({7: FIRST, 3: SECOND})
    assert ends.collect() is None
    answer(admin, 0, SECOND, 42)
    assert ends.collect() is None, "one answer is still to come"
    answer(admin, 0, FIRST, 0)
    assert ends.collect() == {7: 0, 3: 42}
    assert ends.collect() == {}
    assert len(admin.asked) == 1


def test_nothing_is_asked_for_where_nothing_is_silent(admin, ends):
    ends.request({})
    assert admin.asked == []


def test_a_failed_answer_is_logged_and_asked_for_again(admin, ends, caplog):
    ends.request({0: FIRST})
    error = KafkaException(KafkaError(KafkaError._TIMED_OUT))
    admin.asked[0][TopicPartition(*FIRST)].set_exception(error)
    assert ends.collect() == {}
    assert [record.getMessage() for record in caplog.records] == ["end offset unknown"]
    ends.request({0: FIRST})
    answer(admin, 1, FIRST, 9)
    assert ends.collect() == {0: 9}


def test_a_broker_is_asked_in_the_background_and_answers_with_the_end_of_the_log():
    with EmbeddedBroker([TOPIC]) as broker:
        producer = client.producer({"bootstrap.servers": broker.bootstrap})
        for _ in range(3):
            producer.produce(TOPIC, b"x", partition=2)
        assert producer.flush(10) == 0
        ends = EndOffsets(client.admin({"bootstrap.servers": broker.bootstrap}))
        ends.request({5: (TOPIC, 2)})
        answers = {}
        for _ in range(100):
            answers |= ends.collect() or {}
            if answers:
                break
            producer.poll(0.1)

    assert answers == {5: 3}
