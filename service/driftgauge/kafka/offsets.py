"""Where partitions begin and end, asked for in the background."""

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
    """Asks for one offset of each partition, without holding up the reader.

    The consumer's cached high watermark would not do: it is as old as the last fetch, and a reader
    that has stopped fetching would take its own standstill for the partition's silence.
    """

    def __init__(self, admin: SharedAdmin, *, earliest: bool = False, stable: bool = False) -> None:
        """Ask for where partitions end.

        Args:
            admin: The client to ask through.
            earliest: Where they begin, rather.
            stable: The end before the first transaction that is still open.
        """
        self._admin = admin
        self._spec: OffsetSpec = OffsetSpec.earliest() if earliest else OffsetSpec.latest()  # type: ignore[no-untyped-call]
        self._isolation = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        self._pending: dict[Partition, Future[Any]] = {}
        # Without an answer the last time. One leaderless partition holds up the answer to all that is
        # asked with it, so these are asked for apart.
        self._slow: set[Partition] = set()

    def request(self, partitions: Iterable[Partition]) -> set[Partition]:
        """Ask for these partitions but for those that are still to be answered; return what was asked for."""
        wanted = set(partitions) - self._pending.keys()
        for group in (wanted - self._slow, wanted & self._slow):
            if group:
                names = {TopicPartition(*partition): partition for partition in group}
                asked = self._admin.client.list_offsets(
                    dict.fromkeys(names, self._spec),
                    isolation_level=self._isolation,
                    request_timeout=REQUEST_TIMEOUT_S,
                )
                self._pending |= {names[partition]: future for partition, future in asked.items()}
        return wanted

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Want no answer for these any more."""
        for partition in partitions:
            self._pending.pop(partition, None)

    def collect(self) -> dict[Partition, int] | None:
        """Return the answers; None while one is still to come that is not slow already.

        A partition may be without one.
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
                # So librdkafka answers a process that was paused for longer than the request's timeout,
                # and of a partition without a leader.
                if offset < 0:
                    unknown[partition] = "no answer in time"
                else:
                    offsets[partition] = offset
        # Said once: during an outage it is asked for, in vain, every second.
        if unknown.keys() - self._slow:
            _log.warning(
                "offsets unknown",
                extra={"partitions": name_partitions(unknown), "error": next(iter(unknown.values()))},
            )
        self._slow = (self._slow - offsets.keys()) | unknown.keys()
        if unknown:
            self._admin.renew()
        return offsets
