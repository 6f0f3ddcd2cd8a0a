"""Logs: one line per message on standard error, as JSON or for the eye."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

__all__ = ["JsonFormatter", "TextFormatter", "configure_logging", "count_messages"]

_STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def _time(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD_FIELDS}


class JsonFormatter(logging.Formatter):
    """A JSON object per line: ts, level, event, logger, what the message carries, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one message."""
        line = {
            "ts": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Time, level, event and what the message carries; an exception's traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line or lines of one message."""
        carried = [f"{name}={value}" for name, value in _extra(record).items()]
        line = " ".join([_time(record), f"{record.levelname:<8}", record.getMessage(), *carried])
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


class _Tally(logging.Handler):
    def __init__(self, logged: Callable[[int], None]) -> None:
        super().__init__()
        self._logged = logged

    def emit(self, record: logging.LogRecord) -> None:
        self._logged(record.levelno)


def configure_logging(*, as_json: bool) -> None:
    """Log to standard error from level INFO, and nowhere else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def count_messages(logged: Callable[[int], None]) -> None:
    """Call `logged` with the level of every message that is logged from now on."""
    logging.getLogger().addHandler(_Tally(logged))
