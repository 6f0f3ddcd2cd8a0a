"""Clusters of several nodes: replication, paused nodes, stopped leaders."""

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.kafka.fixtures import running_cluster
from tests.kafka.node import NodeError
from tests.kafka.nodes import BROKER, COMBINED
from tests.waiting import wait_for

TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def three():
    with running_cluster([COMBINED] * 3, replication=3, min_insync=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def two():
    with running_cluster([COMBINED, BROKER]) as cluster:
        yield cluster


def leader(admin, topic):
    """Return the node that leads the topic's partition; -1 for none."""
    partitions = admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
    return partitions[0].leader if partitions else -1


def await_leader(admin, topic, is_expected):
    wait_for("the expected leader", lambda: is_expected(leader(admin, topic)), within_s=TIMEOUT_S)


def write(cluster, topic):
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "message.timeout.ms": 20_000})
    refusals = []
    producer.produce(topic, b"value", on_delivery=lambda error, _: refusals.append(error))
    assert producer.flush(TIMEOUT_S) == 0
    return refusals


@pytest.mark.broker
def test_three_nodes_replicate_and_survive_killed_leader(three):
    admin = AdminClient({"bootstrap.servers": three.bootstrap})
    admin.create_topics([NewTopic("kept", 1)])["kept"].result(TIMEOUT_S)
    await_leader(admin, "kept", lambda node: node > 0)
    assert len(admin.list_topics("kept", timeout=TIMEOUT_S).topics["kept"].partitions[0].replicas) == 3
    assert write(three, "kept") == [None]

    first = leader(admin, "kept")
    three.nodes[first].kill()
    await_leader(admin, "kept", lambda node: node not in {-1, first})
    assert write(three, "kept") == [None]
    three.nodes[first].start()
    assert three.nodes[first].running


@pytest.mark.broker
def test_paused_node_does_not_answer_until_resumed(two):
    admin = AdminClient({"bootstrap.servers": two.nodes[2].bootstrap})
    assert set(admin.list_topics(timeout=TIMEOUT_S).brokers) == {1, 2}
    two.nodes[2].pause()
    try:
        with pytest.raises(KafkaException):
            AdminClient({"bootstrap.servers": two.nodes[2].bootstrap}).list_topics(timeout=1.0)
    finally:
        two.nodes[2].resume()
    assert AdminClient({"bootstrap.servers": two.nodes[2].bootstrap}).list_topics(timeout=TIMEOUT_S).brokers


@pytest.mark.broker
def test_partition_of_stopped_node_has_no_leader_until_restart(two):
    admin = AdminClient({"bootstrap.servers": two.nodes[1].bootstrap})
    admin.create_topics([NewTopic("placed", 1, replica_assignment=[[2]])])["placed"].result(TIMEOUT_S)
    await_leader(admin, "placed", lambda node: node == 2)
    two.nodes[2].stop()
    await_leader(admin, "placed", lambda node: node == -1)
    with pytest.raises(NodeError, match="does not run"):
        _ = two.nodes[2].pid
    two.nodes[2].restart()
    await_leader(admin, "placed", lambda node: node == 2)
    assert two.nodes[2].pid
