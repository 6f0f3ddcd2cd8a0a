"""What the service writes: window results, and the events it could not count."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from driftgauge.core.result import WindowResult
from driftgauge.errors import BrokerError
from driftgauge.events.rejection import Rejection
from driftgauge.events.results import result_key, result_record

__all__ = ["Output"]

_log = logging.getLogger(__name__)

# A full queue is waited on this often, a second each, before the broker counts as lost.
_QUEUE_ATTEMPTS = 60

_Headers = list[tuple[str, str | bytes | None]]
_OnDelivery = Callable[[KafkaError | None, Message], None]


class _Attempt(Enum):
    """How a dead letter is sent; each that is too large for the topic is followed by the next."""

    BATCHED = auto()
    ALONE = auto()
    CUT = auto()


@dataclass(frozen=True, slots=True)
class _DeadLetter:
    """A rejected record, and in `about` the headers that say why and where it stands."""

    key: bytes | None
    value: bytes | None
    headers: _Headers
    about: list[tuple[str, bytes]]
    attempt: _Attempt = _Attempt.BATCHED


class Output:
    """Writes results and dead letters; `flush` tells when all of it is safely kept."""

    def __init__(self, producer: Producer, *, windows_topic: str, dead_letters_topic: str) -> None:
        self._producer = producer
        self._windows_topic = windows_topic
        self._dead_letters_topic = dead_letters_topic
        self._failure: KafkaError | None = None
        self._too_large: list[_DeadLetter] = []

    def publish(self, result: WindowResult) -> None:
        """Write a window's result, keyed by stream and window.

        Raises:
            BrokerError: The broker has taken nothing for a minute, or refuses it.
        """
        refusal = self._produce(
            self._windows_topic,
            key=result_key(result),
            value=result_record(result),
            headers=[],
            on_delivery=self._delivered,
        )
        if refusal is not None:
            raise _not_taken(self._windows_topic, refusal)

    def dead_letter(self, message: Message, rejection: Rejection) -> None:
        """Write a rejected record on, its key and bytes untouched, the reason and source as headers.

        Where it is more than the topic takes, `flush` writes these headers alone, and one that says
        so. The record still stands in its own topic; as an error it would end every run anew.

        Raises:
            BrokerError: The broker has taken nothing for a minute, or refuses it.
        """
        about = [
            ("driftgauge.reason", rejection.reason.value.encode()),
            ("driftgauge.detail", rejection.detail.encode(errors="replace")),
            ("driftgauge.topic", (message.topic() or "").encode()),
            ("driftgauge.partition", str(message.partition()).encode()),
            ("driftgauge.offset", str(message.offset()).encode()),
        ]
        try:
            headers: _Headers = [*(message.headers() or [])]
        except SystemError:
            # So the client fails on a name that is not UTF-8, which brokers accept.
            headers = []
            about.append(("driftgauge.omitted", b"the headers, for a name among them is not UTF-8"))
        self._send(_DeadLetter(message.key(), message.value(), headers, about))

    def flush(self, timeout_s: float) -> bool:
        """Wait for the broker to keep everything written; False if it has not in time.

        Raises:
            BrokerError: The broker refused a record for good.
        """
        remaining = self._producer.flush(timeout_s)
        while remaining == 0 and self._too_large:
            letter = self._too_large.pop()
            # The broker refuses a batch as a whole, so a letter is tried alone before it is cut.
            batched = letter.attempt is _Attempt.BATCHED
            self._send(replace(letter, attempt=_Attempt.ALONE) if batched else _cut(letter))
            remaining = self._producer.flush(timeout_s)
        self._raise_failure()
        return remaining == 0

    def _send(self, letter: _DeadLetter) -> None:
        def is_too_large(error: KafkaError) -> bool:
            return error.code() == KafkaError.MSG_SIZE_TOO_LARGE and letter.attempt is not _Attempt.CUT

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None and is_too_large(error):
                self._too_large.append(letter)
            else:
                self._delivered(error, message)

        refusal = self._produce(
            self._dead_letters_topic,
            key=letter.key,
            value=letter.value,
            headers=[*letter.headers, *letter.about],
            on_delivery=delivered,
        )
        if refusal is not None:
            if not is_too_large(refusal):
                raise _not_taken(self._dead_letters_topic, refusal)
            self._too_large.append(replace(letter, attempt=_Attempt.ALONE))

    def _produce(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: _Headers,
        on_delivery: _OnDelivery,
    ) -> KafkaError | None:
        """Hand a record to the client; return its refusal if it does not take it."""
        for _ in range(_QUEUE_ATTEMPTS):
            self._raise_failure()
            try:
                self._producer.produce(topic, key=key, value=value, headers=headers, on_delivery=on_delivery)
            except BufferError:
                self._producer.poll(1.0)
            except KafkaException as error:
                refusal: KafkaError = error.args[0]
                return refusal
            else:
                self._producer.poll(0)
                return None
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


def _not_taken(topic: str, refusal: KafkaError) -> BrokerError:
    return BrokerError(f"topic {topic} does not take a record ({refusal.str()})")


def _cut(letter: _DeadLetter) -> _DeadLetter:
    """Return the letter without its content, with a header that says so."""
    parts = [letter.key, letter.value, *(part for header in letter.headers for part in header)]
    omitted = f"{sum(len(part) for part in parts if part)} bytes of key, value and headers"
    about = {name: value.decode() for name, value in letter.about}
    _log.warning("dead letter cut, for it is too large for its topic", extra={"omitted": omitted, **about})
    return _DeadLetter(
        None, None, [], [*letter.about, ("driftgauge.omitted", omitted.encode())], _Attempt.CUT
    )
