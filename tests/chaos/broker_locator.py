"""Finds brokers by their current role: partition leader, coordinator, controller."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, TopicMetadata

from tests.chaos.plan import LEADERS, BrokerRole
from tests.harness.node import Node
from tests.harness.nodes import KafkaCluster
from tests.waiting import wait_for

REQUEST_TIMEOUT_S: Final = 2.0
OFFSETS: Final = "__consumer_offsets"
TRANSACTIONS: Final = "__transaction_state"


class BrokerLocator:
    """Finds the node that has a role.

    It requests metadata only: an admin client's request to a group coordinator aborts the process if the
    broker fails meanwhile (librdkafka issue 4605).
    """

    def __init__(self, cluster: KafkaCluster, topics: Mapping[BrokerRole, str], group: str) -> None:
        """Prepare for a running cluster.

        Args:
            cluster: The cluster.
            topics: The topics of EVENTS, PARTIALS and CHANGELOG.
            group: The consumer group whose coordinator has the role GROUP.
        """
        self._cluster = cluster
        self._topics = {**topics, BrokerRole.GROUP: OFFSETS, BrokerRole.TRANSACTIONS: TRANSACTIONS}
        self._group = group

    def find(self, role: BrokerRole) -> Node:
        """Return the node that has the role now; of several leaders, the one with the most partitions."""
        nodes = self._cluster.nodes
        if role in {BrokerRole.BROKER, BrokerRole.CONTROLLER}:
            return nodes[min(nodes)]
        topic = self._topics[role]
        partitions = self._await_leaders(topic)
        if role is BrokerRole.GROUP:
            return nodes[partitions[java_hash(self._group) % len(partitions)]]
        [(leader, _)] = Counter(each for _, each in sorted(partitions.items())).most_common(1)
        return nodes[leader]

    def all_but_least_leading(self) -> list[Node]:
        """Return all brokers but the one that leads the fewest partitions of the partials topic."""
        led_counts = Counter(self._await_leaders(self._topics[BrokerRole.PARTIALS]).values())
        brokers = [node for node in self._cluster.nodes.values() if node.bootstrap is not None]
        return sorted(brokers, key=lambda node: (-led_counts[node.number], node.number))[:-1]

    @property
    def is_replicated(self) -> bool:
        """Whether the service keeps running when any one node fails."""
        return len(self._cluster.nodes) > 1

    def await_all_in_sync(self) -> None:
        """Wait until all replicas of the events, partials and changelog topics are in sync."""
        self._await(lambda isr, replicas: isr == replicas, "out of sync")

    def await_below_minimum(self) -> None:
        """Wait until every partition of these topics has one in-sync replica."""
        self._await(lambda isr, _: isr == 1, "above one in-sync replica")

    def _await(self, is_met: Callable[[int, int], bool], failure: str) -> None:
        def unmet() -> list[str]:
            return [
                f"{topic}[{number}]"
                for topic in (self._topics[role] for role in LEADERS[:3])
                for number, each in self._describe(topic).partitions.items()
                if not is_met(len(each.isrs), len(each.replicas))
            ]

        wait_for(
            lambda: f"no partition to be {failure}, but these are: {', '.join(unmet())}",
            lambda: not unmet(),
        )

    def _await_leaders(self, topic: str) -> dict[int, int]:
        """Wait until every partition has a leader, and return the leaders by partition."""

        def elected() -> dict[int, int]:
            partitions = self._describe(topic).partitions
            leaders = {number: each.leader for number, each in partitions.items()}
            return leaders if min(leaders.values(), default=-1) >= 0 else {}

        return wait_for(f"each partition of {topic} to have a leader", elected)

    def _describe(self, topic: str) -> TopicMetadata:
        return describe(self._cluster.bootstrap, topic)


def describe(bootstrap: str, topic: str) -> TopicMetadata:
    """Return the metadata of a topic, as soon as a broker answers."""
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def described() -> TopicMetadata | None:
        with suppress(KafkaException):  # the brokers are unavailable
            return client.list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
        return None

    return wait_for(f"the metadata of {topic}", described)


def java_hash(text: str) -> int:
    """Return Java's string hash without its sign; Kafka maps a group to its offsets partition with it."""
    value = 0
    for character in text.encode("ascii"):
        value = (31 * value + character) & 0xFFFF_FFFF
    return value & 0x7FFF_FFFF
