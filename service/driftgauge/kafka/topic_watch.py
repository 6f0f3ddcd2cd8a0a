"""The ids and partition numbers of the events topics, asked for in the background."""

import logging
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from confluent_kafka.admin import AdminClient

from driftgauge.clock import Clock
from driftgauge.errors import BrokerError
from driftgauge.kafka.topics_tmp import EventsTopic, describe_events

__all__ = ["TopicWatch"]

_log = logging.getLogger(__name__)

# The group learns of partitions that were added within half a minute, so their number should be known by then.
_REFRESH_S = 10.0
_LEAST_S = 0.5


class TopicWatch:
    """Knows the events topics, and asks for them again from time to time."""

    def __init__(self, admin: AdminClient, topics: Collection[str], clock: Clock) -> None:
        """Ask for the topics.

        Raises:
            AuthorizationError: The cluster does not tell us of them.
            BrokerError: The cluster does not answer.
        """
        self._admin = admin
        self._topics = tuple(topics)
        self._clock = clock
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="topics")
        self._pending: Future[Mapping[str, EventsTopic]] | None = None
        self.known: Mapping[str, EventsTopic] = describe_events(admin, self._topics)
        """What each topic was when it was last there."""
        self._asked_s = clock.monotonic_s()

    def poll(self) -> None:
        """Take in an answer that has come; ask again if it is time."""
        if self._pending is not None and self._pending.done():
            pending, self._pending = self._pending, None
            try:
                self.known = {**self.known, **pending.result()}
            except BrokerError as error:
                _log.warning("the events topics are unknown", extra={"error": str(error)})
        if self._clock.monotonic_s() - self._asked_s >= _REFRESH_S:
            self._ask()

    def refresh(self) -> None:
        """Ask again soon, for something is missing."""
        if self._clock.monotonic_s() - self._asked_s >= _LEAST_S:
            self._ask()

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self) -> None:
        if self._pending is None:
            self._asked_s = self._clock.monotonic_s()
            self._pending = self._pool.submit(describe_events, self._admin, self._topics)
