"""Option types, options and helpers that several commands share."""

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
    "SEGMENT",
    "TIME",
    "WINDOW_LENGTH",
    "FiniteNumber",
    "array_option",
    "config_option",
    "read_settings",
]


_T = TypeVar("_T")
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
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


def _parse_window_length(text: str) -> int:
    """Return a duration above zero, ms."""
    if (length_ms := parse_duration(text)) == 0:
        message = f"{text!r} is not a window length; use a length such as 10m, 1h or 1d"
        raise ValueError(message)
    return length_ms


DURATION = _Parsed("duration", parse_duration)
WINDOW_LENGTH = _Parsed("duration", _parse_window_length)
TIME = _Parsed("time", parse_timestamp)
SEGMENT = _Parsed("key=value,…", parse_choice)


def read_settings(
    path: Path, *, connects: bool = True, check: Callable[[Settings], object] | None = None
) -> Settings:
    """Return the settings of a file; environment variables override the file.

    Args:
        path: The YAML file.
        connects: Require the section `kafka`, because the command connects to it.
        check: See `load_settings`.
    """
    return load_settings(path, os.environ, connects=connects, check=check)
