"""Report of a stream's baseline schedule, for `driftgauge config check`."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from driftgauge.baseline.artifact import Baseline
from driftgauge.core.durations import format_duration
from driftgauge.events.timestamps import format_timestamp
from driftgauge.streams import ConfiguredStream

__all__ = ["describe_schedule", "schedule_record"]

_SHOWN_IDENTITY_CHARACTERS = 19


@dataclass(frozen=True, slots=True)
class _ScheduledPeriod:
    """A baseline and its period in force, event time, ms; None: without a bound."""

    file: Path
    baseline: Baseline
    from_ms: int | None
    until_ms: int | None

    @property
    def created_ms(self) -> int:
        return self.baseline.metadata.created_ms

    def contains(self, time_ms: int) -> bool:
        has_started = self.from_ms is None or self.from_ms <= time_ms
        return has_started and (self.until_ms is None or time_ms < self.until_ms)


def describe_schedule(stream: ConfiguredStream, now_ms: int) -> list[str]:
    """Return a line for each baseline of a stream, then a warning for each detectable mistake."""
    periods = _periods(stream)
    lines = [_describe_period(period, now_ms) for period in periods]
    for period in periods:
        if period.from_ms is not None and period.contains(now_ms):
            sizes = ", ".join(map(format_duration, stream.spec.sizes_ms))
            lines.append(
                f"warning: {period.file} is in force from {format_timestamp(period.from_ms)}, in the past: "
                f"if any replica did not list it by then, one window of each size ({sizes}) is incomplete"
            )
        lines += _overwrite_warnings(period)
    lines += [
        f"warning: {before.file} and {after.file} contain the same baseline: if the first was overwritten, "
        "restore it, because its windows were counted with the former one; otherwise remove the second"
        for before, after in pairwise(periods)
        if before.baseline.identity == after.baseline.identity
    ]
    return lines


def schedule_record(stream: ConfiguredStream, now_ms: int) -> dict[str, object]:
    """Return a stream's windows and baselines as JSON values."""
    return {
        "name": stream.spec.name,
        "windows": list(map(format_duration, stream.spec.sizes_ms)),
        "min_events": stream.spec.min_events,
        "baselines": [
            {
                "file": str(period.file),
                "identity": period.baseline.identity,
                "clusters": period.baseline.metadata.clusters,
                "dimension": period.baseline.metadata.dimension,
                "created": format_timestamp(period.created_ms),
                "from": None if period.from_ms is None else format_timestamp(period.from_ms),
                "until": None if period.until_ms is None else format_timestamp(period.until_ms),
                "in_force": period.contains(now_ms),
            }
            for period in _periods(stream)
        ],
    }


def _periods(stream: ConfiguredStream) -> list[_ScheduledPeriod]:
    listed = stream.settings.baselines
    ends_ms = [*(later.from_ms for later in listed[1:]), None]
    return [
        _ScheduledPeriod(settings.file, baseline, settings.from_ms, until_ms)
        for settings, baseline, until_ms in zip(listed, stream.baselines, ends_ms, strict=True)
    ]


def _describe_period(period: _ScheduledPeriod, now_ms: int) -> str:
    start = "the beginning" if period.from_ms is None else format_timestamp(period.from_ms)
    end = "on" if period.until_ms is None else f"until {format_timestamp(period.until_ms)}"
    metadata = period.baseline.metadata
    return (
        f"baseline {period.baseline.identity[:_SHOWN_IDENTITY_CHARACTERS]}… in {period.file}: "
        f"{metadata.clusters} clusters of {metadata.dimension} dimensions, "
        f"fitted {format_timestamp(period.created_ms)}, in force from {start} {end}"
        f"{' (now)' if period.contains(now_ms) else ''}"
    )


def _overwrite_warnings(period: _ScheduledPeriod) -> list[str]:
    """Return a warning if the baseline was fitted after windows were already counted with its file.

    A changed file without `from` that is still in force cannot be detected: only its identity differs.
    """
    since_ms = period.from_ms if period.from_ms is not None else period.until_ms
    if since_ms is None or period.created_ms <= since_ms:
        return []
    bound = "began" if since_ms == period.from_ms else "ended"
    return [
        f"warning: {period.file} was fitted after its time in force {bound} "
        f"({format_timestamp(since_ms)}): if the file was overwritten, restore the former one and "
        "list the new one under another name, with a future from"
    ]
