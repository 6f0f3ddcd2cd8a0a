"""The log of a command that runs once: warnings as its messages, and after an error what the clients said."""

import logging
from collections import deque
from typing import Final

__all__ = ["CommandLog"]

# Of a failed connection the command's error says as much, or nearly.
_OF_CLIENTS: Final = ("librdkafka", "driftgauge.kafka.schema_registry")
_MOST_LINES = 3


class CommandLog(logging.Handler):
    """Prints warnings as messages; of the clients' lines it keeps the last ones, for `explain`.

    A process that serves replaces it by the log of its configuration.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: deque[str] = deque(maxlen=_MOST_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Print or keep a line."""
        # Most commands log nothing, and these would take half of their start.
        from driftgauge.cli.printing import message
        from driftgauge.telemetry.logs import extra_fields

        fields = extra_fields(record)
        if record.name in _OF_CLIENTS:
            # librdkafka begins with the client and the thread, and ends with how long this took.
            line = str(fields.get("error", record.getMessage())).rpartition("]: ")[2].partition(" (after ")[0]
            if line not in self._kept:
                self._kept.append(line)
            return
        listed = "; ".join(f"{name}: {value}" for name, value in fields.items())
        message(f"warning: {record.getMessage()}{f' ({listed})' if listed else ''}")
        if record.exc_info:
            for line in logging.Formatter().formatException(record.exc_info).splitlines():
                message(line)

    def explain(self, error: str) -> None:
        """Print the kept lines that say more than an error does."""
        from driftgauge.cli.printing import message

        for line in self._kept:
            if line not in error:
                message(f"the client's log: {line}")
