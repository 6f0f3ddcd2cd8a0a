"""Report of a stream's baseline schedule, for `driftgauge config check`."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from driftgauge.core.durations import format_duration
from driftgauge.events.timestamps import format_timestamp
from driftgauge.streams import ConfiguredStream

__all__ = ["ScheduledPeriod", "StreamSchedule", "describe_schedule", "report_schedule"]

_SHOWN_IDENTITY_CHARACTERS = 19


@dataclass(frozen=True, slots=True)
class ScheduledPeriod:
    """A baseline and its period in force, event time, ms; None: without a bound."""

    file: Path
    identity: str
    clusters: int
    dimension: int
    created_ms: int
    from_ms: int | None
    until_ms: int | None
    in_force: bool


@dataclass(frozen=True, slots=True)
class StreamSchedule:
    """The windows and baselines of a stream, or of the streams that match a pattern, and warnings.

    Attributes:
        name: The stream's name, or the pattern.
        most: The number of streams that may match; None for a name.
        windows: The window sizes.
        min_events: A window with fewer events is not scored.
        baselines: The baselines.
        warnings: A warning for each detectable mistake.
    """

    name: str
    most: int | None
    windows: list[str]
    min_events: int
    baselines: list[ScheduledPeriod]
    warnings: list[str]


def report_schedule(stream: ConfiguredStream, now_ms: int) -> StreamSchedule:
    """Return the report on a stream's windows and baselines."""
    listed = stream.settings.baselines
    ends_ms = [*(later.from_ms for later in listed[1:]), None]
    periods = [
        ScheduledPeriod(
            settings.file,
            baseline.identity,
            baseline.metadata.clusters,
            baseline.metadata.dimension,
            baseline.metadata.created_ms,
            settings.from_ms,
            until_ms,
            (settings.from_ms is None or settings.from_ms <= now_ms)
            and (until_ms is None or now_ms < until_ms),
        )
        for settings, baseline, until_ms in zip(listed, stream.baselines, ends_ms, strict=True)
    ]
    windows = list(map(format_duration, stream.spec.sizes_ms))
    warnings = list(_warnings(periods, ", ".join(windows)))
    spec, most = stream.spec, stream.settings.most if stream.settings.match else None
    return StreamSchedule(spec.name, most, windows, spec.min_events, periods, warnings)


def describe_schedule(schedule: StreamSchedule) -> list[str]:
    """Return the windows, a line for each baseline, then the warnings."""
    windows = ", ".join(schedule.windows)
    limit = "" if schedule.most is None else f" ({schedule.most:,} at most)"
    return [
        f"stream {schedule.name}{limit}: windows {windows}, scored from {schedule.min_events:,} events",
        *(f"  {_describe_period(period)}" for period in schedule.baselines),
        *(f"  warning: {warning}" for warning in schedule.warnings),
    ]


def _describe_period(period: ScheduledPeriod) -> str:
    start = "the beginning" if period.from_ms is None else format_timestamp(period.from_ms)
    end = "on" if period.until_ms is None else f"until {format_timestamp(period.until_ms)}"
    return (
        f"baseline {period.identity[:_SHOWN_IDENTITY_CHARACTERS]}… in {period.file}: "
        f"{period.clusters} clusters of {period.dimension} dimensions, "
        f"fitted {format_timestamp(period.created_ms)}, in force from {start} {end}"
        f"{' (now)' if period.in_force else ''}"
    )


def _warnings(periods: list[ScheduledPeriod], sizes: str) -> Iterator[str]:
    for period in periods:
        if period.from_ms is not None and period.in_force:
            yield (
                f"{period.file} is in force from {format_timestamp(period.from_ms)}, in the past: "
                f"if any replica did not list it by then, one window of each size ({sizes}) is incomplete"
            )
        # A changed file without `from` that is still in force cannot be detected: only its identity differs.
        since_ms = period.until_ms if period.from_ms is None else period.from_ms
        if since_ms is not None and period.created_ms > since_ms:
            bound = "ended" if period.from_ms is None else "began"
            yield (
                f"{period.file} was fitted after its time in force {bound} "
                f"({format_timestamp(since_ms)}): if the file was overwritten, restore the former one and "
                "list the new one under another name, with a future from"
            )
    for before, after in pairwise(periods):
        if before.identity == after.identity:
            yield (
                f"{before.file} and {after.file} contain the same baseline: if the first was "
                "overwritten, restore it, because its windows were counted with the former one; otherwise "
                "remove the second"
            )
