"""The delivery reports of one transaction's records."""

import math
from collections.abc import Callable

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message

from driftgauge.core.partition import Partition
from driftgauge.engine.clock_guard import Append
from driftgauge.kafka.calls import AUTHORIZATION

__all__ = ["Deliveries"]

# These errors concern the producer or its rights, not a partition; the producer's next call raises them.
_PRODUCER_ERRORS = AUTHORIZATION | {
    KafkaError._DESTROY,
    KafkaError._FATAL,
    KafkaError._FENCED,
    KafkaError._STATE,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.INVALID_TXN_STATE,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.PRODUCER_FENCED,
    KafkaError.UNKNOWN_PRODUCER_ID,
}
_PURGED = frozenset({KafkaError._PURGE_INFLIGHT, KafkaError._PURGE_QUEUE})
# A transaction has 12 s. Brokers that take records take some within this time, however slowly.
_TAKEN_WITHIN_S = 5.0
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})


class Deliveries:
    """Collects the delivery reports of one transaction.

    Attributes:
        unwritable: Partitions that did not take a record.
        too_large: Partitions whose topic refused records for their size, and the key of the largest one.
        error: The first error reported; None without one.
        append: When the first record was appended to a topic with LogAppendTime; None without one.
        taken: The number of records that brokers took.
        is_slow: Records were late, and brokers took others to the end.
    """

    def __init__(self, clock_ms: Callable[[], int], monotonic_s: Callable[[], float]) -> None:
        self._clock_ms, self._monotonic_s = clock_ms, monotonic_s
        self._taken_s = -math.inf
        self.taken = 0
        self.is_slow = False
        self._sent_ms = clock_ms()
        self._largest = 0
        self._late: set[Partition] = set()
        self._has_timed_out = False
        self.unwritable: set[Partition] = set()
        self.too_large: dict[Partition, bytes | None] = {}
        self.error: KafkaError | None = None
        self.append: Append | None = None

    @property
    def failed(self) -> bool:
        """Whether a partition refused a record, or did not take it in time.

        Records are purged as well if the producer fails, whose next call says why.
        """
        return bool(self.unwritable or self.too_large or self._has_timed_out)

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Record the delivery report of one record; the client's `on_delivery` callback."""
        partition = (message.topic() or "", message.partition() or 0)
        if error is None:
            self.taken += 1
            self._taken_s = self._monotonic_s()
            if self.append is None:
                kind, append_ms = message.timestamp()
                if kind == TIMESTAMP_LOG_APPEND_TIME:
                    self.append = Append(self._sent_ms, self._clock_ms(), append_ms)
            return
        code = error.code()
        if code in _PURGED or code == KafkaError._MSG_TIMED_OUT:
            self._late.add(partition)
            self._has_timed_out |= code not in _PURGED
            return
        self.error = self.error or error
        if code in _TOO_LARGE:
            # A broker refuses a whole batch, so the report of a smaller record may come first.
            size = len(message.value() or b"")
            if size >= self._largest:
                self._largest = size
                self.too_large[partition] = message.key()
            self.too_large.setdefault(partition, message.key())
        elif code not in _PRODUCER_ERRORS:
            self.unwritable.add(partition)

    def end(self) -> None:
        """Note that no record is waited for any longer.

        If brokers took a record of any partition within the last 5 s, there were more than they take in the
        time of a transaction, and the others waited for their turn.
        """
        self.is_slow = self._monotonic_s() - self._taken_s < _TAKEN_WITHIN_S

    def blame_late(self) -> None:
        """Mark the partitions of late records as unwritable, unless brokers are slow.

        Records are late if the client gave them up, or if the abort purged them. A record that is too large
        fails the transaction at once, before others may have been delivered.
        """
        if not (self.is_slow or self.too_large):
            self.unwritable |= self._late
