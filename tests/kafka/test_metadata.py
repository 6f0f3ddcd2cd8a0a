"""Tests of `driftgauge.kafka.metadata`."""

import socket
import time
import uuid
from functools import partial

import pytest

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import BrokerError
from driftgauge.kafka import client, metadata
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.kafka.topic_watch import TopicQuery
from tests.harness.demo import EmbeddedBroker

LONG_S = 120.0


@pytest.fixture
def embedded():
    with EmbeddedBroker(["events"]) as broker:
        yield client.admin({"bootstrap.servers": broker.bootstrap})


@pytest.mark.broker
def test_missing_topics_excludes_existing_ones(cluster):
    new = f"new-{uuid.uuid4().hex}"
    assert metadata.missing_topics(cluster.admin, [new, cluster.events]) == [new]
    assert metadata.missing_topics(cluster.admin, []) == []
    assert metadata.count_partitions(cluster.admin, [new, cluster.events]) == {cluster.events: 2}


def test_embedded_broker_topics_are_found_without_delay(embedded, monkeypatch):
    # Only a request without an answer takes this long, even on a busy machine.
    monkeypatch.setattr(metadata, "REQUEST_TIMEOUT_S", LONG_S)
    began_s = time.monotonic()
    assert metadata.count_partitions(embedded, ["events", "nowhere"]) == {"events": 4}
    assert metadata.missing_topics(embedded, ["events", "nowhere"]) == ["nowhere"]
    assert metadata.message_limit(embedded, ["events"]) is None
    assert time.monotonic() - began_s < LONG_S


@pytest.mark.broker
def test_message_limit_is_smallest_of_topics(cluster):
    small = f"{cluster.windows}-small"
    cluster.create(small, 1, max_message_bytes="12345")
    assert metadata.message_limit(cluster.admin, [cluster.events, small]) == 12_345
    assert metadata.message_limit(cluster.admin, [cluster.events]) > 1_000_000
    with pytest.raises(BrokerError, match=r"settings of topic no-such-topic are unknown"):
        metadata.message_limit(cluster.admin, [cluster.events, "no-such-topic"])


def test_unreachable_cluster_raises_broker_error(monkeypatch):
    monkeypatch.setattr(metadata, "REQUEST_TIMEOUT_S", 0.3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        make = partial(client.admin, {"bootstrap.servers": f"127.0.0.1:{taken.getsockname()[1]}"})
        shared = SharedAdmin(make, SYSTEM_CLOCK)
        for ask in (metadata.count_partitions, metadata.missing_topics):
            with pytest.raises(BrokerError, match="does not answer"):
                ask(shared.client, ["events"])
        with pytest.raises(BrokerError, match="does not answer"):
            TopicQuery(shared, ["events"])
