"""Logging to standard error: JSON, or text for a terminal."""

import json
import logging
import sys
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from driftgauge.config import LogSettings

__all__ = [
    "JsonFormatter",
    "RepeatLimit",
    "TextFormatter",
    "adjust_logging",
    "configure_logging",
    "extra_fields",
]

_OWN_LOGGERS: Final = ("driftgauge", "librdkafka")
# Far more kinds of lines than a service writes, and a bound if texts vary without end.
_MOST_KINDS: Final = 10_000

_STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def _format_time(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def extra_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that a line has beside its message, by name."""
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
            **extra_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Formats a message as text: time, level, event, the extra fields; a traceback follows below."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of one message, with its traceback."""
        fields = [f"{name}={value}" for name, value in extra_fields(record).items()]
        line = " ".join([_format_time(record), f"{record.levelname:<8}", record.getMessage(), *fields])
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


class RepeatLimit(logging.Filter):
    """Passes one line of a kind per interval; the next one says in `left_out` how many lines it stands for.

    Attributes:
        interval_s: The interval of all limits, s; at 0 all lines pass.
    """

    interval_s: ClassVar[float] = 60.0

    def __init__(self, kind: Callable[[logging.LogRecord], Hashable | None]) -> None:
        """Limit lines by `kind`, which returns None for a line that always passes."""
        super().__init__()
        self._kind = kind
        # By kind, the time of the last line passed, s, and the number of lines left out since.
        self._passed: dict[Hashable, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is logged."""
        kind = self._kind(record)
        if kind is None:
            return True
        since_s = record.created - RepeatLimit.interval_s
        passed_s, left_out = self._passed.get(kind, (since_s, 0))
        if passed_s > since_s:
            self._passed[kind] = passed_s, left_out + 1
            return False
        if left_out:
            record.left_out = left_out
        if len(self._passed) >= _MOST_KINDS:
            self._passed.clear()
        self._passed[kind] = record.created, 0
        return True


def _kind_of_trouble(record: logging.LogRecord) -> Hashable | None:
    """Return what makes a warning or an error the same as another: all but its times and other fractions."""
    if not logging.WARNING <= record.levelno < logging.CRITICAL:
        return None
    fields = (
        f"{name}={value}" for name, value in extra_fields(record).items() if not isinstance(value, float)
    )
    return record.name, record.getMessage(), *fields


def configure_logging(*, as_json: bool) -> None:
    """Log messages of level INFO and above to standard error only, repeated ones once a minute."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    handler.addFilter(RepeatLimit(_kind_of_trouble))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def adjust_logging(settings: LogSettings) -> None:
    """Log by these settings from now on."""
    RepeatLimit.interval_s = settings.repeat_after / 1_000
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    # Below INFO libraries may log what they send, such as the credentials of a request.
    logging.getLogger().setLevel(max(level, logging.INFO))
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(level)
