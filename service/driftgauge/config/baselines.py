"""The baseline schedule, as the configuration says it."""

from itertools import pairwise
from math import lcm
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from driftgauge.config.fields import Section, Time, format_time
from driftgauge.core.durations import format_duration

__all__ = ["BaselineSettings", "check_schedule"]

# The last day whose date can be written.
_LAST_MS = 253_402_214_400_000


class BaselineSettings(Section):
    """A baseline, and the event time from which it holds.

    Attributes:
        file: Its file.
        from_ms: From when it holds; None: it is the first.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    file: Annotated[Path, Field(strict=False)]
    from_ms: Annotated[Time | None, Field(alias="from")] = None


def check_schedule(baselines: tuple[BaselineSettings, ...], windows: tuple[int, ...]) -> None:
    """Check that baselines follow each other, each from where windows of all sizes, ms, begin.

    Raises:
        ValueError: They do not.
    """
    if baselines[0].from_ms is not None:
        message = "the first of baselines holds from the beginning; leave out its from"
        raise ValueError(message)
    for number, (before, after) in enumerate(pairwise(baselines), start=1):
        if after.from_ms is None:
            message = f"baselines.{number} has no from: the event time from which it holds"
            raise ValueError(message)
        if before.from_ms is not None and after.from_ms <= before.from_ms:
            message = f"baselines.{number}: its from must be later than that of the baseline before it"
            raise ValueError(message)
        if after.from_ms % lcm(*windows):
            raise ValueError(_between_windows(number, after.from_ms, windows))


def _between_windows(number: int, from_ms: int, windows: tuple[int, ...]) -> str:
    """Say that windows of some size lie across this time, and which later time would do."""
    step_ms = lcm(*windows)
    sizes = ", ".join(map(format_duration, windows))
    message = (
        f"baselines.{number}: its from, {format_time(from_ms)}, is not where windows of all sizes "
        f"({sizes}) begin"
    )
    after_ms = from_ms + -from_ms % step_ms
    return f"{message}; the next such time is {format_time(after_ms)}" if after_ms <= _LAST_MS else message
