"""The ids and partition numbers of the events topics, asked for in the background."""

from collections.abc import Collection
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from driftgauge.clock import Clock
from driftgauge.kafka.metadata import EventTopics

__all__ = ["EventsTopic", "TopicWatch"]

# The group learns of partitions that were added within half a minute: their number should be known then.
_REFRESH_S = 10.0
_LEAST_S = 0.5


@dataclass(frozen=True, slots=True)
class EventsTopic:
    """An events topic: its id, empty where the brokers tell none, and how many partitions it has."""

    id: str
    partitions: int


class TopicWatch:
    """Knows the events topics, and asks for them again from time to time."""

    def __init__(self, admin: AdminClient, topics: Collection[str], clock: Clock) -> None:
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
                self.known |= {topic: EventsTopic(*described) for topic, described in answer.items()}
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
