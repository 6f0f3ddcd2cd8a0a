"""The watch of the events topics' ids and partitions: when it asks, and since when an answer holds."""

import re
from functools import partial

import pytest
from confluent_kafka import Uuid
from deploy.demo.broker import EmbeddedBroker

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.kafka import client, topic_watch
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.kafka.topic_watch import EventsTopic, TopicQuery, TopicWatch

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
def query(monkeypatch):
    query = FakeTopicQuery()
    monkeypatch.setattr(topic_watch, "TopicQuery", lambda admin, topics: query)
    return query


@pytest.fixture
def watch(query, clock):
    return TopicWatch(None, ["embeddings", "other"], clock.clock)


def answer(query, watch, found=ONE):
    query.answer = found
    watch.poll()


def test_watch_queries_at_once_and_then_every_ten_seconds(watch, query, clock):
    watch.poll()
    assert (query.sent, watch.known) == (1, {})
    answer(query, watch)
    clock.advance(9.9)
    watch.poll()
    assert query.sent == 1
    clock.advance(0.1)
    watch.poll()
    watch.poll()
    assert query.sent == 2, "one query is pending"
    answer(query, watch, {})
    assert watch.known == ONE, "a topic without an answer keeps its state"
    clock.advance(10)
    watch.poll()
    answer(query, watch, {"embeddings": EventsTopic("id-1", 7)})
    assert watch.known["embeddings"].partitions == 7


def test_only_answer_to_a_later_query_counts_as_known_since(watch, query, clock):
    watch.poll()
    clock.advance(1)
    assigned_s = clock.monotonic_s
    answer(query, watch)
    assert watch.known == ONE
    assert not watch.is_known_since("embeddings", assigned_s)
    assert query.sent == 2, "the watch queries at once"
    answer(query, watch, {"embeddings": EventsTopic("id-2", 4)})
    assert watch.is_known_since("embeddings", assigned_s)
    assert watch.known["embeddings"].id == "id-2"


def test_missing_topic_is_queried_twice_per_second(watch, query, clock):
    answer(query, watch)
    assigned_s = clock.monotonic_s
    for _ in range(10):
        clock.advance(0.1)
        assert not watch.is_known_since("other", assigned_s)
        answer(query, watch)
    assert query.sent == 3
    assert watch.missing == {"other"}
    assert watch.is_known_since("embeddings", assigned_s), "another topic does not wait for the missing one"


@pytest.mark.broker
def test_query_returns_partitions_and_an_id_that_a_recreated_topic_does_not_keep(cluster):
    def describe():
        asked.request()
        found = []
        cluster.await_that(
            lambda: (answers := asked.collect()) is not None and not found.append(answers), "the answers"
        )
        return found[0]

    asked = TopicQuery(cluster.shared_admin, [cluster.events, "no"])
    assert asked.collect() == {}, "no query was sent"
    found = describe()
    topic_id = found[cluster.events].id
    assert found == {cluster.events: EventsTopic(topic_id, 2)}
    assert re.fullmatch("[0-9a-f]{32}", topic_id)
    assert asked.collect() == {}, "answers come once"
    cluster.grow(cluster.events, 3)
    assert describe() == {cluster.events: EventsTopic(topic_id, 3)}
    cluster.delete(cluster.events)
    cluster.create(cluster.events, 2)
    assert describe()[cluster.events].id != topic_id


def test_topic_without_an_id_has_an_empty_one():
    assert topic_watch._uuid_hex(Uuid(0, 0)) == topic_watch._uuid_hex(None) == ""
    with EmbeddedBroker(["events"]) as broker:
        make = partial(client.admin, {"bootstrap.servers": broker.bootstrap})
        asked = TopicQuery(SharedAdmin(make, SYSTEM_CLOCK), ["events", "nowhere"])
        asked.request()
        assert asked.collect() == {"events": EventsTopic("", 4)}
