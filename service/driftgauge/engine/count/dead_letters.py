"""Dead letters: rejected records, written to the dead-letter topic with the reason."""

import logging
from collections.abc import Sequence

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from driftgauge.engine.producer.transaction import ANY, Headers, Transaction, produce_or_abort
from driftgauge.errors import TransactionFailed
from driftgauge.events.rejection import Reason, Rejection
from driftgauge.records.dead_letter import FIRST_HEADER

__all__ = ["MAX_BUFFERED_BYTES", "DeadLetters"]

_log = logging.getLogger(__name__)

# Upper bound in bytes of a record's framing and the added headers: a topic's name has 249 at most, and a
# stream's 128.
_FRAME_BYTES = 2_000
# An error's text may quote a whole record.
_DETAIL_BYTES = 1_000

MAX_BUFFERED_BYTES = 16 * 1024 * 1024
"""Buffered letters beyond this size trigger a commit."""


class DeadLetters:
    """Buffers rejected records until the commit writes them.

    Writing only at the commit keeps transactions open for milliseconds: consumers and the next owner wait
    that long at most for a replica that dies.
    """

    def __init__(self, transaction: Transaction, topic: str, max_bytes: int) -> None:
        self._transaction = transaction
        self._topic = topic
        self._logged: set[tuple[str, Reason]] = set()
        self._max_bytes = max_bytes
        self._largest_bytes = 0  # of a letter since the last commit
        self._buffered: list[tuple[Message, Rejection]] = []
        self._buffered_bytes = 0

    def __len__(self) -> int:
        """The number of buffered letters."""
        return len(self._buffered)

    @property
    def is_full(self) -> bool:
        """True if the buffered letters should be committed at once."""
        return self._buffered_bytes >= MAX_BUFFERED_BYTES

    def add(self, messages: Sequence[Message], rejections: Sequence[Rejection]) -> None:
        """Buffer the rejected ones of these messages; log the first of each topic and reason."""
        for rejection in rejections:
            message = messages[rejection.row]
            kind = message.topic() or "", rejection.reason
            if kind not in self._logged:
                self._logged.add(kind)
                _log.warning(
                    "a record is refused; more of its topic and reason are counted and kept, and not logged",
                    extra={
                        "record": f"{message.topic()}[{message.partition()}]@{message.offset()}",
                        "reason": rejection.reason,
                        "detail": rejection.detail,
                        "remedy": "see the runbook DriftgaugeRecordsRejected for the causes of each reason",
                    },
                )
            self._buffered.append((message, rejection))
            # Headers are not counted, because reading them is slow and may fail.
            self._buffered_bytes += _FRAME_BYTES + len(message.key() or b"") + len(message.value() or b"")

    def write(self) -> None:
        """Write the buffered letters into the transaction."""
        for message, rejection in self._buffered:
            self._write(message, rejection)

    def clear(self) -> None:
        """Empty the buffer: its records were committed, or will be read again."""
        self._buffered, self._buffered_bytes, self._largest_bytes = [], 0, 0

    def handle_failure(self, error: TransactionFailed) -> None:
        """Halve the maximum size of letters if the topic refused one as too large."""
        if any(topic == self._topic for topic, _ in error.too_large):
            self._max_bytes = self._largest_bytes // 2

    def _write(self, message: Message, rejection: Rejection) -> None:
        """Write a rejected record with its key and value unchanged, and headers with reason and source.

        A record larger than the topic accepts is written without its content, with a header that says so: its
        source topic still holds it. A topic that does not even take that is waited for.

        Raises:
            TransactionFailed, AuthorizationError: As `produce_or_abort`.
        """
        added = [
            (FIRST_HEADER, rejection.reason.value.encode()),
            ("driftgauge.detail", _shorten(rejection.detail)),
            ("driftgauge.topic", (message.topic() or "").encode()),
            ("driftgauge.partition", str(message.partition()).encode()),
            ("driftgauge.offset", str(message.offset()).encode()),
        ]
        if rejection.stream is not None:
            added.append(("driftgauge.stream", rejection.stream.encode()))
        kind, time_ms = message.timestamp()
        if kind != TIMESTAMP_NOT_AVAILABLE:
            added.append(("driftgauge.timestamp", str(time_ms).encode()))
        try:
            headers: Headers = [*(message.headers() or [])]
        except SystemError:
            # The client fails on a header name that is not UTF-8, which brokers accept.
            headers = []
            added.append(("driftgauge.omitted", b"the headers, for a name among them is not UTF-8"))
        content = [message.key(), message.value(), *(part for header in headers for part in header)]
        size = sum(len(part) for part in content if part)
        if size + _FRAME_BYTES <= self._max_bytes and self._transaction.produce(
            self._topic, ANY, message.key(), message.value(), [*headers, *added]
        ):
            self._largest_bytes = max(self._largest_bytes, size)
            return
        omitted = f"{size} bytes of key, value and headers"
        _log.warning(
            "dead letter cut because it is too large for its topic; its source still holds the record",
            extra={
                "topic": self._topic,
                "omitted": omitted,
                **{name: value.decode() for name, value in added},
                "remedy": f"raise max.message.bytes of {self._topic}, and message.max.bytes under kafka; "
                "then restart",
            },
        )
        cut: Headers = [*added, ("driftgauge.omitted", omitted.encode())]
        produce_or_abort(self._transaction, self._topic, ANY, None, None, cut)


def _shorten(detail: str) -> bytes:
    """Return a detail as UTF-8 of at most 1,000 bytes."""
    encoded = detail.encode(errors="replace")[:_DETAIL_BYTES]
    # The cut may split a character.
    return encoded.decode(errors="ignore").encode()
