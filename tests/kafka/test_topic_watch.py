import re
from functools import partial

import pytest
from confluent_kafka import Uuid
from deploy.demo.embedded_broker import EmbeddedBroker

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.kafka import client, topic_watch
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.kafka.topic_watch import EventsTopic, TopicQuery, TopicWatch
from tests.kafka.cluster import Cluster
from tests.kafka.parts import StandingClock

ONE = {"embeddings": EventsTopic("id-1", 4)}


class Broker:
    """Answers questions about topics when a test lets it."""

    def __init__(self, admin, topics):
        self.asked = 0
        self.answer = None

    def request(self):
        self.asked += 1

    def collect(self):
        answer, self.answer = self.answer, None
        return answer


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture
def broker(monkeypatch):
    broker = Broker(None, [])
    monkeypatch.setattr(topic_watch, "TopicQuery", lambda admin, topics: broker)
    return broker


@pytest.fixture
def watch(broker, clock):
    return TopicWatch(None, ["embeddings", "other"], clock.clock)


@pytest.fixture
def cluster(bootstrap):
    with Cluster(bootstrap) as cluster:
        yield cluster


def await_answers(cluster, asked):
    asked.request()
    found = []
    cluster.await_that(
        lambda: (answers := asked.collect()) is not None and not found.append(answers), "the answers"
    )
    return found[0]


def describe(cluster, *topics):
    return await_answers(cluster, TopicQuery(cluster.shared_admin, topics))


def answer(broker, watch, found=ONE):
    broker.answer = found
    watch.poll()


def test_it_asks_at_once_and_knows_nothing_until_it_is_answered(watch, broker):
    watch.poll()
    assert broker.asked == 1
    assert watch.known == {}
    answer(broker, watch)
    assert watch.known == ONE


def test_it_asks_again_every_ten_seconds(watch, broker, clock):
    answer(broker, watch)
    clock.move(9.9)
    watch.poll()
    assert broker.asked == 1
    clock.move(0.1)
    watch.poll()
    watch.poll()
    assert broker.asked == 2, "one question is open"
    answer(broker, watch, {"embeddings": EventsTopic("id-1", 7)})
    assert watch.known["embeddings"].partitions == 7


def test_a_topic_that_is_not_answered_for_stays_known_as_it_was(watch, broker, clock):
    answer(broker, watch)
    clock.move(10)
    watch.poll()
    answer(broker, watch, {})
    assert watch.known == ONE


def test_what_was_asked_for_before_a_moment_is_not_known_since(watch, broker, clock):
    answer(broker, watch)
    assert watch.is_known_since("embeddings", clock.now_s)
    clock.move(1)
    assigned_s = clock.now_s
    clock.move(0.1)
    assert not watch.is_known_since("embeddings", assigned_s)
    assert broker.asked == 2, "it is asked for at once"
    answer(broker, watch, {"embeddings": EventsTopic("id-2", 4)})
    assert watch.is_known_since("embeddings", assigned_s)
    assert watch.known["embeddings"].id == "id-2"


def test_a_topic_that_does_not_exist_is_asked_for_twice_a_second(watch, broker, clock):
    answer(broker, watch)
    assigned_s = clock.now_s
    for _ in range(10):
        clock.move(0.1)
        assert not watch.is_known_since("other", assigned_s)
        answer(broker, watch)
    assert broker.asked == 3
    assert watch.is_known_since("embeddings", assigned_s), "another topic does not wait for it"


def test_an_answer_to_a_question_from_before_does_not_do(watch, broker, clock):
    clock.move(1)
    assert not watch.is_known_since("embeddings", clock.now_s)
    answer(broker, watch)
    assert watch.known
    assert not watch.is_known_since("embeddings", clock.now_s)


@pytest.mark.broker
def test_topic_is_described_by_its_id_and_partitions(cluster):
    found = describe(cluster, cluster.events, "no")
    topic_id = found[cluster.events].id
    assert found == {cluster.events: EventsTopic(topic_id, 2)}
    assert re.fullmatch("[0-9a-f]{32}", topic_id)
    cluster.grow(cluster.events, 3)
    assert describe(cluster, cluster.events) == {cluster.events: EventsTopic(topic_id, 3)}


@pytest.mark.broker
def test_topic_created_again_has_another_id(cluster):
    topic_id = describe(cluster, cluster.events)[cluster.events].id
    cluster.delete(cluster.events)
    cluster.create(cluster.events, 2)
    other_id = describe(cluster, cluster.events)[cluster.events].id
    assert other_id != topic_id


@pytest.mark.broker
def test_answers_are_collected_once(cluster):
    asked = TopicQuery(cluster.shared_admin, [cluster.events])
    assert asked.collect() == {}, "nothing was asked"
    assert await_answers(cluster, asked).keys() == {cluster.events}
    assert asked.collect() == {}


def test_id_is_the_uuids_digits_and_empty_where_there_is_none():
    assert topic_watch._uuid_hex(Uuid(1, -1)) == "0000000000000001ffffffffffffffff"
    assert topic_watch._uuid_hex(Uuid(0, 0)) == topic_watch._uuid_hex(None) == ""


def test_embedded_brokers_topics_have_no_id():
    with EmbeddedBroker(["events"]) as broker:
        make = partial(client.admin, {"bootstrap.servers": broker.bootstrap})
        asked = TopicQuery(SharedAdmin(make, SYSTEM_CLOCK), ["events", "nowhere"])
        asked.request()
        assert asked.collect() == {"events": EventsTopic("", 4)}
