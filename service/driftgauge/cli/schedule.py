"""What `config check` says of a stream's baseline schedule."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from driftgauge.baseline.artifact import Baseline
from driftgauge.core.durations import format_duration
from driftgauge.events.timestamps import format_timestamp
from driftgauge.streams import ConfiguredStream

__all__ = ["describe_schedule"]

_IDENTITY_CHARACTERS = 19


@dataclass(frozen=True, slots=True)
class _Period:
    """A baseline and when it is in force, event time in ms; None: without a bound."""

    file: Path
    baseline: Baseline
    from_ms: int | None
    until_ms: int | None

    @property
    def created_ms(self) -> int:
        return self.baseline.metadata.created_ms

    def holds(self, time_ms: int) -> bool:
        started = self.from_ms is None or self.from_ms <= time_ms
        return started and (self.until_ms is None or time_ms < self.until_ms)


def describe_schedule(stream: ConfiguredStream, now_ms: int) -> list[str]:
    """Return a line for each baseline of a stream, and a warning for each mistake that can be seen."""
    periods = _periods(stream)
    lines = [_line(period, now_ms) for period in periods]
    for period in periods:
        if period.from_ms is not None and period.holds(now_ms):
            sizes = ", ".join(map(format_duration, stream.spec.sizes_ms))
            lines.append(
                f"warning: {period.file} is in force from {format_timestamp(period.from_ms)}, which is past: "
                f"unless every replica listed it before then, one window of each size ({sizes}) is incomplete"
            )
        lines += _changed(period)
    lines += [
        f"warning: {before.file} and {after.file} hold the same baseline: restore the first if it was "
        "overwritten, for its windows are counted by another; else drop the second"
        for before, after in pairwise(periods)
        if before.baseline.identity == after.baseline.identity
    ]
    return lines


def _periods(stream: ConfiguredStream) -> list[_Period]:
    listed = stream.settings.baselines
    ends_ms = [*(later.from_ms for later in listed[1:]), None]
    return [
        _Period(settings.file, baseline, settings.from_ms, until_ms)
        for settings, baseline, until_ms in zip(listed, stream.baselines, ends_ms, strict=True)
    ]


def _line(period: _Period, now_ms: int) -> str:
    start = "the beginning" if period.from_ms is None else format_timestamp(period.from_ms)
    end = "on" if period.until_ms is None else f"until {format_timestamp(period.until_ms)}"
    metadata = period.baseline.metadata
    return (
        f"baseline {period.baseline.identity[:_IDENTITY_CHARACTERS]}… in {period.file}: "
        f"{metadata.clusters} clusters of {metadata.dimension} dimensions, "
        f"fitted {format_timestamp(period.created_ms)}, in force from {start} {end}"
        f"{' (now)' if period.holds(now_ms) else ''}"
    )


def _changed(period: _Period) -> list[str]:
    """Warn of a baseline that is younger than windows that were counted while its file was in force.

    A file without `from` that is still in force may have changed as well: only its identity shows that.
    """
    since_ms = period.from_ms if period.from_ms is not None else period.until_ms
    if since_ms is None or period.created_ms <= since_ms:
        return []
    bound = "began" if since_ms == period.from_ms else "ended"
    return [
        f"warning: {period.file} was fitted after its time in force {bound} "
        f"({format_timestamp(since_ms)}): if it has changed under its name, restore the former file and "
        "list the new one under another name, with a from to come"
    ]
