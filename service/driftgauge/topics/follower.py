"""The follower of a topic that the page shows: the records of the last weeks, and later ones as they come."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import wait
from typing import Final

from confluent_kafka import OFFSET_END, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from driftgauge.clock import Clock
from driftgauge.errors import BrokerError, ServiceError
from driftgauge.kafka import client
from driftgauge.kafka.calls import CLIENT_ERROR_REMEDY, in_thread
from driftgauge.kafka.client import KafkaProperties
from driftgauge.kafka.cluster import count_partitions, require_visible
from driftgauge.kafka.intake import sort_messages
from driftgauge.kafka.login import Login, LoginWatch
from driftgauge.kafka.rights import connection
from driftgauge.telemetry.logs import RepeatLimit
from driftgauge.topics.topic_log import TopicLog
from driftgauge.watchdog import Pulse

__all__ = ["BOUNDS", "TopicFollower"]

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
"""The bounds of this follower's consumer."""

# One fetch at a time, so the last of these waits for the others. The rest of the HTTP server's 12 threads
# stay free for /metrics while the brokers do not answer.
_MOST_FETCHES: Final = 8
# A value of 20 clusters takes 5 kB.
_KEPT_BYTES: Final = 4_000_000


def _kind(line: logging.LogRecord) -> object:
    """Return the topic of a line about a record: whoever writes other records to it writes many."""
    return line.__dict__["topic"] if hasattr(line, "offset") else None


_log.addFilter(RepeatLimit(_kind))


class TopicFollower:
    """Reads a topic, such as that of window results, in a thread of its own, without a consumer group.

    The thread goes on through outages. Each replica reads all records, so each shows all streams. Other
    threads may fetch single records.

    Attributes:
        topic: The topic.
        error: Why the topic cannot be read at the moment; None if it can be.
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
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        # The values of the newest records, which people look at most, by partition and offset.
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._kept_bytes = 0
        self._free = threading.BoundedSemaphore(_MOST_FETCHES)
        self._fetching = threading.Lock()
        self._fetched: TopicLog | None = None

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
        with self._fetching:
            self._end_fetching()

    def fetch(self, partition: int, offset: int) -> bytes | None:
        """Return the value of a record; None if the topic no longer holds it.

        While the topic cannot be read, only the values in memory are returned, and nothing waits.

        Raises:
            BrokerError: The record cannot be read now, or too many others are being read.
            AuthorizationError: The cluster does not let this client read.
        """
        if (value := self._kept.get((partition, offset))) is not None:
            return value
        if (error := self.error) is not None:
            raise BrokerError(error)
        if not self._free.acquire(blocking=False):
            message = (
                f"{self.topic}[{partition}]@{offset} is not read now: {_MOST_FETCHES} other reads wait for "
                "the brokers; try again, and check the brokers if this repeats"
            )
            raise BrokerError(message)
        try:
            with self._fetching:
                self._fetched = self._fetched or TopicLog(self._login.properties(), self.topic, goes_on=True)
                try:
                    return self._fetched.value(partition, offset)
                except BaseException:
                    self._end_fetching()
                    raise
        finally:
            self._free.release()

    def _end_fetching(self) -> None:
        if self._fetched is not None:
            self._fetched.close()
            self._fetched = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                watch = LoginWatch(self._login, self._clock)
                properties = {**self._login.properties(), **BOUNDS}
                admin = client.admin(properties, on_error=self._errors.append)
                pulse = Pulse(f"the reader of {self.topic}", self._clock.monotonic_s)
                log = TopicLog(properties, self.topic, pulse.beat, goes_on=True)
                try:
                    self._follow(log, admin, watch, pulse)
                finally:
                    # The close of a dead client may never return.
                    wait([in_thread(log.close)], _CLOSE_S)
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

    def _follow(self, log: TopicLog, admin: AdminClient, login: LoginWatch, pulse: Pulse) -> None:
        """Read until the follower stops, or the login needs a new client."""
        refresh_s = self._clock.monotonic_s()
        partitions = 0
        assigned: set[int] = set()
        self._at_end.clear()
        while not (self._stopping.is_set() or login.needs_new_clients()):
            now_s = self._clock.monotonic_s()
            if now_s >= refresh_s:
                found = self._count_partitions(admin)
                if found < partitions:
                    self._positions.clear()
                    message = f"the topic {self.topic} was deleted; it is read again once it exists"
                    raise BrokerError(message)
                partitions = found
                if missing := set(range(found)) - assigned:
                    assigned |= self._assign(log, missing)
                refresh_s = now_s + (_REFRESH_S if found else _PAUSE_S)
            polled = sort_messages(log.consumer.consume(_BATCH, _POLL_S))
            pulse.check()
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
        """Return the number of partitions; 0 if the topic does not exist yet."""
        with connection(admin, self._errors):
            self._on_refresh(admin)
            found = count_partitions(admin, [self.topic]).get(self.topic, 0)
            if not found:
                require_visible(admin, [self.topic])
        if not found:
            self.error = f"topic {self.topic} does not exist yet"
        return found

    def _assign(self, log: TopicLog, partitions: set[int]) -> set[int]:
        """Begin to read partitions where this follower stopped, or at the first record of the history.

        Return those that are read now: a partition without a leader does not keep the others waiting.
        """
        starts, error = log.offsets_at(self._since_ms, sorted(partitions))
        # Without a record so young, a partition is read from its end.
        starts = {index: start if start >= 0 else OFFSET_END for index, start in starts.items()} | {
            index: position for index, position in self._positions.items() if index in partitions
        }
        log.consumer.incremental_assign(
            [TopicPartition(self.topic, index, start) for index, start in starts.items()]
        )
        if error is not None and starts.keys() != partitions:
            self._fail(error)
        return set(starts)

    def _take(self, record: Message) -> None:
        at, value = (record.partition() or 0, record.offset() or 0), record.value()
        self._positions[at[0]] = at[1] + 1
        try:
            self._receive(record)
        except ValueError as error:
            _log.warning(
                "a record is not shown",
                extra={
                    "topic": self.topic,
                    "partition": at[0],
                    "offset": at[1],
                    "error": str(error),
                    "remedy": "let nothing but driftgauge write to this topic",
                },
            )
            return
        if value is not None:
            self._kept_bytes += len(value) - len(self._kept.pop(at, b""))
            self._kept[at] = value
            while self._kept_bytes > _KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
