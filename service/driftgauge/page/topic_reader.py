"""The reader of a topic that the page shows: the records of the last weeks, and later ones as they come."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import wait
from typing import Final

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from driftgauge.clock import Clock
from driftgauge.errors import BrokerError, ServiceError
from driftgauge.kafka import client
from driftgauge.kafka.calls import CLIENT_ERROR_REMEDY, in_thread
from driftgauge.kafka.client import REQUEST_TIMEOUT_S, KafkaProperties
from driftgauge.kafka.intake import sort_messages
from driftgauge.kafka.login import Login, LoginWatch
from driftgauge.kafka.metadata import count_partitions, failure, require_visible
from driftgauge.kafka.rights import connection
from driftgauge.page.result_fetcher import ResultFetcher
from driftgauge.telemetry.logs import RepeatLimit
from driftgauge.watchdog import Pulse

__all__ = ["BOUNDS", "TopicReader"]

_log = logging.getLogger(__name__)
# Records may take 1 MB each.
_BATCH = 20
_POLL_S = 0.2
# How often new partitions are looked for.
_REFRESH_S: Final = 30.0
_PAUSE_S: Final = 5.0
# The thread only reads, so a shutdown may leave it in a longer call.
_STOP_S: Final = 1.0
_CLOSE_S: Final = 1.0
# A page needs less ahead than counting does; an answer of 1 MB may be ten times as much decompressed.
BOUNDS: Final[KafkaProperties] = {"queued.max.messages.kbytes": 4_096, "max.partition.fetch.bytes": 131_072}
"""The bounds of this reader's consumer."""


def _kind(line: logging.LogRecord) -> object:
    """Return the topic of a line about a record: whoever writes other records to it writes many."""
    return line.__dict__["topic"] if hasattr(line, "offset") else None


_log.addFilter(RepeatLimit(_kind))


