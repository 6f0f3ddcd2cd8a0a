"""An unclean election: the tail of a log is lost after it was counted, and the log grows past it again.

Kafka allows that where a topic says so. The service cannot undo it; it must say so, and no window may
hold too few or too many events without being marked. It is paused meanwhile, so that it finds a log that
is longer than what it had counted, and by whose offsets alone nothing is to be seen.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from deploy.demo.scrape import Scrape

from tests.chaos.replicas import Replicas
from tests.chaos.results import PublishedRevision, final_results
from tests.chaos.setting import ChaosSetting
from tests.chaos.truth import WINDOWS_MS, WindowKey
from tests.chaos.verdict import Check
from tests.chaos.workload import DIMENSION, LOSSY, START_MS
from tests.kafka.node import Node
from tests.kafka.nodes import KafkaCluster
from tests.kafka.records import read
from tests.waiting import wait_for

TIMEOUT_S: Final = 60.0
NAME: Final = "chaos-lossy"
STEP_MS: Final = 1_000
KEPT, LOST, REGROWN = 200, 100, 400
# What reports it: any of these above zero.
COUNTERS: Final = (
    "driftgauge_records_lost_total",
    "driftgauge_partials_gap_total",
    "driftgauge_partials_overlap_total",
    "driftgauge_window_events_lost",
    "driftgauge_window_counted_twice",
)


@dataclass
class LossyTopic:
    """A topic of one partition on two brokers, of which one alone may take what the other never gets.

    Attributes:
        name: Its name.
        bootstrap: The brokers' addresses.
        first, second: The brokers that hold it; the first leads.
        sent: The event times that a broker has taken, in order.
    """

    name: str
    bootstrap: str
    first: Node
    second: Node
    sent: list[int] = field(default_factory=list)

    @classmethod
    def make(cls, cluster: KafkaCluster) -> "LossyTopic":
        """Create it."""
        first, second = [node for node in cluster.nodes.values() if node.bootstrap is not None][-2:]
        config = {"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}
        replicas = [[first.number, second.number]]
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        new = NewTopic(NAME, 1, config=config, replica_assignment=replicas)
        admin.create_topics([new])[NAME].result(TIMEOUT_S)
        return cls(NAME, cluster.bootstrap, first, second)

    def publish(self, number: int) -> None:
        """Send so many events, a second of event time apart."""
        failures: list[str] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error.str())

        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all", "log_level": 0})
        vector = [0.0] * DIMENSION
        for place in range(len(self.sent), len(self.sent) + number):
            time_ms = START_MS + place * STEP_MS
            event = {"stream": LOSSY, "timestamp": time_ms, "embedding": vector, "event_id": str(place)}
            producer.produce(self.name, orjson.dumps(event), partition=0, on_delivery=delivered)
            self.sent.append(time_ms)
        assert producer.flush(TIMEOUT_S) == 0
        assert failures == [], failures[0]

    def lose_the_tail(
        self, wait_until_counted: Callable[[], object], away: AbstractContextManager[object]
    ) -> None:
        """Publish, have it counted, and lose the last part of it while the service is away."""
        self.publish(KEPT)
        wait_until_counted()
        self.second.stop()
        self._await(lambda leader, isrs: leader == self.first.number and isrs == [self.first.number])
        self.publish(LOST)
        wait_until_counted()
        with away:
            self.first.kill()
            self.second.start()
            self._await(lambda leader, _: leader == self.second.number)
            self.first.start()
            self._await(lambda _, isrs: len(isrs) == 2)
            self.publish(REGROWN)

    def _await(self, is_so: Callable[[int, list[int]], bool]) -> None:
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

        def is_met() -> bool:
            with suppress(KafkaException):  # the brokers are away
                found = client.list_topics(self.name, timeout=2.0).topics[self.name].partitions[0]
                return is_so(found.leader, list(found.isrs))
            return False

        wait_for(f"the expected leader of {self.name}", is_met, within_s=TIMEOUT_S)


def check_unclean_election(lossy: LossyTopic, setting: ChaosSetting, replicas: Replicas) -> Check:
    """Have one, and see what the service says of it."""

    def wait_until_counted() -> None:
        _await_committed(setting, lossy.name, len(lossy.sent))

    lossy.lose_the_tail(wait_until_counted, _paused(replicas))
    expected = Counter(
        (LOSSY, window, time_ms - time_ms % size_ms)
        for window, size_ms in WINDOWS_MS[LOSSY].items()
        for time_ms in lossy.sent
    )
    check = Check("unclean election: reported, and no window wrong in silence")
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        found = _lossy_windows(setting)
        if found.keys() == expected.keys() and reports(replicas.scrapes().values()):
            break
        time.sleep(1.0)
    said = reports(replicas.scrapes().values())
    check.compare("some metric reports it", bool(said), expected=True)
    for key, number in sorted(expected.items()):
        count, is_marked = found.get(key, (0, False))
        check.compare(
            f"{key} has {count} of {number} events or is marked", count == number or is_marked, expected=True
        )
    check.name += f" ({', '.join(sorted(said)) or 'nothing'})"
    return check


@contextmanager
def _paused(replicas: Replicas) -> Iterator[None]:
    services = replicas.running.values()
    for service in services:
        service.pause()
    try:
        yield
    finally:
        for service in services:
            service.resume()


def reports(scrapes: Iterable[Scrape]) -> set[str]:
    """The metrics by which the loss is reported."""
    samples = [each for scrape in scrapes for each in scrape.samples.items()]
    return {name for (name, _), value in samples if name in COUNTERS and value > 0}


def _lossy_windows(setting: ChaosSetting) -> dict[WindowKey, tuple[int, bool]]:
    """The events of each window of the stream as last published, and whether it is marked."""
    messages = read(setting.bootstrap, setting.windows_topic, within_s=TIMEOUT_S)
    results = [result for result in map(PublishedRevision.read, messages) if result.key[0] == LOSSY]
    return {key: (sum(each.counts), is_marked(each.document)) for key, each in final_results(results).items()}


def is_marked(document: dict[str, object]) -> bool:
    """Whether a result says that it may hold too few or too many events."""
    return bool(document["events_lost"] or document["counted_twice"] or document["incomplete"])


def _await_committed(setting: ChaosSetting, topic: str, offset: int) -> None:
    """Wait until COUNT has committed an offset, or a later one."""
    consumer = Consumer({"bootstrap.servers": setting.bootstrap, "group.id": setting.group, "log_level": 0})

    def is_committed() -> bool:
        with suppress(KafkaException):  # the coordinator is not there at the moment
            [at] = consumer.committed([TopicPartition(topic, 0)], timeout=2.0)
            return at.error is None and at.offset >= offset
        return False

    try:
        wait_for(f"{topic} to be counted to {offset}", is_committed, within_s=TIMEOUT_S)
    finally:
        consumer.close()
