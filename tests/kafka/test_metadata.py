import re
import socket
import time
import uuid

import pytest
from confluent_kafka import Uuid

from driftgauge.errors import BrokerError
from driftgauge.kafka import client, metadata, requests
from driftgauge.kafka.embedded import EmbeddedBroker
from tests.kafka.cluster import Cluster


@pytest.fixture
def cluster(bootstrap):
    with Cluster(bootstrap) as cluster:
        yield cluster


@pytest.fixture
def embedded():
    with EmbeddedBroker(["events"]) as broker:
        yield client.admin({"bootstrap.servers": broker.bootstrap})


@pytest.mark.integration
def test_missing_topics_are_told_from_those_that_are_there(cluster):
    new = f"new-{uuid.uuid4().hex}"
    assert metadata.missing_topics(cluster.admin, [new, cluster.events]) == [new]
    assert metadata.missing_topics(cluster.admin, []) == []
    assert metadata.count_partitions(cluster.admin, [new, cluster.events]) == {cluster.events: 2}


@pytest.mark.integration
def test_topic_is_described_by_its_id_and_partitions(cluster):
    ((topic, (topic_id, number)),) = metadata.describe_events(cluster.admin, [cluster.events, "no"]).items()
    assert (topic, number) == (cluster.events, 2)
    assert re.fullmatch("[0-9a-f]{32}", topic_id)
    cluster.grow(cluster.events, 3)
    assert metadata.describe_events(cluster.admin, [cluster.events]) == {cluster.events: (topic_id, 3)}


@pytest.mark.integration
def test_topic_created_again_has_another_id(cluster):
    (topic_id, _) = metadata.describe_events(cluster.admin, [cluster.events])[cluster.events]
    cluster.delete(cluster.events)
    cluster.create(cluster.events, 2)
    (other_id, _) = metadata.describe_events(cluster.admin, [cluster.events])[cluster.events]
    assert other_id != topic_id


@pytest.mark.integration
def test_answers_are_collected_once_they_are_all_there(cluster):
    asked = metadata.EventTopics(cluster.admin, [cluster.events])
    assert asked.collect() == {}, "nothing was asked"
    asked.request()
    found = []
    cluster.await_that(
        lambda: (answers := asked.collect()) is not None and not found.append(answers), "the answers"
    )
    assert found[0].keys() == {cluster.events}
    assert asked.collect() == {}


def test_id_is_the_uuids_digits_and_empty_where_there_is_none():
    assert metadata._hex(Uuid(1, -1)) == "0000000000000001ffffffffffffffff"
    assert metadata._hex(Uuid(0, 0)) == metadata._hex(None) == ""


def test_embedded_brokers_topics_have_no_id_and_are_told_without_delay(embedded):
    began_s = time.monotonic()
    assert metadata.describe_events(embedded, ["events", "nowhere"]) == {"events": ("", 4)}
    assert metadata.missing_topics(embedded, ["events", "nowhere"]) == ["nowhere"]
    assert metadata.message_limit(embedded, ["events"]) is None
    assert time.monotonic() - began_s < client.REQUEST_TIMEOUT_S


@pytest.mark.integration
def test_message_limit_is_the_smallest_of_the_topics(cluster):
    small = f"{cluster.windows}-small"
    cluster.create(small, 1, max_message_bytes="12345")
    assert metadata.message_limit(cluster.admin, [cluster.events, small]) == 12_345
    assert metadata.message_limit(cluster.admin, [cluster.events]) > 1_000_000
    with pytest.raises(BrokerError, match=r"settings of topic no-such-topic are unknown"):
        metadata.message_limit(cluster.admin, [cluster.events, "no-such-topic"])


def test_cluster_that_does_not_answer_is_a_broker_error(monkeypatch):
    monkeypatch.setattr(requests, "REQUEST_TIMEOUT_S", 0.3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        admin = client.admin({"bootstrap.servers": f"127.0.0.1:{taken.getsockname()[1]}"})
        for ask in (metadata.count_partitions, metadata.missing_topics, metadata.describe_events):
            with pytest.raises(BrokerError, match="does not answer"):
                ask(admin, ["events"])
