"""librdkafka's log: rate-limits repeated lines, and detects lost connections."""

import logging
import re
from collections.abc import Callable
from typing import Protocol

from confluent_kafka import KafkaError

from driftgauge.telemetry.logs import RepeatLimit

__all__ = ["LIBRDKAFKA", "ClientLogger", "LostConnections"]


_INSTANCE = re.compile(r"(#[a-z]+)-\d+")


def _kind(record: logging.LogRecord) -> str:
    """Return what makes a line the same as another, because librdkafka repeats it while a broker is down.

    Lines of one kind about one broker are the same, whichever client writes them and whatever times and
    numbers their text has: an outage makes new clients every few seconds.
    """
    return _INSTANCE.sub(r"\1", " ".join(record.getMessage().split(" ", 3)[:3]))


LIBRDKAFKA = logging.getLogger("librdkafka")
"""The logger of all clients' lines."""

LIBRDKAFKA.addFilter(RepeatLimit(_kind))


class ClientLogger(Protocol):
    """A receiver of a client's log lines."""

    def log(self, level: int, message: str, /, *arguments: object) -> None:
        """Receive a line."""


class LostConnections:
    """A logger that reports lost connections.

    librdkafka repeats a request whose connection was lost, and calls the error callback only if it cannot
    reconnect. Only its log reports the loss of a working connection (state UP).
    """

    def __init__(self, on_error: Callable[[KafkaError], None]) -> None:
        self._on_error = on_error

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Log a line; report a lost connection in it."""
        line = message % arguments if arguments else message
        if line.startswith("FAIL ") and "in state UP" in line:
            self._on_error(KafkaError(KafkaError._TRANSPORT, line))
        LIBRDKAFKA.log(level, "%s", line)
