"""Which topics there are, with how many partitions and which identity."""

import logging
from base64 import urlsafe_b64decode
from collections.abc import Collection
from concurrent.futures import Future, wait
from typing import Any

from confluent_kafka import KafkaException, TopicCollection, Uuid
from confluent_kafka.admin import AdminClient

from driftgauge.core.partition import Partition
from driftgauge.errors import AuthorizationError
from driftgauge.kafka.calls import AUTHORIZATION
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.requests import failure, failures, has_controller, metadata, settings_of

__all__ = [
    "EventTopics",
    "count_partitions",
    "describe_events",
    "message_limit",
    "missing_topics",
    "require_visible",
    "writable_partitions",
]

_log = logging.getLogger(__name__)


class EventTopics:
    """Asks for the topics' ids and numbers of partitions, without holding up the reader."""

    def __init__(self, admin: AdminClient, topics: Collection[str]) -> None:
        """Ask nothing yet, but whether the cluster answers such questions.

        Raises:
            BrokerError: It does not answer at all.
        """
        self._admin = admin
        self._topics = topics
        # Waited for in vain elsewhere.
        self._has_controller = has_controller(admin)
        self._pending: dict[str, Future[Any]] = {}

    def request(self) -> None:
        """Ask; all that was asked before has been collected."""
        if self._has_controller:
            self._pending = self._admin.describe_topics(
                TopicCollection(list(self._topics)), request_timeout=REQUEST_TIMEOUT_S
            )

    def collect(self) -> dict[str, tuple[str, int]] | None:
        """Return the topics that are known, each with its id and its number of partitions.

        The id is a UUID's hex digits; empty where the brokers have none. None while an answer is still
        to come. What is not answered is left out, as a topic that does not exist is.
        """
        if not self._has_controller:
            return {
                topic: ("", number) for topic, number in count_partitions(self._admin, self._topics).items()
            }
        if not all(future.done() for future in self._pending.values()):
            return None
        asked, self._pending = self._pending, {}
        found = {}
        for topic, future in asked.items():
            try:
                described = future.result()
            except KafkaException as error:
                _log.warning("topic unknown", extra={"topic": topic, "error": error.args[0].str()})
            else:
                found[topic] = (_hex(described.topic_id), len(described.partitions))
        return found

    def describe(self) -> dict[str, tuple[str, int]]:
        """Ask, and return the answers once they are there."""
        self.request()
        wait(self._pending.values())
        return self.collect() or {}


def describe_events(admin: AdminClient, topics: Collection[str]) -> dict[str, tuple[str, int]]:
    """Return the id and the number of partitions of each topic, as `EventTopics`; waits for the answer.

    Raises:
        BrokerError: The cluster does not answer.
    """
    return EventTopics(admin, topics).describe()


def _hex(topic_id: Uuid | None) -> str:
    """Return a topic's id as hex digits; brokers before Kafka 2.8 give none, or one of zeros."""
    if topic_id is None:
        return ""
    digits = urlsafe_b64decode(f"{topic_id}==").hex()
    return digits if int(digits, 16) else ""


def count_partitions(admin: AdminClient, topics: Collection[str]) -> dict[str, int]:
    """Return how many partitions each of the topics has; a topic that does not exist is left out.

    The counts are of one moment: none of them is older than another.

    Raises:
        BrokerError: The cluster does not answer.
    """
    known = {name: topic for name, topic in metadata(admin).topics.items() if topic.error is None}
    return {topic: len(known[topic].partitions) for topic in topics if topic in known}


def missing_topics(admin: AdminClient, topics: Collection[str]) -> list[str]:
    """Return those of the topics that the cluster does not have.

    Raises:
        AuthorizationError: The cluster does not tell this client of one of them.
        BrokerError: The cluster does not answer.
    """
    counts = count_partitions(admin, topics)
    missing = [topic for topic in topics if topic not in counts]
    if missing:
        require_visible(admin, missing)
    return missing


def message_limit(admin: AdminClient, topics: Collection[str]) -> int | None:
    """Return how large a batch of records, in bytes, all of the topics take; None where it is not told.

    Raises:
        BrokerError: The cluster does not answer, or has not all of the topics.
    """
    try:
        settings = settings_of(admin, topics)
    except AuthorizationError as error:
        _log.info("the size of messages is not checked beforehand", extra={"reason": str(error)})
        return None
    return None if settings is None else min(int(each["max.message.bytes"]) for each in settings.values())


def require_visible(admin: AdminClient, topics: Collection[str]) -> None:
    """Raise where a topic is not missing but hidden: the list of all topics leaves both out."""
    if not has_controller(admin):
        return
    pending = admin.describe_topics(TopicCollection(list(topics)), request_timeout=REQUEST_TIMEOUT_S)
    for name, error in failures(pending):
        if error.code() in AUTHORIZATION:
            raise failure(error, f"topic {name} is hidden", right="grant Describe on it")


def writable_partitions(admin: AdminClient, partitions: Collection[Partition]) -> set[Partition]:
    """Return those that have a leader, and as many replicas in sync as a write needs.

    Raises:
        BrokerError: The cluster does not answer.
    """
    known = metadata(admin).topics
    try:
        needed = settings_of(admin, {topic for topic, _ in partitions}) or {}
    except AuthorizationError:
        # One replica is needed at least; whoever writes too early is refused once more.
        needed = {}
    writable = set()
    for topic, index in partitions:
        partition = known[topic].partitions.get(index) if topic in known else None
        least = int(needed.get(topic, {}).get("min.insync.replicas", "1"))
        if partition is not None and partition.leader >= 0 and len(partition.isrs) >= least:
            writable.add((topic, index))
    return writable
