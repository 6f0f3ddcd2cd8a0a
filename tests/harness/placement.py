"""Topics with a chosen node for each partition, in a cluster of two nodes."""

from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from tests.harness.case import Case
from tests.harness.closing import close
from tests.harness.nodes import KafkaCluster
from tests.harness.topics import TIMEOUT_S
from tests.waiting import wait_for

Nodes = Sequence[Sequence[int]]
"""The nodes of each partition."""


def keep_coordinators_on_first_node(cluster: KafkaCluster) -> None:
    """Create the cluster's own topics, for offsets and transactions, while only the first node runs."""
    cluster.nodes[2].stop()
    first = {"bootstrap.servers": cluster.nodes[1].bootstrap}
    producer = Producer({**first, "transactional.id": "first"})
    producer.init_transactions(TIMEOUT_S)
    consumer = Consumer({**first, "group.id": "first"})

    def knows_coordinator() -> bool:
        try:
            consumer.committed([TopicPartition("none", 0)], timeout=TIMEOUT_S)
        except KafkaException:
            return False
        return True

    wait_for("the group's coordinator", knows_coordinator)
    close(consumer, "the consumer that awaits the coordinator")
    cluster.nodes[2].restart()


def place(case: Case, topic: str, nodes: Nodes, config: Mapping[str, str] | None = None) -> None:
    """Create a topic whose partitions have these nodes."""
    new = NewTopic(
        topic, len(nodes), replica_assignment=[list(each) for each in nodes], config=dict(config or {})
    )
    case.admin.create_topics([new])[topic].result(TIMEOUT_S)
