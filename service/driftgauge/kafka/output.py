"""What the service writes: window results, and the events it could not count."""

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from driftgauge.core.result import WindowResult
from driftgauge.errors import BrokerError
from driftgauge.events.rejection import Rejection
from driftgauge.events.results import result_key, result_record

__all__ = ["Output"]

# A full queue is waited on this often, a second each, before the broker counts as lost.
_QUEUE_ATTEMPTS = 60


class Output:
    """Writes results and dead letters; `flush` tells when all of it is safely kept."""

    def __init__(self, producer: Producer, *, windows_topic: str, dead_letters_topic: str) -> None:
        self._producer = producer
        self._windows_topic = windows_topic
        self._dead_letters_topic = dead_letters_topic
        self._failure: KafkaError | None = None

    def publish(self, result: WindowResult) -> None:
        """Write a window's result, keyed by stream and window.

        Raises:
            BrokerError: The broker has taken nothing for a minute.
        """
        self._produce(self._windows_topic, key=result_key(result), value=result_record(result), headers=[])

    def dead_letter(self, message: Message, rejection: Rejection) -> None:
        """Write a rejected record on, its key and bytes untouched, the reason and source as headers.

        Raises:
            BrokerError: The broker has taken nothing for a minute.
        """
        headers: list[tuple[str, str | bytes | None]] = [
            ("driftgauge.reason", rejection.reason.value.encode()),
            ("driftgauge.detail", rejection.detail.encode(errors="replace")),
            ("driftgauge.topic", (message.topic() or "").encode()),
            ("driftgauge.partition", str(message.partition()).encode()),
            ("driftgauge.offset", str(message.offset()).encode()),
        ]
        self._produce(
            self._dead_letters_topic,
            key=message.key(),
            value=message.value(),
            headers=[*(message.headers() or []), *headers],
        )

    def flush(self, timeout_s: float) -> bool:
        """Wait for the broker to keep everything written; False if it has not in time.

        Raises:
            BrokerError: The broker refused a record for good.
        """
        remaining = self._producer.flush(timeout_s)
        self._raise_failure()
        return remaining == 0

    def _produce(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, str | bytes | None]],
    ) -> None:
        for _ in range(_QUEUE_ATTEMPTS):
            self._raise_failure()
            try:
                self._producer.produce(
                    topic, key=key, value=value, headers=headers, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(1.0)
            except KafkaException as error:
                message = f"topic {topic} does not take a record ({error.args[0].str()})"
                raise BrokerError(message) from error
            else:
                self._producer.poll(0)
                return
        message = f"the producer's queue has been full for {_QUEUE_ATTEMPTS} s; check the brokers"
        raise BrokerError(message)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            message = (
                f"a record for {self._windows_topic} or {self._dead_letters_topic} was refused "
                f"({self._failure.str()}); check the topics, their size limit and the client's rights"
            )
            raise BrokerError(message)
