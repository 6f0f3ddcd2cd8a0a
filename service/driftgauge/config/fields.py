"""The kinds of values that a configuration holds."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from driftgauge.core.durations import format_duration, parse_duration

__all__ = [
    "TOPIC",
    "CommitInterval",
    "Duration",
    "IdleTimeout",
    "PositiveDuration",
    "Section",
    "Time",
    "Topic",
    "format_time",
    "not_empty",
]

# What was not committed is counted again after a crash, and windows close that much later.
_MAX_COMMIT_INTERVAL_MS = 5_000

# Several commits of either stage, and the two seconds by which clocks may differ, must fit into it.
_MIN_IDLE_TIMEOUT_MS = 5_000


class Section(BaseModel):
    """A mapping of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


def _duration(value: object) -> int:
    if not isinstance(value, str):
        message = f"{value!r} has no unit; write a duration such as 30s, 10m, 1h or 1d"
        raise ValueError(message)
    return parse_duration(value)


def _positive_duration(value: object) -> int:
    milliseconds = _duration(value)
    if milliseconds == 0:
        message = "must be longer than zero"
        raise ValueError(message)
    return milliseconds


def _soon_enough(milliseconds: int) -> int:
    if milliseconds > _MAX_COMMIT_INTERVAL_MS:
        message = f"must not be longer than {format_duration(_MAX_COMMIT_INTERVAL_MS)}"
        raise ValueError(message)
    return milliseconds


def _long_enough(milliseconds: int) -> int:
    if milliseconds < _MIN_IDLE_TIMEOUT_MS:
        message = f"must not be shorter than {format_duration(_MIN_IDLE_TIMEOUT_MS)}"
        raise ValueError(message)
    return milliseconds


def _time(value: object) -> int:
    """Return the milliseconds since the epoch of a time, which YAML may have read already."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = f"{value} is no time with an offset, such as 2025-11-03T00:00:00Z"
        raise ValueError(message)
    return round(moment.timestamp() * 1_000)


def format_time(time_ms: int) -> str:
    """Return the RFC 3339 text, in UTC, of milliseconds since the epoch."""
    return datetime.fromtimestamp(time_ms / 1_000, UTC).isoformat()


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a list of the configuration that must name something."""
    # Not min_length: it counts the sound items, and would call a list of faulty ones empty.
    if not values:
        message = "must name at least one"
        raise ValueError(message)
    return values


_AS_TEXT = PlainSerializer(format_duration, return_type=str)
Duration = Annotated[int, BeforeValidator(_duration), _AS_TEXT]
PositiveDuration = Annotated[int, BeforeValidator(_positive_duration), _AS_TEXT]
Time = Annotated[int, BeforeValidator(_time), PlainSerializer(format_time, return_type=str)]
CommitInterval = Annotated[PositiveDuration, AfterValidator(_soon_enough)]
IdleTimeout = Annotated[PositiveDuration, AfterValidator(_long_enough)]
TOPIC = r"[A-Za-z0-9._-]{1,249}"
"""A topic's name as a regular expression."""
Topic = Annotated[str, Field(pattern=f"^{TOPIC}$")]
