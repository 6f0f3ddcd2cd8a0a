"""The end offsets of partitions, asked for in the background."""

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from driftgauge.kafka.client import REQUEST_TIMEOUT_S

__all__ = ["EndOffsets"]

_log = logging.getLogger(__name__)


class EndOffsets:
    """Asks where partitions end, without holding up the reader.

    The consumer's cached high watermark would not do: it is as old as the last fetch, and a reader
    that has stopped fetching would take its own standstill for the partition's silence.
    """

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin
        self._pending: dict[int, Future[Any]] = {}

    def request(self, partitions: Mapping[int, tuple[str, int]]) -> None:
        """Ask for the ends of these partitions, code -> (topic, index); all before has been collected."""
        wanted = {TopicPartition(topic, index): code for code, (topic, index) in partitions.items()}
        if wanted:
            latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
            asked = self._admin.list_offsets(dict.fromkeys(wanted, latest), request_timeout=REQUEST_TIMEOUT_S)
            self._pending = {wanted[partition]: future for partition, future in asked.items()}

    def collect(self) -> dict[int, int] | None:
        """Return the answers, code -> end offset; None while one is still to come."""
        if not all(future.done() for future in self._pending.values()):
            return None
        asked, self._pending = self._pending, {}
        ends = {}
        for code, future in asked.items():
            try:
                ends[code] = future.result().offset
            except KafkaException as error:
                # Without an answer the partition is not idle; it is asked for again.
                _log.warning("end offset unknown", extra={"partition": code, "error": error.args[0].str()})
        return ends
