"""The watch of the events topics, and the administration client that it shares."""

from functools import partial
from random import Random
from unittest.mock import Mock
from weakref import ref

from deploy.demo.broker import EmbeddedBroker

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.engine.count.topic_watch import EventsTopic, TopicWatch
from driftgauge.kafka import client
from driftgauge.kafka.shared_admin import SharedAdmin
from tests.builders.clocks import MONDAY_MS, ManualClock
from tests.simulation.kafka import SimulatedAdmin, SimulatedKafka

TOPIC = "embeddings"


def test_watch_queries_every_ten_seconds_and_twice_a_second_for_what_waits():
    kafka = SimulatedKafka(MONDAY_MS, Random(1))
    kafka.create(TOPIC, 4)
    admin, clock = Mock(wraps=SimulatedAdmin(kafka)), kafka.clock()
    watch = TopicWatch(SharedAdmin(lambda: admin, clock), [TOPIC, "other"], clock)

    def poll(tenths):
        for _ in range(tenths):
            watch.poll()
            kafka.advance(0.1)

    poll(100)
    first = watch.known[TOPIC]
    assert (first.partitions, watch.missing, admin.describe_topics.call_count) == (4, {"other"}, 1)
    del kafka.ids[TOPIC]
    poll(100)
    assert (watch.known[TOPIC], watch.missing, admin.describe_topics.call_count) == (
        first,
        {TOPIC, "other"},
        2,
    )
    kafka.create("between", 1)
    kafka.create(TOPIC, 7)
    since_s = kafka.now_s
    assert not watch.is_known_since(TOPIC, since_s)
    for _ in range(10):
        assert not watch.is_known_since("other", since_s)
        poll(1)
    assert watch.is_known_since(TOPIC, since_s), "another topic does not wait for the missing one"
    assert watch.known[TOPIC].id != first.id
    assert admin.describe_topics.call_count == 4


def test_topic_without_an_id_has_an_empty_one():
    with EmbeddedBroker(["events"]) as broker:
        make = partial(client.admin, {"bootstrap.servers": broker.bootstrap})
        watch = TopicWatch(SharedAdmin(make, SYSTEM_CLOCK), ["events", "nowhere"], SYSTEM_CLOCK)
        watch.poll()
        assert watch.known == {"events": EventsTopic("", 4)}


def test_client_is_replaced_every_five_seconds_and_kept_for_open_requests():
    class Client:
        pass

    clock = ManualClock()
    admin = SharedAdmin(Client, clock.clock)
    clients = [ref(admin.client)]
    for _ in range(3):
        admin.renew()
        assert admin.client is clients[-1]()
        clock.advance(5)
        admin.renew()
        assert admin.client is not clients[-1]() is not None
        clients.append(ref(admin.client))
    assert [client() is None for client in clients] == [True, False, False, False]
