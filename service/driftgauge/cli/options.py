"""Option types, options and helpers that several commands share."""

import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click
from pydantic import TypeAdapter

from driftgauge.baseline.segments import parse_choice
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings, load_settings
from driftgauge.config.fields import NumberName
from driftgauge.config.inputs import InputSettings
from driftgauge.config.stream import NumberSettings
from driftgauge.core.counting.numbers import Number
from driftgauge.core.durations import parse_duration
from driftgauge.errors import InputError, refuse_problems
from driftgauge.events.schemas import SchemaSource, WaitingSource
from driftgauge.events.timestamps import parse_timestamp

__all__ = [
    "DURATION",
    "FILE",
    "NUMBER",
    "RECORDED",
    "SEGMENT",
    "TIME",
    "WINDOW_LENGTH",
    "FiniteNumber",
    "array_option",
    "config_option",
    "join_options",
    "open_schemas",
    "range_options",
    "read_range",
    "read_settings",
]


_T = TypeVar("_T")
FILE = click.Path(dir_okay=False, path_type=Path)
config_option = click.option(
    "--config", "config_path", type=FILE, required=True, help="The YAML configuration file."
)
array_option = click.option("--array", metavar="KEY", help="The array to read from an .npz file.")


class _Parsed(click.ParamType[_T]):
    """An option type that wraps a parser of this project."""

    def __init__(self, name: str, parse: Callable[[str], _T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: str | _T, param: click.Parameter | None, ctx: click.Context | None) -> _T:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class FiniteNumber(click.FloatRange):
    """A finite number in a range; click's own type accepts NaN, which is on neither side of a bound."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; report a usage error for anything else."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class _Recorded(click.Path):
    """A file that may be -, standard input, which is kept as a file while the command runs."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Return the file's path."""
        if value != "-" or ctx is None:
            return Path(os.fsdecode(super().convert(value, param, ctx)))
        path = Path(ctx.with_resource(TemporaryDirectory(prefix="driftgauge-"))) / "standard-input.jsonl"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return path


def _parse_window_length(text: str) -> int:
    """Return a duration above zero, ms."""
    if (length_ms := parse_duration(text)) == 0:
        message = f"{text!r} is not a window length; use a length such as 10m, 1h or 1d"
        raise ValueError(message)
    return length_ms


def _parse_number(text: str) -> Number:
    """Return a number by its name, and its range, which is 0 to 1 without one."""
    name, _, span = text.partition("=")
    low, _, high = (span or "0:1").partition(":")
    try:
        TypeAdapter(NumberName).validate_python(name)
        ends = NumberSettings(range=(float(low), float(high))).range
    except ValueError:
        message = f"{text!r} is no number; write a name, and its range if it is not 0:1, as in score=1:5"
        raise ValueError(message) from None
    return Number(name, *ends)


RECORDED = _Recorded(dir_okay=False)
DURATION = _Parsed("duration", parse_duration)
WINDOW_LENGTH = _Parsed("duration", _parse_window_length)
TIME = _Parsed("time", parse_timestamp)
SEGMENT = _Parsed("key=value,…", parse_choice)
NUMBER = _Parsed("name[=low:high]", _parse_number)


def join_options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Return one decorator of arguments and options, which the help shows in this order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


range_options = join_options(
    click.option("--from", "from_ms", type=TIME, help="First event time to read from the topic, RFC 3339."),
    click.option(
        "--until",
        "until_ms",
        type=TIME,
        help="Event time before which the events of the topic end, RFC 3339.  [default: now]",
    ),
    click.option(
        "--slack",
        "slack_ms",
        type=DURATION,
        default="1h",
        show_default=True,
        help="How much earlier and later records are read, since record times differ from event times.",
    ),
)


def read_range(from_ms: int | None, until_ms: int | None) -> tuple[int, int]:
    """Return the range of event time that the options choose.

    Raises:
        InputError: The range has no start, or is empty.
    """
    if from_ms is None:
        fault = "a topic is read from an event time on; name it with --from"
        raise InputError(fault)
    until_ms = SYSTEM_CLOCK.wall_ms() if until_ms is None else until_ms
    if until_ms <= from_ms:
        fault = "--until must be later than --from; give a range of event time"
        raise InputError(fault)
    return from_ms, until_ms


def read_settings(path: Path, *, connects: bool = True) -> Settings:
    """Return the settings of a file; environment variables override the file.

    Args:
        path: The YAML file.
        connects: Require the section `kafka` and properties that the client accepts, because the command
            connects to it.

    Raises:
        ConfigError: As `load_settings`, or the client refuses a property.
    """
    settings = load_settings(path, os.environ, connects=connects)
    if connects:
        from driftgauge.kafka.client import property_problems

        refuse_problems(path, property_problems(settings.kafka))
    return settings


@contextmanager
def open_schemas(settings: Settings, inputs: Iterable[InputSettings]) -> Iterator[SchemaSource | None]:
    """Yield the schemas of the registry, each waited for; None if no input needs one.

    Raises:
        ConfigError: As `open_schema_registry`.
    """
    from driftgauge.kafka.schema_registry import open_schema_registry

    with open_schema_registry(settings, inputs, SYSTEM_CLOCK) as schemas:
        yield None if schemas is None else WaitingSource(schemas, SYSTEM_CLOCK)
