"""Creation of missing topics, and their replication factor."""

import logging
import time
from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from deploy.demo.broker import EmbeddedBroker

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.engine.count.topic_watch import TopicWatch
from driftgauge.errors import AuthorizationError, BrokerError
from driftgauge.kafka import client, topics
from driftgauge.kafka import cluster as metadata
from driftgauge.kafka.cluster import TopicFaults
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.kafka.topics import InternalTopics
from tests.harness.internal_topics import admin_of_several, stale_admin

LONG_S = 120.0


@pytest.fixture
def short_timeouts(monkeypatch):
    monkeypatch.setattr(topics, "_TIMEOUT_S", 0.2)
    for module in (topics, metadata):
        monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 0.5)


@pytest.mark.broker
def test_missing_topics_are_created_with_default_partitions(internal):
    names = [internal.events, internal.partials]
    outdated = stale_admin(internal.admin)
    for admin in (internal.admin, internal.admin, outdated):
        topics.create_missing_topics(admin, names, 1)
        internal.await_that(lambda: metadata.missing_topics(internal.admin, names) == [], "the topics")
    assert internal.count_partitions(internal.partials) == 4, "as the broker is configured"
    assert internal.count_partitions(internal.events) == 3


@pytest.mark.broker
def test_refused_topic_raises_broker_error_with_remedy(internal):
    with pytest.raises(BrokerError, match=r"topic no/topic is missing and cannot be created .*; create it"):
        topics.create_missing_topics(internal.admin, ["no/topic"], 1)
    with pytest.raises(BrokerError, match=r"cannot be created \(.*replication factor"):
        topics.create_missing_topics(internal.admin, [internal.partials], 9)


@pytest.mark.broker
def test_replication_factor_defaults_to_that_of_events(internal, caplog):
    assert topics.replication_factor(internal.admin, [internal.events], None) == 1
    assert topics.replication_factor(internal.admin, [internal.events], 3) == 3
    with pytest.raises(BrokerError, match="topic nowhere is missing; create it"):
        topics.replication_factor(internal.admin, ["nowhere"], None)
    several = admin_of_several(internal.admin, brokers=3)
    assert topics.replication_factor(several, [internal.events], 2) == 2
    assert caplog.records == []
    assert topics.replication_factor(several, [internal.events], None) == 1
    assert [(line.levelno, line.getMessage()) for line in caplog.records] == [
        (logging.WARNING, "topics have one replica: a broker that is away stops what depends on it")
    ]


@pytest.mark.parametrize(("replication", "safe"), [(1, None), (2, None), (3, "2"), (5, "2")])
def test_new_topic_with_three_replicas_needs_two_in_sync(replication, safe):
    new = topics._new_topic("t", 4, replication, {"cleanup.policy": "compact"})
    assert (new.num_partitions, new.replication_factor) == (4, replication)
    assert new.config.get("min.insync.replicas") == safe
    assert new.config["cleanup.policy"] == "compact"


@pytest.mark.broker
def test_message_limit_is_smallest_of_topics(cluster):
    small = f"{cluster.windows}-small"
    cluster.create(small, 1, max_message_bytes="12345")
    assert metadata.message_limit(cluster.admin, [cluster.events, small]) == 12_345
    assert metadata.message_limit(cluster.admin, [cluster.events]) > 1_000_000
    with pytest.raises(BrokerError, match=r"settings of topic no-such-topic are unknown"):
        metadata.message_limit(cluster.admin, [cluster.events, "no-such-topic"])


@pytest.fixture
def embedded():
    """Yield an admin client of librdkafka's embedded broker, which answers few kinds of requests."""
    with EmbeddedBroker(["events", "partials", "changelog"]) as broker:
        yield client.admin({"bootstrap.servers": broker.bootstrap})


def prepare_embedded(admin):
    topics.prepare_internal_topics(
        admin,
        InternalTopics("partials", "changelog", shards=4),
        replication=1,
        clock=SYSTEM_CLOCK,
    )


def test_embedded_broker_topics_are_accepted_without_delay(embedded, monkeypatch):
    # Only a request without an answer takes this long, even on a busy machine.
    for module in (topics, metadata):
        monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", LONG_S)
    began_s = time.monotonic()
    prepare_embedded(embedded)
    assert topics.replication_factor(embedded, ["events"], None) == 1
    assert metadata.count_partitions(embedded, ["events", "nowhere"]) == {"events": 4}
    assert metadata.missing_topics(embedded, ["events", "nowhere"]) == ["nowhere"]
    assert metadata.message_limit(embedded, ["events"]) is None
    assert time.monotonic() - began_s < LONG_S


def test_topic_that_embedded_broker_cannot_create_is_named(embedded, short_timeouts):
    with pytest.raises(BrokerError, match=r"topic nowhere is missing and cannot be created .*; create it$"):
        topics.create_missing_topics(embedded, ["events", "nowhere"], 1)


def test_unreachable_cluster_raises_broker_error_with_remedy(short_timeouts):
    make = partial(client.admin, {"bootstrap.servers": "127.0.0.1:1"})
    admin = make()
    for ask in (
        lambda: metadata.count_partitions(admin, ["events"]),
        lambda: TopicWatch(SharedAdmin(make, SYSTEM_CLOCK), ["events"], SYSTEM_CLOCK),
        lambda: topics.replication_factor(admin, ["events"], None),
        lambda: topics.create_missing_topics(admin, ["events"], 1),
        lambda: prepare_embedded(admin),
    ):
        with pytest.raises(BrokerError, match=r"does not answer .*; check kafka\.bootstrap\.servers"):
            ask()


@pytest.mark.parametrize(
    # The topics that exist, each with whether its one partition has a leader.
    ("there", "hidden", "faults"),
    [
        ({"embeddings": True, "clicks": True, "other": False}, "", TopicFaults()),
        ({"embeddings": True}, "", TopicFaults(missing=("clicks",))),
        ({"embeddings": True}, "topic clicks is hidden", TopicFaults(hidden="topic clicks is hidden")),
        (
            {"embeddings": False, "clicks": True, "driftgauge.g.partials.16": False},
            "",
            TopicFaults(leaderless=(("embeddings", 0), ("driftgauge.g.partials.16", 0))),
        ),
    ],
)
def test_topics_are_missing_hidden_or_without_leader(there, hidden, faults, monkeypatch):
    def require_visible(_, topics):
        if hidden and topics:
            raise AuthorizationError(hidden)

    monkeypatch.setattr(metadata, "require_visible", require_visible)
    settings = Settings.model_validate(
        {
            "kafka": {"bootstrap.servers": "unused", "group.id": "g"},
            "topics": {"events": ["embeddings", "clicks"]},
            "streams": [{"name": "s", "baseline": "unused", "windows": ["1h"]}],
        }
    )
    leaders = {name: SimpleNamespace(leader=1 if has_leader else -1) for name, has_leader in there.items()}
    known = {name: SimpleNamespace(partitions={0: partition}) for name, partition in leaders.items()}
    admin = Mock(**{"list_topics.return_value": SimpleNamespace(topics=known)})
    assert metadata.find_topic_faults(admin, settings) == faults
