"""Log offsets of partitions (beginning, end, last stable offset), fetched in the background."""

import logging
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from driftgauge.core.partition import Partition, name_partitions
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.shared_admin import SharedAdmin

__all__ = ["LogOffsets"]

_log = logging.getLogger(__name__)


class LogOffsets:
    """Fetches one log offset of each partition without blocking the consumer loop.

    The consumer's cached high watermark is as old as the last fetch: a consumer that has stopped fetching
    would mistake its own pause for an idle partition.
    """

    def __init__(
        self,
        admin: SharedAdmin,
        *,
        earliest: bool = False,
        stable: bool = False,
        slow: set[Partition] | None = None,
    ) -> None:
        """Fetch end offsets unless told otherwise.

        Args:
            admin: The client that sends the requests.
            earliest: Fetch beginning offsets instead.
            stable: Fetch last stable offsets: the ends before the first open transaction.
            slow: The partitions that did not answer the last time; kept up to date.
        """
        self._admin = admin
        self._spec: OffsetSpec = OffsetSpec.earliest() if earliest else OffsetSpec.latest()  # type: ignore[no-untyped-call]
        self._isolation = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        self._pending: dict[Partition, Future[Any]] = {}
        # A leaderless partition delays the answer to its whole request, so partitions without an answer
        # the last time go into a request of their own.
        self._slow: set[Partition] = set() if slow is None else slow

    def request(self, partitions: Iterable[Partition]) -> set[Partition]:
        """Request the offsets of the partitions without a pending answer; return these partitions."""
        wanted = set(partitions) - self._pending.keys()
        for group in (wanted - self._slow, wanted & self._slow):
            if group:
                names = {TopicPartition(*partition): partition for partition in group}
                requested = self._admin.client.list_offsets(
                    dict.fromkeys(names, self._spec),
                    isolation_level=self._isolation,
                    request_timeout=REQUEST_TIMEOUT_S,
                )
                self._pending |= {names[partition]: future for partition, future in requested.items()}
        return wanted

    def collect(self) -> dict[Partition, int] | None:
        """Return the offsets; None while an answer is pending, other than for slow partitions.

        Partitions whose request failed are left out.
        """
        if not all(future.done() for at, future in self._pending.items() if at not in self._slow):
            return None
        answered = {at: future for at, future in self._pending.items() if future.done()}
        offsets = {}
        unknown = {}
        for partition, future in answered.items():
            del self._pending[partition]
            try:
                offset = future.result().offset
            except KafkaException as error:
                unknown[partition] = error.args[0].str()
            else:
                # librdkafka returns a negative offset after a pause longer than the request timeout, and
                # for a partition without a leader.
                if offset < 0:
                    unknown[partition] = "no answer in time"
                else:
                    offsets[partition] = offset
        # During an outage a request fails every second, so only new failures are logged.
        if unknown.keys() - self._slow:
            _log.warning(
                "Kafka does not tell the offsets of some partitions; they are asked for again",
                extra={
                    "partitions": name_partitions(unknown),
                    "error": next(iter(unknown.values())),
                    "consequence": "a partition or shard that is being started waits; others continue",
                    "remedy": "check the partitions' leaders, and this client's right to Describe",
                },
            )
        self._slow.difference_update(offsets)
        self._slow.update(unknown)
        if unknown:
            self._admin.renew()
        return offsets
