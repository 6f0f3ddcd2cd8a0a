"""Brokers of a chaos run: those of a role now, and a topic that loses its tail in an unclean leader election.

A topic allows it by `unclean.leader.election.enable`. The service cannot recover the records, so it must
report the loss and mark every window with too few or too many events. It is paused during the election, so
that afterwards it finds a longer log than it had counted, and offsets alone do not show the loss.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import orjson
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic, TopicMetadata

from tests.chaos.checks import Check
from tests.chaos.environment import Environment
from tests.chaos.plan import LEADERS, BrokerRole
from tests.chaos.replicas import Replicas
from tests.chaos.windows import WINDOWS_MS, PublishedRevision, WindowKey, final_results
from tests.chaos.workload import DIMENSION, LOSSY, START_MS
from tests.harness.broker import KafkaCluster
from tests.harness.node import Node
from tests.harness.scrape import Scrape
from tests.harness.topics import DeliveryFailures, committed
from tests.waiting import PATIENCE_S, wait_for

REQUEST_TIMEOUT_S: Final = 2.0


class BrokerLocator:
    """Finds the node that has a role.

    It requests metadata only: an admin client's request to a group coordinator aborts the process if the
    broker fails meanwhile (librdkafka issue 4605).
    """

    def __init__(self, cluster: KafkaCluster, env: Environment) -> None:
        self._cluster, self._group = cluster, env.name
        self._topics = {
            BrokerRole.EVENTS: env.events_topic,
            BrokerRole.PARTIALS: env.partials_topic,
            BrokerRole.CHANGELOG: env.changelog_topic,
            BrokerRole.GROUP: "__consumer_offsets",
            BrokerRole.TRANSACTIONS: "__transaction_state",
        }

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
                for number, each in describe(self._cluster.bootstrap, topic).partitions.items()
                if not is_met(len(each.isrs), len(each.replicas))
            ]

        wait_for(
            lambda: f"no partition to be {failure}, but these are: {', '.join(unmet())}",
            lambda: not unmet(),
        )

    def _await_leaders(self, topic: str) -> dict[int, int]:
        """Wait until every partition has a leader, and return the leaders by partition."""

        def elected() -> dict[int, int]:
            partitions = describe(self._cluster.bootstrap, topic).partitions
            leaders = {number: each.leader for number, each in partitions.items()}
            return leaders if min(leaders.values(), default=-1) >= 0 else {}

        return wait_for(f"each partition of {topic} to have a leader", elected)


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


UNCLEAN: Final = "chaos-lossy"
# The loss is reported if any of these, by a label, is above zero.
COUNTERS: Final = (
    ("driftgauge_offsets_skipped_total", ("place", "deleted")),
    ("driftgauge_partials_faults_total", ("reason", "gap")),
    ("driftgauge_partials_faults_total", ("reason", "overlap")),
)
# Of these one marks a window with too few or too many events.
MARKS: Final = ("events_lost", "counted_twice", "incomplete")


class UncleanTopic:
    """A topic of one partition on two brokers, to which one broker alone may append.

    Attributes:
        first, second: The brokers of its replicas; the first is the preferred leader.
        sent: The times of the acknowledged events, in order.
    """

    def __init__(self, cluster: KafkaCluster) -> None:
        """Create the topic."""
        self._bootstrap = cluster.bootstrap
        self.sent: list[int] = []
        self.first, self.second = [node for node in cluster.nodes.values() if node.bootstrap is not None][-2:]
        config = {"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}
        replicas = [[self.first.number, self.second.number]]
        new = NewTopic(UNCLEAN, 1, config=config, replica_assignment=replicas)
        AdminClient({"bootstrap.servers": self._bootstrap}).create_topics([new])[UNCLEAN].result(PATIENCE_S)

    def publish(self, events: int) -> None:
        """Publish a number of events, a second of event time apart."""
        failures = DeliveryFailures()
        producer = Producer({"bootstrap.servers": self._bootstrap, "acks": "all", "log_level": 0})
        vector = [0.0] * DIMENSION
        for number in range(len(self.sent), len(self.sent) + events):
            time_ms = START_MS + number * 1_000
            event = {"stream": LOSSY, "timestamp": time_ms, "embedding": vector, "event_id": str(number)}
            producer.produce(UNCLEAN, orjson.dumps(event), partition=0, on_delivery=failures.note)
            self.sent.append(time_ms)
        assert producer.flush(PATIENCE_S) == 0
        assert failures == [], failures[0]

    def lose_log_tail(self, wait_until_counted: Callable[[], object], replicas: Replicas) -> None:
        """Publish events, wait until they are counted, and lose the last ones while the service is paused."""
        self.publish(200)
        wait_until_counted()
        self.second.stop()
        self._await(lambda leader, isrs: leader == self.first.number and isrs == [self.first.number])
        self.publish(100)
        wait_until_counted()
        services = replicas.running.values()
        for service in services:
            service.pause()
        try:
            self.first.kill()
            self.second.start()
            self._await(lambda leader, _: leader == self.second.number)
            self.first.start()
            self._await(lambda _, isrs: len(isrs) == 2)
            self.publish(400)
        finally:
            for service in services:
                service.resume()

    def _await(self, is_met: Callable[[int, list[int]], bool]) -> None:
        def is_reached() -> bool:
            found = describe(self._bootstrap, UNCLEAN).partitions[0]
            return is_met(found.leader, list(found.isrs))

        wait_for(f"the expected leader of {UNCLEAN}", is_reached)


def check_unclean_election(topic: UncleanTopic, env: Environment, replicas: Replicas) -> Check:
    """Force an unclean election, and check that the service reports the loss and marks the windows."""

    def is_counted() -> bool:
        with suppress(KafkaException):  # the coordinator is unavailable
            found = committed(env.bootstrap, env.name, UNCLEAN, [0], "read_uncommitted")
            return found.get(0, -1) >= len(topic.sent)
        return False

    topic.lose_log_tail(lambda: wait_for(f"{UNCLEAN} to be counted", is_counted), replicas)
    expected = Counter(
        (LOSSY, window, time_ms - time_ms % size_ms)
        for window, size_ms in WINDOWS_MS[LOSSY].items()
        for time_ms in topic.sent
    )
    check = Check("unclean election: reported, and every wrong window marked")
    with suppress(AssertionError):
        wait_for(
            "the loss to be shown",
            lambda: (
                _lossy_windows(env).keys() == expected.keys()
                and find_loss_metrics(replicas.scrapes().values())
            ),
        )
    found, reported = _lossy_windows(env), find_loss_metrics(replicas.scrapes().values())
    check.compare("some metric reports the loss", bool(reported), expected=True)
    for key, number in sorted(expected.items()):
        count, is_marked = found.get(key, (0, False))
        check.compare(
            f"{key} has {count} of {number} events or is marked", count == number or is_marked, expected=True
        )
    check.name += f" ({', '.join(sorted(reported)) or 'nothing'})"
    return check


def find_loss_metrics(scrapes: Iterable[Scrape]) -> set[str]:
    """Return the names of the metrics that report a loss."""
    samples = [each for scrape in scrapes for each in scrape.samples.items()]
    return {
        name
        for name, label in COUNTERS
        for (shown, labels), value in samples
        if shown == name and label in labels and value > 0
    }


def _lossy_windows(env: Environment) -> dict[WindowKey, tuple[int, bool]]:
    """Return the published count of each window of the lossy stream, and whether it is marked."""
    messages = env.read(env.windows_topic)
    results = [result for result in map(PublishedRevision.read, messages) if result.key[0] == LOSSY]
    return {
        key: (sum(each.counts), any(each.document[name] for name in MARKS))
        for key, each in final_results(results).items()
    }
