"""The ids and partition counts of the events topics, fetched in the background."""

import logging
from base64 import urlsafe_b64decode
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException, TopicCollection, Uuid

from driftgauge.clock import Clock
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.cluster import count_partitions, has_controller
from driftgauge.kafka.shared_admin import SharedAdmin

__all__ = ["EventsTopic", "TopicWatch"]

_log = logging.getLogger(__name__)

# The group assigns added partitions within half a minute; the partition count must be known by then.
_REFRESH_S = 10.0
_MIN_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class EventsTopic:
    """An events topic: its id (UUID hex digits; empty if the brokers report none) and partition count."""

    id: str
    partitions: int


class TopicWatch:
    """Keeps the ids and partition counts of the events topics; asks every 10 s, without blocking.

    Attributes:
        known: The latest known state of each topic.
        missing: The topics that the newest answer leaves out: they are missing, or their request failed.
    """

    def __init__(self, admin: SharedAdmin, topics: Collection[str], clock: Clock) -> None:
        """Send the first query.

        Raises:
            BrokerError: The cluster does not answer.
        """
        self.known: dict[str, EventsTopic] = {}
        self.missing: frozenset[str] = frozenset()
        self._admin = admin
        self._topics = frozenset(topics)
        self._clock = clock
        # A cluster without a controller never answers describe requests.
        self._has_controller = has_controller(admin.client)
        self._pending: dict[str, Future[Any]] | None = None
        self._sent_s = 0.0
        self._known_s: dict[str, float] = {}  # when the query behind a topic's state was sent
        self._send()

    def poll(self) -> None:
        """Collect the answers once all are there; send the next query if it is due."""
        if self._pending is None:
            if self._clock.monotonic_s() - self._sent_s >= _REFRESH_S:
                self._send()
        elif all(future.done() for future in self._pending.values()):
            found = self._collect(self._pending)
            self._pending = None
            self.known |= found
            self.missing = self._topics - found.keys()
            self._known_s |= dict.fromkeys(found, self._sent_s)

    def is_known_since(self, topic: str, since_s: float) -> bool:
        """True if the topic's state was queried at or after a monotonic time; otherwise query again."""
        if self._known_s.get(topic, 0.0) >= since_s:
            return True
        is_first = self._sent_s < since_s
        if self._pending is None and (
            is_first or self._clock.monotonic_s() - self._sent_s >= _MIN_INTERVAL_S
        ):
            self._send()
        return False

    def _send(self) -> None:
        self._sent_s, self._pending = self._clock.monotonic_s(), {}
        if self._has_controller:
            self._pending = self._admin.client.describe_topics(
                TopicCollection([*self._topics]), request_timeout=REQUEST_TIMEOUT_S
            )

    def _collect(self, answers: Mapping[str, Future[Any]]) -> dict[str, EventsTopic]:
        """Return the topics found."""
        if not self._has_controller:
            counts = count_partitions(self._admin.client, self._topics)
            return {topic: EventsTopic("", number) for topic, number in counts.items()}
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


def _uuid_hex(topic_id: Uuid | None) -> str:
    """Return a topic's id as hex digits; empty for brokers before Kafka 2.8, which report none or zeros."""
    if topic_id is None:
        return ""
    digits = urlsafe_b64decode(f"{topic_id}==").hex()
    return digits if int(digits, 16) else ""
