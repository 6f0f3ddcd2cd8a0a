"""What to do next about a window, in short; the runbooks say more."""

from driftgauge.core.statistics.registry import find_kind
from driftgauge.events.timestamps import format_timestamp
from driftgauge.page.story import ALARMS, Run
from driftgauge.page.words import format_moment
from driftgauge.records.window_record import WindowRecord

__all__ = ["next_steps"]

_HOUR_MS = 3_600_000
_NOT_CALIBRATED = (
    "Measure the overdispersion before you trust the odds: fit the baseline on events with times, or declare "
    "a clean time as warm_up."
)


def next_steps(record: WindowRecord, run: Run, size_ms: int, later_ms: int | None) -> tuple[str, ...]:
    """Return what to do about a window and the run of alarms around it, in sentences.

    Args:
        record: The window.
        run: The run.
        size_ms: The window's length, ms.
        later_ms: The start of the first alarm after the window, ms; None where there is none.
    """
    if record.verdict in ALARMS:
        return _after_alarm(record, run)
    if record.verdict == "incomplete":
        return (
            "Wait where partitions are missing: a complete revision follows once they are read.",
            "Where it stays so, see which replica reads them: runbook DriftgaugeWindowsIncomplete.",
        )
    if record.verdict == "insufficient":
        hourly = max(round(record.count * _HOUR_MS / size_ms), 1)
        return (
            f"Ask how long windows must be for this traffic: driftgauge plan --events-per-hour {hourly}.",
            "Where traffic has fallen, find out why. More in the runbook DriftgaugeSensitivityLow.",
        )
    if record.verdict == "misfit":
        return (
            "Find out whether the stream was in order during the warm-up: fit a baseline on events of it "
            "where it was, and move the warm-up where it was not.",
        )
    if later_ms is not None:
        return (f"Make the report of the later drift: --at {format_timestamp(later_ms)}.",)
    return (
        "Nothing needs to be done. Where the smallest drift that would have been found is too large, take "
        "longer windows: driftgauge plan says how long.",
    )


def _after_alarm(record: WindowRecord, run: Run) -> tuple[str, ...]:
    since = format_moment(run.since_ms)
    slow = record.slow_drift is not None and record.slow_drift.statistic >= record.slow_drift.limit
    if record.kind is None and slow:
        first = f"Find what changed in the windows before {since}: small evidence has added up since then."
        runbook = "DriftgaugeSlowDrift"
    else:
        first = f"Find what else changed at {since}: a release, a client, a campaign, a fault upstream."
        runbook = "DriftgaugeDrift"
    return (
        first,
        *([find_kind(record.kind).advice] if record.kind else []),
        *([] if record.calibrated else [_NOT_CALIBRATED]),
        "A fault: have it repaired; the verdict ends some windows later.",
        "New normal inputs: fit a baseline on them; where the model does not handle them, retrain it first.",
        f"More in the runbook {runbook}.",
    )
