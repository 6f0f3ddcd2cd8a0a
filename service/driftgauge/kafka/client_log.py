"""What librdkafka says: each complaint is logged once an interval, and lost connections are read from it."""

import logging
from collections.abc import Callable
from typing import Protocol

from confluent_kafka import KafkaError

__all__ = ["LIBRDKAFKA", "ClientLogger", "ConnectionWatch"]


class _OncePerInterval(logging.Filter):
    """Lets a complaint pass once an interval: while a broker is away librdkafka repeats it tirelessly.

    What a client says of one broker is one complaint, whatever the times and numbers in its words.
    """

    INTERVAL_S = 60.0

    def __init__(self) -> None:
        super().__init__()
        self._passed_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is to be logged."""
        complaint = " ".join(record.getMessage().split(" ", 3)[:3])
        last_s = self._passed_s.get(complaint)
        if last_s is not None and record.created - last_s < self.INTERVAL_S:
            return False
        self._passed_s[complaint] = record.created
        return True


LIBRDKAFKA = logging.getLogger("librdkafka")
"""Where the lines of all clients go."""

LIBRDKAFKA.addFilter(_OncePerInterval())


class ClientLogger(Protocol):
    """What a client's log lines are passed to."""

    def log(self, level: int, message: str, /, *arguments: object) -> None:
        """Take a line."""


class ConnectionWatch:
    """A logger that reports lost connections.

    librdkafka repeats a request whose connection was lost, and calls back only where it cannot connect
    again. Only its log reports a connection that worked and was lost, with the state UP.
    """

    def __init__(self, on_error: Callable[[KafkaError], None]) -> None:
        self._on_error = on_error

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Pass a line on to the log."""
        line = message % arguments if arguments else message
        if line.startswith("FAIL ") and "in state UP" in line:
            self._on_error(KafkaError(KafkaError._TRANSPORT, line))
        LIBRDKAFKA.log(level, "%s", line)
