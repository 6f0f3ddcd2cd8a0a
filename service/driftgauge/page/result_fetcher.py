"""Single records of the topic of window results, by their offsets."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from driftgauge.clock import Clock
from driftgauge.errors import BrokerError
from driftgauge.kafka import client
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.intake import sort_messages
from driftgauge.kafka.login import Login
from driftgauge.kafka.metadata import failure

__all__ = ["ResultFetcher"]

_POLL_S = 0.2
# A record arrives within a round trip, or its broker is away.
_FETCH_S: Final = 5.0
# One read at a time, so the last of these waits for the others. The rest of the HTTP server's 12 threads stay
# free for /metrics while the brokers do not answer.
_MOST_FETCHES: Final = 8
# A value of 20 clusters takes 5 kB.
_KEPT_BYTES = 4_000_000


class ResultFetcher:
    """Reads records by their offsets, without a consumer group; several threads may ask."""

    def __init__(self, login: Login, topic: str, clock: Clock) -> None:
        """Read records of a topic; the first read connects."""
        self._login = login
        self._topic = topic
        self._clock = clock
        # The values of the newest records, which people look at most, by partition and offset.
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._kept_bytes = 0
        self._free = threading.BoundedSemaphore(_MOST_FETCHES)
        self._fetching = threading.Lock()
        self._consumer: Consumer | None = None

    def keep(self, partition: int, offset: int, value: bytes) -> None:
        """Keep a value that was read otherwise, as one of the newest; one thread does so."""
        self._kept_bytes += len(value) - len(self._kept.pop((partition, offset), b""))
        self._kept[partition, offset] = value
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def kept(self, partition: int, offset: int) -> bytes | None:
        """Return the value of a record that is kept; None where it would have to be read."""
        return self._kept.get((partition, offset))

    def fetch(self, partition: int, offset: int) -> bytes | None:
        """Return the value of a record; None where the topic no longer holds it.

        Raises:
            BrokerError: The record cannot be read now, or too many others are being read.
            AuthorizationError: The cluster does not let this client read.
        """
        if (value := self.kept(partition, offset)) is not None:
            return value
        with self._turn(partition, offset):
            try:
                return self._fetch(partition, offset)
            except BaseException:
                self._close()
                raise

    def close(self) -> None:
        """Close the client."""
        with self._fetching:
            self._close()

    @contextmanager
    def _turn(self, partition: int, offset: int) -> Iterator[None]:
        """Wait until this thread may use the client; raise BrokerError at once if too many wait."""
        if not self._free.acquire(blocking=False):
            message = (
                f"{self._topic}[{partition}]@{offset} is not read now: {_MOST_FETCHES} other reads wait for "
                "the brokers; try again, and check the brokers if this repeats"
            )
            raise BrokerError(message)
        try:
            with self._fetching:
                yield
        finally:
            self._free.release()

    def _fetch(self, partition: int, offset: int) -> bytes | None:
        at = TopicPartition(self._topic, partition, offset)
        try:
            if self._consumer is None:
                self._consumer = client.range_consumer(self._login.properties())
            first, end = self._consumer.get_watermark_offsets(at, timeout=REQUEST_TIMEOUT_S)
        except KafkaException as error:
            raise failure(error.args[0], f"{self._topic}[{partition}]@{offset} cannot be read") from error
        if not first <= offset < end:
            return None
        self._consumer.assign([at])
        # Nothing is delivered where compaction removed the record, and all after it.
        until_s = self._clock.monotonic_s() + _FETCH_S
        while self._clock.monotonic_s() < until_s:
            polled = sort_messages(self._consumer.consume(1, _POLL_S))
            if polled.records:
                record = polled.records[0]
                return record.value() if record.offset() == offset else None
            if polled.lost or polled.ends:
                return None
        message = f"{self._topic}[{partition}]@{offset} was not read within {_FETCH_S:g} s; check the brokers"
        raise BrokerError(message)

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
