"""The types of configuration values."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from driftgauge.core.durations import format_duration, parse_duration

__all__ = [
    "NOT_EMPTY",
    "STREAM_NAME",
    "TOPIC",
    "CommitInterval",
    "Duration",
    "IdleTimeout",
    "NumberName",
    "PositiveDuration",
    "Section",
    "StreamName",
    "StreamPattern",
    "Time",
    "Topic",
    "check",
    "format_time",
    "require",
]

# After a crash, events since the last commit are counted again; windows close later by this interval.
_MAX_COMMIT_MS = 5_000

# Several commits of either stage must fit, plus the two seconds by which clocks may differ.
_MIN_IDLE_MS = 5_000


def require(holds: object, message: str) -> None:
    """Raise ValueError with this message unless a condition holds: one rule of a validator."""
    if not holds:
        raise ValueError(message)


class Section(BaseModel):
    """A mapping in the configuration.

    Attributes:
        LONG_FORM: The field that is a list, and may be written as one item's keys.
        SHORT_FORMS: These keys, with their names in an item.
    """

    LONG_FORM: ClassVar[str] = ""
    SHORT_FORMS: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, serialize_by_alias=True
    )

    @model_validator(mode="before")
    @classmethod
    def _lengthen(cls, section: Any) -> Any:
        short = [key for key in cls.SHORT_FORMS if isinstance(section, dict) and key in section]
        if not short:
            return section
        verb = "are" if len(cls.SHORT_FORMS) > 1 else "is"
        require(
            cls.LONG_FORM not in section,
            f"{' and '.join(cls.SHORT_FORMS)} {verb} the short form of {cls.LONG_FORM}; give one of them",
        )
        item = {cls.SHORT_FORMS[key]: section[key] for key in short}
        return {key: value for key, value in section.items() if key not in short} | {cls.LONG_FORM: [item]}


def _duration(value: object) -> int:
    if not isinstance(value, str):
        message = f"{value!r} has no unit; write a duration such as 30s, 10m, 1h or 1d"
        raise ValueError(message)
    return parse_duration(value)


def _time(value: object) -> int:
    """Return milliseconds since the epoch of a time, given as text or as a parsed YAML timestamp."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = f"{value} is no time with an offset; write a time such as 2025-11-03T00:00:00Z"
        raise ValueError(message)
    return round(moment.timestamp() * 1_000)


def format_time(time_ms: int) -> str:
    """Return milliseconds since the epoch as RFC 3339 text in UTC."""
    return datetime.fromtimestamp(time_ms / 1_000, UTC).isoformat()


def check(is_valid: Callable[[Any], object], message: str) -> AfterValidator:
    """Return a validator that refuses invalid values with this message."""

    def validate(value: Any) -> Any:
        require(is_valid(value), message)
        return value

    return AfterValidator(validate)


# What an editor checks.
_DURATION = WithJsonSchema({"type": "string", "pattern": r"^([0-9]{1,15}(ms|[dhms]))+$"})
Duration = Annotated[
    int, BeforeValidator(_duration), PlainSerializer(format_duration, return_type=str), _DURATION
]
PositiveDuration = Annotated[Duration, check(lambda ms: ms > 0, "must be longer than zero")]
CommitInterval = Annotated[
    PositiveDuration, check(lambda ms: ms <= _MAX_COMMIT_MS, "must not be longer than 5s")
]
IdleTimeout = Annotated[PositiveDuration, check(lambda ms: ms >= _MIN_IDLE_MS, "must not be shorter than 5s")]
Time = Annotated[
    int,
    BeforeValidator(_time),
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
# Not min_length, which counts valid items only and so calls a list of invalid items empty.
NOT_EMPTY = check(bool, "must name at least one")
TOPIC = r"[A-Za-z0-9._-]{1,249}"
"""A topic's name as a regular expression."""
Topic = Annotated[str, Field(pattern=f"^{TOPIC}$")]
STREAM_NAME = r"[A-Za-z0-9._/:@-]{1,128}"
"""A stream's name as a regular expression: with the characters of a model's name in registries."""
StreamName = Annotated[str, Field(pattern=f"^{STREAM_NAME}$")]
NumberName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
StreamPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/:@*-]*\*[A-Za-z0-9._/:@*-]*$", max_length=128)]
