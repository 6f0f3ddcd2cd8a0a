"""The events that could not be used, written on to their topic with the reason."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import Message

from driftgauge.errors import TransactionAborted
from driftgauge.events.rejection import Rejection
from driftgauge.kafka.transaction import ANY, Headers, Transaction

__all__ = ["DeadLetters"]

_log = logging.getLogger(__name__)

# A record's own frame, and what the headers say about it, in bytes; generously.
_FRAME_BYTES = 2_000
# So much is held back at most before it should be committed.
_MAX_HELD_BYTES = 16 * 1024 * 1024


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


class DeadLetters:
    """Holds rejected records until the commit, which writes them.

    A transaction is open for milliseconds then, which is as long as whoever reads or takes over must wait
    for a replica that dies, and as long as one can be lost.
    """

    def __init__(self, transaction: Transaction, topic: str, max_bytes: int) -> None:
        self._transaction = transaction
        self._topic = topic
        self._max_bytes = max_bytes
        self._largest_bytes = 0  # of a letter since the last commit
        self._held: list[tuple[Message, Rejection]] = []
        self._held_bytes = 0

    def __len__(self) -> int:
        """How many are held."""
        return len(self._held)

    @property
    def is_full(self) -> bool:
        """So much is held back that it should be committed at once."""
        return self._held_bytes >= _MAX_HELD_BYTES

    def add(self, messages: Sequence[Message], rejections: Sequence[Rejection]) -> None:
        """Hold rejected ones of some messages back."""
        for rejection in rejections:
            message = messages[rejection.row]
            self._held.append((message, rejection))
            # The headers are left out: to read them is dear, and may fail.
            self._held_bytes += _FRAME_BYTES + len(message.key() or b"") + len(message.value() or b"")

    def write(self) -> None:
        """Write what is held into the transaction."""
        for message, rejection in self._held:
            self._write(message, rejection)

    def drop(self) -> None:
        """Forget what is held: it was committed, or is read again."""
        self._held, self._held_bytes, self._largest_bytes = [], 0, 0

    def handle_abort(self, error: TransactionAborted) -> None:
        """Write smaller letters from now on where the topic has refused one for its size."""
        if any(topic == self._topic for topic, _ in error.too_large):
            self._max_bytes = self._largest_bytes // 2

    def _write(self, message: Message, rejection: Rejection) -> None:
        """Write a rejected record on, its key and bytes untouched, the reason and source as headers.

        Where it is more than the topic takes, these headers alone are written, and one that says
        so. The record still stands in its own topic; as an error it would end every run again.
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
        if letter.size + _FRAME_BYTES > self._max_bytes or not self._send(letter):
            self._send(_cut(letter))

    def _send(self, letter: _DeadLetter) -> bool:
        self._largest_bytes = max(self._largest_bytes, letter.size)
        headers = [*letter.headers, *letter.about]
        return self._transaction.produce(self._topic, ANY, letter.key, letter.value, headers)


def _cut(letter: _DeadLetter) -> _DeadLetter:
    """Return the letter without its content, with a header that says so."""
    omitted = f"{letter.size} bytes of key, value and headers"
    about = {name: value.decode() for name, value in letter.about}
    _log.warning("dead letter cut, for it is too large for its topic", extra={"omitted": omitted, **about})
    return _DeadLetter(None, None, [], [*letter.about, ("driftgauge.omitted", omitted.encode())])
