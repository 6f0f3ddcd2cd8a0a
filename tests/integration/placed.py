"""Partitions on nodes of one's choice, in a cluster of two."""

from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic

from tests.integration.case import TIMEOUT_S, Case
from tests.integration.service import wait_for
from tests.kafka.nodes import KafkaCluster

Nodes = Sequence[Sequence[int]]
"""The nodes of each partition."""


def prepare_cluster(cluster: KafkaCluster, case: Case) -> None:
    """Have offsets and transactions kept by the first node, where they are not kept yet."""
    cluster.nodes[2].stop()
    producer = case.producer(**{"transactional.id": case.name})
    producer.init_transactions(TIMEOUT_S)
    consumer = Consumer({"bootstrap.servers": cluster.nodes[1].bootstrap, "group.id": f"{case.name}.first"})

    def knows_coordinator() -> bool:
        try:
            consumer.committed([TopicPartition(case.events_topic, 0)], timeout=TIMEOUT_S)
        except KafkaException:
            return False
        return True

    wait_for("the group's coordinator", knows_coordinator)
    consumer.close()
    cluster.nodes[2].restart()


def place(case: Case, topic: str, nodes: Nodes, config: Mapping[str, str] | None = None) -> None:
    """Create a topic with these partitions."""
    new = NewTopic(
        topic, len(nodes), replica_assignment=[list(each) for each in nodes], config=dict(config or {})
    )
    case.admin.create_topics([new])[topic].result(TIMEOUT_S)
