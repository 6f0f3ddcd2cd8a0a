"""Builders of stream specifications and baseline schedules."""

from typing import Any

from driftgauge.core.reference import Reference
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec
from driftgauge.core.statistics import registry
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from tests.builders.references import FIRST

NEVER_MS = 10**15  # a timeout that never expires
INCOMPLETE_MS = 5 * MINUTE_MS
ALARM = Alarm(0.001, {each.name: each.smallest for each in registry.STATISTICS})
DEFAULTS: dict[str, Any] = {
    "sizes_ms": (HOUR_MS, DAY_MS),
    "disorder_ms": 30 * SECOND_MS,
    "lateness_ms": 10 * MINUTE_MS,
    "idle_ms": MINUTE_MS,
    "incomplete_ms": INCOMPLETE_MS,
    "give_up_ms": HOUR_MS,
    "min_events": 20,
}
"""Fields of a stream with windows of an hour and a day, and with the timeouts that need no configuration."""


def build_schedule(*later: tuple[int, Reference], first: Reference = FIRST) -> tuple[ScheduledBaseline, ...]:
    """Return a baseline schedule: the first baseline, then (from_ms, reference)."""
    return (
        ScheduledBaseline(first),
        *(ScheduledBaseline(reference, from_ms) for from_ms, reference in later),
    )


def build_spec(name: str = "images", *, reference: Reference = FIRST, **changes: Any) -> StreamSpec:
    """Return a stream with hourly windows and one baseline, never idle and never incomplete."""
    fields = {
        "name": name,
        "baselines": build_schedule(first=reference),
        "sizes_ms": (HOUR_MS,),
        "disorder_ms": 0,
        "lateness_ms": 10 * MINUTE_MS,
        "idle_ms": NEVER_MS,
        "incomplete_ms": NEVER_MS,
        "give_up_ms": NEVER_MS,
        "min_events": 1,
        "alarm": ALARM,
    }
    return StreamSpec(**{**fields, **changes})


def build_minute_spec(name: str = "images", **changes: Any) -> StreamSpec:
    """Return a stream with windows of a minute that is soon idle and soon incomplete."""
    timeouts = {"idle_ms": 30 * SECOND_MS, "incomplete_ms": INCOMPLETE_MS, "give_up_ms": HOUR_MS}
    return build_spec(name, **{"sizes_ms": (MINUTE_MS,), **timeouts, **changes})
