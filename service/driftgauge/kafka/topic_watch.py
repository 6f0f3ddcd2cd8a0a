"""The ids and partition numbers of the events topics, asked for in the background."""

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

__all__ = ["EventTopics", "EventsTopic", "TopicWatch"]

_log = logging.getLogger(__name__)

# The group learns of partitions that were added within half a minute: their number should be known then.
_REFRESH_S = 10.0
_LEAST_S = 0.5


@dataclass(frozen=True, slots=True)
class EventsTopic:
    """An events topic: its id, a UUID's hex digits or empty where the brokers tell none, and its size."""

    id: str
    partitions: int


class EventTopics:
    """Asks for the topics' ids and numbers of partitions, without holding up the reader."""

    def __init__(self, admin: SharedAdmin, topics: Collection[str]) -> None:
        """Ask nothing yet, but whether the cluster answers such questions.

        Raises:
            BrokerError: It does not answer at all.
        """
        self._admin = admin
        self._topics = topics
        # Waited for in vain elsewhere.
        self._has_controller = has_controller(admin.client)
        self._pending: dict[str, Future[Any]] = {}

    def request(self) -> None:
        """Ask; all that was asked before has been collected."""
        if self._has_controller:
            self._pending = self._admin.client.describe_topics(
                TopicCollection(list(self._topics)), request_timeout=REQUEST_TIMEOUT_S
            )

    def collect(self) -> dict[str, EventsTopic] | None:
        """Return the topics that are known; None while an answer is still to come.

        What is not answered is left out, as a topic that does not exist is.
        """
        if not self._has_controller:
            counts = count_partitions(self._admin.client, self._topics)
            return {topic: EventsTopic("", number) for topic, number in counts.items()}
        if not all(future.done() for future in self._pending.values()):
            return None
        asked, self._pending = self._pending, {}
        found = {}
        for topic, future in asked.items():
            try:
                described = future.result()
            except KafkaException as error:
                _log.warning("topic unknown", extra={"topic": topic, "error": error.args[0].str()})
                self._admin.renew()
            else:
                found[topic] = EventsTopic(_hex(described.topic_id), len(described.partitions))
        return found


class TopicWatch:
    """Knows the events topics, and asks for them again from time to time."""

    def __init__(self, admin: SharedAdmin, topics: Collection[str], clock: Clock) -> None:
        """Ask for the topics.

        Raises:
            BrokerError: The cluster does not answer.
        """
        self._topics = EventTopics(admin, topics)
        self._clock = clock
        self.known: dict[str, EventsTopic] = {}
        """What each topic was when it was last there."""
        self._is_open = False
        self._asked_s = 0.0
        self._known_s: dict[str, float] = {}  # when a topic's answer was asked for
        self._ask()

    def poll(self) -> None:
        """Take in an answer that has come; ask again if it is time."""
        if self._is_open:
            answer = self._topics.collect()
            if answer is not None:
                self.known |= answer
                self._known_s |= dict.fromkeys(answer, self._asked_s)
                self._is_open = False
        elif self._clock.monotonic_s() - self._asked_s >= _REFRESH_S:
            self._ask()

    def is_known_since(self, topic: str, moment_s: float) -> bool:
        """Tell whether a topic is known as it was after a moment, monotonic; ask again if not."""
        if self._known_s.get(topic, 0.0) >= moment_s:
            return True
        is_first = self._asked_s < moment_s
        if not self._is_open and (is_first or self._clock.monotonic_s() - self._asked_s >= _LEAST_S):
            self._ask()
        return False

    def _ask(self) -> None:
        self._is_open, self._asked_s = True, self._clock.monotonic_s()
        self._topics.request()


def _hex(topic_id: Uuid | None) -> str:
    """Return a topic's id as hex digits; brokers before Kafka 2.8 give none, or one of zeros."""
    if topic_id is None:
        return ""
    digits = urlsafe_b64decode(f"{topic_id}==").hex()
    return digits if int(digits, 16) else ""
