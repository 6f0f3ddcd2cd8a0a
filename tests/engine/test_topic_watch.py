"""The watch of the events topics, and the administration client that it shares."""

from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from weakref import ref

import pytest
from confluent_kafka import KafkaError, KafkaException, Uuid
from deploy.demo.broker import EmbeddedBroker

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.engine.count import topic_watch
from driftgauge.engine.count.topic_watch import EventsTopic, TopicWatch
from driftgauge.kafka import client
from driftgauge.kafka.shared_admin import SharedAdmin
from tests.builders.clocks import ManualClock

FIRST_ID, SECOND_ID = Uuid(1, 1), Uuid(1, 2)


class FakeAdmin:
    """A fake of both the admin client and its `SharedAdmin`, which describes topics when a test says so."""

    def __init__(self):
        self.client = self
        self.sent = []

    def renew(self):
        pass

    def list_topics(self, timeout):
        return SimpleNamespace(controller_id=1, brokers={1: None})

    def describe_topics(self, topics, request_timeout):
        self.sent.append({name: Future() for name in ("embeddings", "other")})
        return self.sent[-1]

    def answer(self, watch, topic_id=FIRST_ID, partitions=4):
        """Answer the last query: for one topic alone, or for none where it has no partitions."""
        embeddings, other = self.sent[-1].values()
        error = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        if partitions:
            embeddings.set_result(SimpleNamespace(topic_id=topic_id, partitions=range(partitions)))
        else:
            embeddings.set_exception(error)
        watch.poll()
        other.set_exception(error)
        watch.poll()


@pytest.fixture
def admin():
    return FakeAdmin()


@pytest.fixture
def watch(admin, clock):
    return TopicWatch(admin, ["embeddings", "other"], clock.clock)


def test_watch_queries_at_once_and_then_every_ten_seconds(watch, admin, clock):
    watch.poll()
    assert (len(admin.sent), watch.known) == (1, {})
    admin.answer(watch)
    known = dict(watch.known)
    assert known["embeddings"].partitions == 4
    clock.advance(9.9)
    watch.poll()
    assert len(admin.sent) == 1
    clock.advance(0.1)
    watch.poll()
    watch.poll()
    assert len(admin.sent) == 2, "one query is pending"
    admin.answer(watch, partitions=0)
    assert watch.known == known, "a topic without an answer keeps its state"
    clock.advance(10)
    watch.poll()
    admin.answer(watch, partitions=7)
    assert watch.known["embeddings"] == EventsTopic(known["embeddings"].id, 7)


def test_only_answer_to_a_later_query_counts_as_known_since(watch, admin, clock):
    watch.poll()
    clock.advance(1)
    assigned_s = clock.monotonic_s
    admin.answer(watch)
    first = watch.known["embeddings"].id
    assert not watch.is_known_since("embeddings", assigned_s)
    assert len(admin.sent) == 2, "the watch queries at once"
    admin.answer(watch, SECOND_ID)
    assert watch.is_known_since("embeddings", assigned_s)
    assert watch.known["embeddings"].id != first


def test_missing_topic_is_queried_twice_per_second(watch, admin, clock):
    admin.answer(watch)
    assigned_s = clock.monotonic_s
    for _ in range(10):
        clock.advance(0.1)
        sent = len(admin.sent)
        assert not watch.is_known_since("other", assigned_s)
        if len(admin.sent) > sent:
            admin.answer(watch)
    assert len(admin.sent) == 3
    assert watch.missing == {"other"}
    assert watch.is_known_since("embeddings", assigned_s), "another topic does not wait for the missing one"


def test_topic_without_an_id_has_an_empty_one():
    assert topic_watch._uuid_hex(Uuid(0, 0)) == topic_watch._uuid_hex(None) == ""
    with EmbeddedBroker(["events"]) as broker:
        make = partial(client.admin, {"bootstrap.servers": broker.bootstrap})
        watch = TopicWatch(SharedAdmin(make, SYSTEM_CLOCK), ["events", "nowhere"], SYSTEM_CLOCK)
        watch.poll()
        assert watch.known == {"events": EventsTopic("", 4)}


def test_renew_replaces_client_at_most_every_five_seconds():
    clock, made = ManualClock(), iter("abc")
    admin = SharedAdmin(lambda: next(made), clock.clock)
    assert admin.client == "a"
    admin.renew()
    assert admin.client == "a"
    clock.advance(5)
    admin.renew()
    admin.renew()
    assert admin.client == "b"
    clock.advance(5)
    admin.renew()
    assert admin.client == "c"


def test_replaced_client_is_kept_for_open_requests():
    class Client:
        pass

    clock = ManualClock()
    admin = SharedAdmin(Client, clock.clock)
    first = ref(admin.client)
    for _ in range(2):
        clock.advance(5)
        admin.renew()
        assert first() is not None
    clock.advance(5)
    admin.renew()
    assert first() is None
