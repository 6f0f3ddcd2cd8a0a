"""The ids and partition counts of the events topics, fetched in the background."""

import logging
from base64 import urlsafe_b64decode
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException, TopicCollection, Uuid

from driftgauge.clock import Clock
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.metadata import count_partitions, has_controller
from driftgauge.kafka.shared_admin import SharedAdmin

__all__ = ["EventsTopic", "TopicQuery", "TopicWatch"]

_log = logging.getLogger(__name__)

# The group assigns added partitions within half a minute; the partition count must be known by then.
_REFRESH_S = 10.0
_MIN_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class EventsTopic:
    """An events topic: its id (UUID hex digits; empty where the brokers report none) and partition count."""

    id: str
    partitions: int


class TopicQuery:
    """Fetches the topics' ids and partition counts without blocking the consumer loop."""

    def __init__(self, admin: SharedAdmin, topics: Collection[str]) -> None:
        """Check that the cluster has a controller to ask; send no query yet.

        Raises:
            BrokerError: The cluster does not answer.
        """
        self._admin = admin
        self._topics = topics
        # A cluster without a controller never answers describe requests.
        self._has_controller = has_controller(admin.client)
        self._pending: dict[str, Future[Any]] = {}

    def request(self) -> None:
        """Send a query; the answers to the previous one must have been collected."""
        if self._has_controller:
            self._pending = self._admin.client.describe_topics(
                TopicCollection(list(self._topics)), request_timeout=REQUEST_TIMEOUT_S
            )

    def collect(self) -> dict[str, EventsTopic] | None:
        """Return the topics found; None while an answer is pending.

        Topics that are missing, or whose request failed, are left out.
        """
        if not self._has_controller:
            counts = count_partitions(self._admin.client, self._topics)
            return {topic: EventsTopic("", number) for topic, number in counts.items()}
        if not all(future.done() for future in self._pending.values()):
            return None
        answers, self._pending = self._pending, {}
        found = {}
        for topic, future in answers.items():
            try:
                described = future.result()
            except KafkaException as error:
                _log.warning(
                    "Kafka does not describe an events topic; its new partitions wait, and it is asked again",
                    extra={
                        "topic": topic,
                        "error": error.args[0].str(),
                        "remedy": "check that the topic exists, and that this client may Describe it",
                    },
                )
                self._admin.renew()
            else:
                found[topic] = EventsTopic(_uuid_hex(described.topic_id), len(described.partitions))
        return found


class TopicWatch:
    """Keeps the state of the events topics, and refreshes it every 10 s."""

    def __init__(self, admin: SharedAdmin, topics: Collection[str], clock: Clock) -> None:
        """Send the first query.

        Raises:
            BrokerError: The cluster does not answer.
        """
        self._query = TopicQuery(admin, topics)
        self._topics = frozenset(topics)
        self._clock = clock
        self.known: dict[str, EventsTopic] = {}
        """The latest known state of each topic."""
        self.missing: frozenset[str] = frozenset()
        """The topics that the newest answer leaves out."""
        self._is_pending = False
        self._sent_s = 0.0
        self._known_s: dict[str, float] = {}  # when the query behind a topic's state was sent
        self._send()

    def poll(self) -> None:
        """Collect the answer if there is one; send the next query if it is due."""
        if self._is_pending:
            answer = self._query.collect()
            if answer is not None:
                self.known |= answer
                self.missing = self._topics - answer.keys()
                self._known_s |= dict.fromkeys(answer, self._sent_s)
                self._is_pending = False
        elif self._clock.monotonic_s() - self._sent_s >= _REFRESH_S:
            self._send()

    def is_known_since(self, topic: str, since_s: float) -> bool:
        """True if the topic's state was queried at or after a monotonic time; otherwise query again."""
        if self._known_s.get(topic, 0.0) >= since_s:
            return True
        is_first = self._sent_s < since_s
        if not self._is_pending and (is_first or self._clock.monotonic_s() - self._sent_s >= _MIN_INTERVAL_S):
            self._send()
        return False

    def _send(self) -> None:
        self._is_pending, self._sent_s = True, self._clock.monotonic_s()
        self._query.request()


def _uuid_hex(topic_id: Uuid | None) -> str:
    """Return a topic's id as hex digits; empty for brokers before Kafka 2.8, which report none or zeros."""
    if topic_id is None:
        return ""
    digits = urlsafe_b64decode(f"{topic_id}==").hex()
    return digits if int(digits, 16) else ""
