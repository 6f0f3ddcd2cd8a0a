"""What the service writes: the state's changes, window results, and the events it could not count."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from confluent_kafka import KafkaError, Message

from driftgauge.core.result import WindowResult
from driftgauge.core.state import Change
from driftgauge.errors import StateError
from driftgauge.events.rejection import Rejection
from driftgauge.events.results import result_key, result_record
from driftgauge.events.state import encode_key, encode_value
from driftgauge.kafka.transaction import Headers, Transaction

__all__ = ["Output"]

_log = logging.getLogger(__name__)

# A record's own frame, and what the headers say about it, in bytes; generously.
_FRAME_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class _DeadLetter:
    """A rejected record, and in `about` the headers that say why and where it stands."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    about: list[tuple[str, bytes]]

    @property
    def size(self) -> int:
        """The bytes of its content."""
        parts = [self.key, self.value, *(part for header in self.headers for part in header)]
        return sum(len(part) for part in parts if part)


class Output:
    """Writes into the transaction that is open; none of it stands before the transaction does."""

    def __init__(
        self,
        transaction: Transaction,
        *,
        windows_topic: str,
        dead_letters_topic: str,
        state_topics: Mapping[str, str],
        max_letter_bytes: int,
    ) -> None:
        """Write nothing yet.

        Args:
            transaction: What is written into.
            windows_topic: Where results go.
            dead_letters_topic: Where refused records go.
            state_topics: The state topic of each events topic.
            max_letter_bytes: How large a record of the dead letters' topic may be.
        """
        self._transaction = transaction
        self._windows_topic = windows_topic
        self._dead_letters_topic = dead_letters_topic
        self._state_topics = state_topics
        self._max_letter_bytes = max_letter_bytes
        self._refused_bytes = 0  # the largest letter that the topic has refused since

    def keep(self, change: Change) -> None:
        """Write a change of a partition's state."""
        topic, index = change.partition
        self._must_take(
            self._state_topics[topic],
            encode_key(change.key),
            None if change.value is None else encode_value(change.value),
            partition=index,
        )

    def publish(self, result: WindowResult) -> None:
        """Write a window's result, keyed by stream and window."""
        self._must_take(self._windows_topic, result_key(result), result_record(result))

    def dead_letter(self, message: Message, rejection: Rejection) -> None:
        """Write a rejected record on, its key and bytes untouched, the reason and source as headers.

        Where it is more than the topic takes, these headers alone are written, and one that says
        so. The record still stands in its own topic; as an error it would end every run anew.
        """
        about = [
            ("driftgauge.reason", rejection.reason.value.encode()),
            ("driftgauge.detail", rejection.detail.encode(errors="replace")),
            ("driftgauge.topic", (message.topic() or "").encode()),
            ("driftgauge.partition", str(message.partition()).encode()),
            ("driftgauge.offset", str(message.offset()).encode()),
        ]
        try:
            headers: Headers = [*(message.headers() or [])]
        except SystemError:
            # So the client fails on a name that is not UTF-8, which brokers accept.
            headers = []
            about.append(("driftgauge.omitted", b"the headers, for a name among them is not UTF-8"))
        letter = _DeadLetter(message.key(), message.value(), headers, about)
        if self._refused_bytes:
            # The topic takes less than was known. Its transaction failed, and is being written again.
            self._max_letter_bytes, self._refused_bytes = self._refused_bytes // 2, 0
        if letter.size + _FRAME_BYTES > self._max_letter_bytes or not self._send(letter):
            self._send(_cut(letter))

    def _must_take(self, topic: str, key: bytes, value: bytes | None, *, partition: int = -1) -> None:
        """Write a record that cannot be done without.

        Raises:
            StateError: It is too large.
        """
        if not self._transaction.produce(topic, partition=partition, key=key, value=value):
            message = (
                f"a record of {len(value or b''):,} bytes for topic {topic} is too large for the client; "
                "raise message.max.bytes under kafka, and max.message.bytes of the topic"
            )
            raise StateError(message)

    def _send(self, letter: _DeadLetter) -> bool:
        return self._transaction.produce(
            self._dead_letters_topic,
            key=letter.key,
            value=letter.value,
            headers=[*letter.headers, *letter.about],
            on_delivery=partial(self._delivered, letter.size),
        )

    def _delivered(self, size: int, error: KafkaError | None, _: Message) -> None:
        if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._refused_bytes = max(self._refused_bytes, size)


def _cut(letter: _DeadLetter) -> _DeadLetter:
    """Return the letter without its content, with a header that says so."""
    omitted = f"{letter.size} bytes of key, value and headers"
    about = {name: value.decode() for name, value in letter.about}
    _log.warning("dead letter cut, for it is too large for its topic", extra={"omitted": omitted, **about})
    return _DeadLetter(None, None, [], [*letter.about, ("driftgauge.omitted", omitted.encode())])
