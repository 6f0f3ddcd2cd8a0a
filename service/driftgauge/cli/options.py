"""What options and arguments of several commands have in common."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from driftgauge.baseline.segments import parse_choice
from driftgauge.config import Settings, load_settings
from driftgauge.core.durations import parse_duration
from driftgauge.events.timestamps import parse_timestamp

__all__ = [
    "DURATION",
    "FILE",
    "FOLDER",
    "LENGTH",
    "SEGMENT",
    "TIME",
    "Number",
    "array_option",
    "config_option",
    "progress",
    "settings_of",
]


_T = TypeVar("_T")
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
config_option = click.option(
    "--config", "config_path", type=FILE, required=True, help="The YAML configuration file."
)
array_option = click.option("--array", metavar="KEY", help="Which array of an .npz file.")


class _Parsed(click.ParamType[_T]):
    """An option whose text one of our own parsers reads."""

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


class Number(click.FloatRange):
    """A finite number in a range; click's own lets NaN pass, which is on neither side of a bound."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or say what is wrong with it."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def _parse_length(text: str) -> int:
    """Return the milliseconds of a duration that is not zero."""
    if (length_ms := parse_duration(text)) == 0:
        message = f"{text!r} is no length of a window; give one such as 10m, 1h or 1d"
        raise ValueError(message)
    return length_ms


DURATION = _Parsed("duration", parse_duration)
LENGTH = _Parsed("duration", _parse_length)
TIME = _Parsed("time", parse_timestamp)
SEGMENT = _Parsed("key=value,…", parse_choice)


def settings_of(path: Path) -> Settings:
    """Return the settings of a file, and of the environment over it."""
    return load_settings(path, os.environ)


def progress(line: str) -> None:
    """Say what goes on, apart from what a command prints for others to read."""
    click.echo(line, err=True)