class TopicReader:
    """Reads a topic, such as that of window results, in a thread of its own, without a consumer group.

    The thread goes on through outages. Each replica reads all records, so each shows all streams.

    Attributes:
        topic: The topic.
        error: Why the topic cannot be read at the moment; None where it can be.
        has_caught_up: Whether everything that the topic held at the start has been read.
    """

    def __init__(
        self,
        login: Login,
        topic: str,
        receive: Callable[[Message], None],
        clock: Clock,
        *,
        history_ms: int,
        on_refresh: Callable[[AdminClient], None] = lambda _: None,
    ) -> None:
        """Read records that are at most `history_ms` old at the start, and all later ones.

        `receive` takes them, partition by partition in the order of their offsets. It raises ValueError for
        one that the topic should not hold. `on_refresh` may ask the brokers for more, every 30 s.
        """
        self.topic = topic
        self.error: str | None = None
        self.has_caught_up = False
        self._login = login
        self._receive = receive
        self._on_refresh = on_refresh
        self._clock = clock
        self._since_ms = max(clock.wall_ms() - history_ms, 0)
        self._positions: dict[int, int] = {}
        self._at_end: set[int] = set()
        self._failing: type[Exception] | None = None
        self._errors: list[KafkaError] = []  # of the connections of the client that asks for the topic
        self._fetcher = ResultFetcher(login, topic, clock)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs; an error of the topic or of a record does not end it."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, and close the clients."""
        self._stopping.set()
        self._thread.join(_STOP_S)
        self._fetcher.close()

    def fetch(self, partition: int, offset: int) -> bytes | None:
        """Return the value of a record; None where the topic no longer holds it.

        While the topic cannot be read, only the values in memory are returned, and nothing waits.

        Raises:
            BrokerError: The record cannot be read now.
            AuthorizationError: The cluster does not let this client read.
        """
        if (error := self.error) is not None:
            if (value := self._fetcher.kept(partition, offset)) is None:
                raise BrokerError(error)
            return value
        return self._fetcher.fetch(partition, offset)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                watch = LoginWatch(self._login, self._clock)
                properties = {**self._login.properties(), **BOUNDS}
                admin = client.admin(properties, on_error=self._errors.append)
                pulse = Pulse(f"the reader of {self.topic}", self._clock.monotonic_s)
                consumer = client.groupless_consumer(properties, pulse.beat)
                try:
                    self._read(consumer, admin, watch, pulse)
                finally:
                    # The close of a dead client may never return.
                    wait([in_thread(consumer.close)], _CLOSE_S)
            except Exception as error:  # noqa: BLE001 - the thread goes on, or the page would grow old unseen
                self._fail(error)
                self._stopping.wait(_PAUSE_S)

    def _fail(self, error: Exception) -> None:
        """Set the error; log the first error of its kind since the last record."""
        # A missing right may last for days, and the partition in its text changes.
        lasts = type(error) is self._failing
        self._failing = type(error)
        is_expected = isinstance(error, ServiceError | KafkaException)
        what, remedy = str(error), CLIENT_ERROR_REMEDY
        if not is_expected:
            what = f"the reader of {self.topic} failed: {error!r}; it is read again"
            remedy = "none if it happens once; else report the traceback"
        self.error = what
        if not lasts:
            _log.warning(
                "the page cannot read a topic; it tries again",
                extra={"topic": self.topic, "error": what, "remedy": remedy},
                exc_info=None if is_expected else error,
            )

    def _read(self, consumer: Consumer, admin: AdminClient, login: LoginWatch, pulse: Pulse) -> None:
        """Read until the reader stops, or the login needs a new client."""
        refreshed_s: float | None = None
        partitions = 0
        self._at_end.clear()
        while not (self._stopping.is_set() or login.needs_new_clients()):
            now_s = self._clock.monotonic_s()
            if refreshed_s is None or now_s - refreshed_s > _REFRESH_S:
                found = self._count_partitions(admin)
                if found < partitions:
                    self._positions.clear()
                    message = f"the topic {self.topic} was deleted; it is read again once it exists"
                    raise BrokerError(message)
                if found > partitions:
                    self._assign(consumer, range(partitions, found))
                    partitions = found
                refreshed_s = now_s if found else now_s - _REFRESH_S + _PAUSE_S
            polled = sort_messages(consumer.consume(_BATCH, _POLL_S))
            pulse.check()
            if polled.lost:
                self._positions.clear()
                message = f"the log of {self.topic} was truncated; it is read again"
                raise BrokerError(message)
            for record in polled.records:
                self._take(record)
            for (_, partition), end in polled.ends.items():
                self._positions[partition] = max(self._positions.get(partition, 0), end)
                self._at_end.add(partition)
            # The first poll may return before the client reports why it cannot read: a record or an end shows
            # that it can.
            if polled.records or self._at_end:
                self.error = self._failing = None
            self.has_caught_up = self.has_caught_up or 0 < partitions <= len(self._at_end)

    def _count_partitions(self, admin: AdminClient) -> int:
        """Return the number of partitions; 0 where the topic does not exist yet."""
        with connection(admin, self._errors):
            self._on_refresh(admin)
            found = count_partitions(admin, [self.topic]).get(self.topic, 0)
            if not found:
                require_visible(admin, [self.topic])
        if not found:
            self.error = f"topic {self.topic} does not exist yet"
        return found

    def _assign(self, consumer: Consumer, partitions: range) -> None:
        """Begin to read partitions where this reader stopped, or at the first record of the history."""
        asked = [TopicPartition(self.topic, index, self._since_ms) for index in partitions]
        try:
            found = consumer.offsets_for_times(asked, timeout=REQUEST_TIMEOUT_S)
        except KafkaException as error:
            raise failure(error.args[0], f"the offsets of {self.topic} by time are unknown") from error
        for each in found:
            # Without a record so young, the offset is -1, which means the end.
            each.offset = self._positions.get(each.partition, each.offset if each.offset >= 0 else OFFSET_END)
        consumer.incremental_assign(found)

    def _take(self, record: Message) -> None:
        partition, offset, value = record.partition() or 0, record.offset() or 0, record.value()
        self._positions[partition] = offset + 1
        try:
            self._receive(record)
        except ValueError as error:
            _log.warning(
                "a record is not shown",
                extra={
                    "topic": self.topic,
                    "partition": partition,
                    "offset": offset,
                    "error": str(error),
                    "remedy": "let nothing but driftgauge write to this topic",
                },
            )
        else:
            if value is not None:
                self._fetcher.keep(partition, offset, value)
