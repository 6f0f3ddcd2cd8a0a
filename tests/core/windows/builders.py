"""Streams, windows and summaries that the tests of several modules of this package share."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from driftgauge.core.counting.partial import PaneDelta
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.spec import StreamSpec
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS
from driftgauge.core.windows.changelog import Key, Value
from driftgauge.core.windows.completeness import Completeness
from driftgauge.core.windows.judging import WindowJudge
from driftgauge.core.windows.result import Verdict, WindowResult
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.verdict import VerdictHistory
from driftgauge.core.windows.window import Window
from tests.core.builders import (
    ALARM,
    CLUSTERS,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    MONDAY_MS,
    SECOND_MS,
    build_partitions,
    build_reference,
    build_segment_reference,
    build_spec,
    build_tally,
)
from tests.core.shard import Shard

HOME, AWAY = build_partitions(2)
RICH = build_reference("rich", count=100_000)
DE, REST = ("country", "de"), ("country", "other")
SEGMENTED = replace(
    RICH,
    segments=(
        build_segment_reference(*DE, 20_000, 15_000, 10_000, 5_000),
        build_segment_reference(*REST, 20_000, 15_000, 10_000, 5_000),
    ),
)

# Counts of windows with the mix of RICH, and with another mix.
QUIET = (1_600, 1_200, 800, 400)
MOVED = (2_000, 1_000, 680, 320)
# Too small a change for drift, with a p-value of about 0.01.
ODD = (1_690, 1_180, 780, 350)
FEW = (4, 3, 2, 1)
# So rare that a few significant windows are not slow drift yet.
LEVEL = 1e-9

WARM_UP = (2 * HOUR_MS, (MIN_WINDOWS + 3) * HOUR_MS)
FIRST_AFTER = MIN_WINDOWS + 3
"""The number of the first hour after the warm-up."""

IDLE_MS = 30 * SECOND_MS
INCOMPLETE_MS = 5 * MINUTE_MS
STEP_MS = 5 * SECOND_MS


def at(hours: float, cluster: int = 0) -> tuple[int, int]:
    """Return an event, (time_ms, cluster), this many hours after Monday began."""
    return MONDAY_MS + round(hours * HOUR_MS), cluster


def hour_window(number: int) -> Window:
    """Return an hour since the epoch."""
    return Window(HOUR_MS, number * HOUR_MS)


def summarize_hours(results: Iterable[WindowResult]) -> list[tuple[float, int, int]]:
    """Return (hour since Monday, revision, count) of each hourly result."""
    return [
        ((result.window.start_ms - MONDAY_MS) / HOUR_MS, result.revision, result.count)
        for result in results
        if result.window.size_ms == HOUR_MS
    ]


def read_and_commit(shard: Shard, *events: tuple[int, int], **columns: Any) -> list[WindowResult]:
    """Read (time_ms, cluster) events of one partition, commit, and return the results."""
    shard.read(*events, **columns)
    return shard.commit()


def build_minute_spec(name: str = "images", **changes: Any) -> StreamSpec:
    """Return a stream with windows of a minute and the default timeouts."""
    fields = {
        "sizes_ms": (MINUTE_MS,),
        "disorder_ms": 0,
        "lateness_ms": 10 * MINUTE_MS,
        "idle_ms": IDLE_MS,
        "incomplete_ms": INCOMPLETE_MS,
        "give_up_ms": HOUR_MS,
    }
    return build_spec(name, **{**fields, **changes})


def summarize_minutes(
    results: Iterable[WindowResult], stream: str = "images"
) -> list[tuple[int, int, int, tuple[int, ...]]]:
    """Return (minute since Monday, revision, count, missing indexes) of each result of a stream."""
    return [
        (
            (result.window.start_ms - MONDAY_MS) // MINUTE_MS,
            result.revision,
            result.count,
            tuple(index for _, index in result.missing),
        )
        for result in results
        if result.stream == stream
    ]


def read_now(
    shard: Shard, *partitions: int | tuple[str, int], stream: str = "images", behind_ms: int = 0
) -> None:
    """Read one event of the current time from each of the partitions."""
    for partition in partitions:
        shard.read((shard.now_ms - behind_ms, 0), stream=stream, partition=partition)


def run_for(
    shard: Shard, duration_ms: int, *active: int | tuple[str, int], step_ms: int = STEP_MS, **changes: Any
) -> list[WindowResult]:
    """Let time pass, with one event a step on the active partitions; return the results."""
    results = []
    end_ms = shard.now_ms + duration_ms
    while shard.now_ms < end_ms:
        read_now(shard, *active)
        results += shard.commit(caught_up=True, **changes)
        shard.now_ms += step_ms
    return results


class JudgedStream:
    """Judges windows of one stream, and keeps its state as a shard does."""

    def __init__(self, *, reference: Reference = RICH, min_events: int = 1, **alarm: Any) -> None:
        self.reference = reference
        self.spec = build_spec(
            reference=reference,
            min_events=min_events,
            sizes_ms=(HOUR_MS, DAY_MS),
            alarm=replace(ALARM, **{"level": LEVEL, **alarm}),
        )
        self.changelog: dict[Key, Value | None] = {}
        self.state = StreamState("images")
        self._judge = WindowJudge(self.spec, self.state)

    def restart(self) -> None:
        """Restore the state from the changelog."""
        self.changelog.update(self.state.drain_changes())
        self.state = StreamState("images")
        for key, value in self.changelog.items():
            self.state.restore(key, value)
        self._judge = WindowJudge(self.spec, self.state)

    def judge(
        self,
        window: Window | int,
        counts: tuple[int, ...] = QUIET,
        *,
        reference: Reference | None = None,
        **completeness: Any,
    ) -> WindowResult:
        """Judge a window, or an hour by its number, with these counts; return its result."""
        if isinstance(window, int):
            window = hour_window(window)
        if completeness.get("missing"):
            completeness["incomplete_reason"] = "partitions_missing"
        reference = reference or self.reference
        tally = Tally(build_tally(*counts, reference=reference), CLUSTERS)
        result = self._judge.judge(window, tally, reference, Completeness(**completeness), 7)
        self.state.publish(result)
        return result

    def verdict(self, window: Window | int, counts: tuple[int, ...] = QUIET, **changes: Any) -> Verdict:
        """Judge a window; return its verdict."""
        return self.judge(window, counts, **changes).verdict

    def add_pane(self, number: int, counts: tuple[int, ...], segment: Segment | None = None) -> None:
        """Add counts to the pane of an hour."""
        values = build_tally(*counts, reference=SEGMENTED)
        scheme = self.spec.scheme(self.reference)
        self.state.add_pane(
            PaneDelta("images", scheme, number * HOUR_MS, segment, values, sum(counts), (HOME, 0))
        )

    @property
    def history(self) -> VerdictHistory:
        """The history of the hourly windows; None before the first."""
        return self.state.histories.get(HOUR_MS)


def build_bursts(number: int) -> tuple[int, ...]:
    """Return the counts of an hour of the warm-up: bursts of three events, by chance."""
    return tuple(3 * np.random.default_rng(number).multinomial(1_000, RICH.counts / RICH.counts.sum()))


def summarize_segments(result: WindowResult) -> dict[Segment, tuple[int, Verdict]]:
    """Return the count and the verdict of each segment."""
    return {segment.segment: (segment.count, segment.verdict) for segment in result.segments}
