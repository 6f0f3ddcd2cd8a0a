"""A fake producer that records sent events."""

from collections import deque

from confluent_kafka import KafkaError


class RecordingProducer:
    """Records sent events, and fails as configured.

    Attributes:
        sent: The topic and value of each produced record.
        full: The number of calls of `produce` that find the queue full.
        unsent: The number of unsent records that `flush` returns.
        refusal: The error of each delivery report.
        fault: The exception that `produce` raises.
        polled_s: The timeout of each call of `poll`.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None]] = []
        self.full = 0
        self.unsent = 0
        self.refusal: KafkaError | None = None
        self.fault: Exception | None = None
        self.polled_s: list[float] = []
        self._undelivered: deque = deque()

    def produce(self, topic, value=None, key=None, partition=-1, on_delivery=None) -> None:
        if self.fault is not None:
            raise self.fault
        if self.full:
            self.full -= 1
            raise BufferError
        self.sent.append((topic, value))
        self._undelivered.append(on_delivery)

    def poll(self, timeout_s: float) -> int:
        self.polled_s.append(timeout_s)
        return 0

    def flush(self, timeout_s: float) -> int:
        while self._undelivered:
            self._undelivered.popleft()(self.refusal, None)
        return self.unsent
