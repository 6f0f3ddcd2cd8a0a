"""The settings of the baseline schedule."""

from itertools import pairwise
from math import lcm
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from driftgauge.config.fields import Section, Time, format_time
from driftgauge.core.durations import format_duration

__all__ = ["BaselineSettings", "check_schedule"]

# Start of 9999-12-31, the last day that RFC 3339 can write.
_LAST_MS = 253_402_214_400_000


class BaselineSettings(Section):
    """One entry of the baseline schedule.

    Attributes:
        file: The baseline's file.
        from_ms: The event time from which the baseline is in force; None for the first.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    file: Annotated[Path, Field(strict=False)]
    from_ms: Annotated[Time | None, Field(alias="from")] = None


def check_schedule(baselines: tuple[BaselineSettings, ...], windows: tuple[int, ...]) -> None:
    """Check that each baseline starts after the one before, where windows of all sizes, ms, start.

    Raises:
        ValueError: One does not.
    """
    if baselines[0].from_ms is not None:
        message = "the first of baselines is in force from the beginning; leave out its from"
        raise ValueError(message)
    for number, (before, after) in enumerate(pairwise(baselines), start=1):
        if after.from_ms is None:
            message = f"baselines.{number} has no from; give the event time from which it is in force"
            raise ValueError(message)
        if before.from_ms is not None and after.from_ms <= before.from_ms:
            message = f"baselines.{number}: its from must be later than that of the baseline before it"
            raise ValueError(message)
        if after.from_ms % lcm(*windows):
            raise ValueError(_misaligned(number, after.from_ms, windows))


def _misaligned(number: int, from_ms: int, windows: tuple[int, ...]) -> str:
    """Return the message for a time at which not all windows start, with the next time at which they do."""
    step_ms = lcm(*windows)
    sizes = ", ".join(map(format_duration, windows))
    message = (
        f"baselines.{number}: windows of all sizes ({sizes}) must start at its from, "
        f"{format_time(from_ms)}, and they do not"
    )
    after_ms = from_ms + -from_ms % step_ms
    return f"{message}; the next such time is {format_time(after_ms)}" if after_ms <= _LAST_MS else message
