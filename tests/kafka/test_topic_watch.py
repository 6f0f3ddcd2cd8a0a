"""Tests of `driftgauge.kafka.topic_watch`."""

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
from tests.kafka.sample_stream import ManualClock

ONE = {"embeddings": EventsTopic("id-1", 4)}


class FakeTopicQuery:
    """A topic query that answers when a test makes it."""

    def __init__(self):
        self.sent = 0
        self.answer = None

    def request(self):
        self.sent += 1

    def collect(self):
        answer, self.answer = self.answer, None
        return answer


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def query(monkeypatch):
    query = FakeTopicQuery()
    monkeypatch.setattr(topic_watch, "TopicQuery", lambda admin, topics: query)
    return query


@pytest.fixture
def watch(query, clock):
    return TopicWatch(None, ["embeddings", "other"], clock.clock)


@pytest.fixture
def cluster(bootstrap):
    with Cluster(bootstrap) as cluster:
        yield cluster


def await_answers(cluster, query):
    query.request()
    found = []
    cluster.await_that(
        lambda: (answers := query.collect()) is not None and not found.append(answers), "the answers"
    )
    return found[0]


def describe(cluster, *topics):
    return await_answers(cluster, TopicQuery(cluster.shared_admin, topics))


def answer(query, watch, found=ONE):
    query.answer = found
    watch.poll()


def test_watch_queries_at_once_and_knows_nothing_before_answer(watch, query):
    watch.poll()
    assert query.sent == 1
    assert watch.known == {}
    answer(query, watch)
    assert watch.known == ONE


def test_watch_queries_every_ten_seconds(watch, query, clock):
    answer(query, watch)
    clock.advance(9.9)
    watch.poll()
    assert query.sent == 1
    clock.advance(0.1)
    watch.poll()
    watch.poll()
    assert query.sent == 2, "one query is pending"
    answer(query, watch, {"embeddings": EventsTopic("id-1", 7)})
    assert watch.known["embeddings"].partitions == 7


def test_unanswered_topic_keeps_its_state(watch, query, clock):
    answer(query, watch)
    clock.advance(10)
    watch.poll()
    answer(query, watch, {})
    assert watch.known == ONE


def test_older_query_does_not_count_as_known_since(watch, query, clock):
    answer(query, watch)
    assert watch.is_known_since("embeddings", clock.now_s)
    clock.advance(1)
    assigned_s = clock.now_s
    clock.advance(0.1)
    assert not watch.is_known_since("embeddings", assigned_s)
    assert query.sent == 2, "the watch queries at once"
    answer(query, watch, {"embeddings": EventsTopic("id-2", 4)})
    assert watch.is_known_since("embeddings", assigned_s)
    assert watch.known["embeddings"].id == "id-2"


def test_missing_topic_is_queried_twice_per_second(watch, query, clock):
    answer(query, watch)
    assigned_s = clock.now_s
    for _ in range(10):
        clock.advance(0.1)
        assert not watch.is_known_since("other", assigned_s)
        answer(query, watch)
    assert query.sent == 3
    assert watch.is_known_since("embeddings", assigned_s), "another topic does not wait for the missing one"


def test_answer_to_older_query_does_not_count_as_known_since(watch, query, clock):
    clock.advance(1)
    assert not watch.is_known_since("embeddings", clock.now_s)
    answer(query, watch)
    assert watch.known
    assert not watch.is_known_since("embeddings", clock.now_s)


@pytest.mark.broker
def test_query_returns_id_and_partitions(cluster):
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
def test_collect_returns_answers_once(cluster):
    asked = TopicQuery(cluster.shared_admin, [cluster.events])
    assert asked.collect() == {}, "no query was sent"
    assert await_answers(cluster, asked).keys() == {cluster.events}
    assert asked.collect() == {}


def test_topic_id_is_uuid_digits_or_empty():
    assert topic_watch._uuid_hex(Uuid(1, -1)) == "0000000000000001ffffffffffffffff"
    assert topic_watch._uuid_hex(Uuid(0, 0)) == topic_watch._uuid_hex(None) == ""


def test_embedded_broker_topics_have_no_id():
    with EmbeddedBroker(["events"]) as broker:
        make = partial(client.admin, {"bootstrap.servers": broker.bootstrap})
        asked = TopicQuery(SharedAdmin(make, SYSTEM_CLOCK), ["events", "nowhere"])
        asked.request()
        assert asked.collect() == {"events": EventsTopic("", 4)}
