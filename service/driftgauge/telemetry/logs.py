"""Logging to standard error: JSON, or text for a terminal."""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

__all__ = ["JsonFormatter", "TextFormatter", "configure_logging", "count_messages", "end_process"]

_log = logging.getLogger(__name__)

_LOG_S: Final = 2.0

_STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def _format_time(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _extra_fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD_FIELDS}


class JsonFormatter(logging.Formatter):
    """Formats a message as one line of JSON: ts, level, event, logger, the extra fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one message."""
        line = {
            "ts": _format_time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **_extra_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Formats a message as text: time, level, event, the extra fields; a traceback follows below."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of one message, with its traceback."""
        fields = [f"{name}={value}" for name, value in _extra_fields(record).items()]
        line = " ".join([_format_time(record), f"{record.levelname:<8}", record.getMessage(), *fields])
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


class _LevelCounter(logging.Handler):
    def __init__(self, count: Callable[[int], None]) -> None:
        super().__init__()
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        self._count(record.levelno)


def configure_logging(*, as_json: bool) -> None:
    """Log messages of level INFO and above to standard error only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def count_messages(count: Callable[[int], None]) -> None:
    """Call `count` with the level of every message logged from now on."""
    logging.getLogger().addHandler(_LevelCounter(count))


def end_process(why: str, *, remedy: str, **fields: object) -> NoReturn:
    """Log why, and end the process with status 1 without waiting for anything, not even for the log."""
    timer = threading.Timer(_LOG_S, os._exit, [1])
    timer.daemon = True
    timer.start()
    # Where nobody reads standard error, this waits.
    _log.critical(why, extra={**fields, "remedy": remedy})
    os._exit(1)
