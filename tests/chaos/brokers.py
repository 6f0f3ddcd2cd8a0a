"""The brokers of a run by what they are at the moment: leaders, coordinators, the controller."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, TopicMetadata

from tests.chaos.profiles import BrokerRole
from tests.kafka.node import Node
from tests.kafka.nodes import KafkaCluster
from tests.waiting import wait_for

TIMEOUT_S: Final = 30.0
REQUEST_S: Final = 2.0
OFFSETS: Final = "__consumer_offsets"
TRANSACTIONS: Final = "__transaction_state"


class Brokers:
    """Finds the node that has a role.

    By metadata only: what an administration client asks of a group's coordinator aborts the process where
    the broker goes away meanwhile (librdkafka issue 4605).
    """

    def __init__(self, cluster: KafkaCluster, topics: Mapping[BrokerRole, str], group: str) -> None:
        """Look at a cluster that runs.

        Args:
            cluster: The cluster.
            topics: The topics of EVENTS, PARTIALS and CHANGELOG.
            group: The group whose coordinator is GROUP.
        """
        self._cluster = cluster
        self._topics = {**topics, BrokerRole.GROUP: OFFSETS, BrokerRole.TRANSACTIONS: TRANSACTIONS}
        self._group = group

    def find(self, role: BrokerRole) -> Node:
        """The node that has the role now; of several leaders the one that leads most partitions."""
        nodes = self._cluster.nodes
        if role in {BrokerRole.BROKER, BrokerRole.CONTROLLER}:
            return nodes[min(nodes)]
        topic = self._topics[role]
        partitions = self._await_leaders(topic)
        if role is BrokerRole.GROUP:
            return nodes[partitions[java_hash(self._group) % len(partitions)]]
        [(most, _)] = Counter(leader for _, leader in sorted(partitions.items())).most_common(1)
        return nodes[most]

    def all_but_one(self) -> list[Node]:
        """All brokers but the one that leads fewest partitions of the partials."""
        led = Counter(self._await_leaders(self._topics[BrokerRole.PARTIALS]).values())
        brokers = [node for node in self._cluster.nodes.values() if node.bootstrap is not None]
        return sorted(brokers, key=lambda node: (-led[node.number], node.number))[:-1]

    @property
    def others_stand_in(self) -> bool:
        """Whether the service goes on without any one of them."""
        return len(self._cluster.nodes) > 1

    def await_all_in_sync(self) -> None:
        """Wait until all replicas of events, partials and changelog are in sync again."""
        self._await(lambda isr, replicas: isr == replicas, "out of sync")

    def await_below_minimum(self) -> None:
        """Wait until all partitions of these topics have one replica in sync."""
        self._await(lambda isr, _: isr == 1, "above one in-sync replica")

    def _await(self, is_so: Callable[[int, int], bool], otherwise: str) -> None:
        topics = [
            self._topics[role] for role in (BrokerRole.EVENTS, BrokerRole.PARTIALS, BrokerRole.CHANGELOG)
        ]

        def wrong() -> list[str]:
            return [
                f"{topic}[{number}]"
                for topic in topics
                for number, each in self._describe(topic).partitions.items()
                if not is_so(len(each.isrs), len(each.replicas))
            ]

        wait_for(lambda: f"partitions {otherwise}: {wrong()}", lambda: not wrong(), within_s=TIMEOUT_S)

    def _await_leaders(self, topic: str) -> dict[int, int]:
        """The leader of each partition, when each has one."""

        def led() -> dict[int, int]:
            leaders = {at: each.leader for at, each in self._describe(topic).partitions.items()}
            return leaders if min(leaders.values(), default=-1) >= 0 else {}

        return wait_for(f"each partition of {topic} to have a leader", led, within_s=TIMEOUT_S)

    def _describe(self, topic: str) -> TopicMetadata:
        client = AdminClient({"bootstrap.servers": self._cluster.bootstrap, "log_level": 0})
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return client.list_topics(topic, timeout=REQUEST_S).topics[topic]
            except KafkaException:
                if time.monotonic() > deadline:
                    raise


def java_hash(text: str) -> int:
    """Java's hash of a string without its sign, by which Kafka finds the partition of a group."""
    value = 0
    for character in text.encode("ascii"):
        value = (31 * value + character) & 0xFFFF_FFFF
    return value & 0x7FFF_FFFF
