"""Verdicts from significance, size and persistence, and the history that carries persistence.

The history of a stream's windows is a fold over their results: each window enters it once, at its
first complete revision, in the order of event time. The memory that a window is judged with is kept
beside its result, so that every revision is judged with the same memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.cusum import advance
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS
from driftgauge.core.windows.result import Block, SlowDrift, Verdict, VerdictMemory
from driftgauge.core.windows.warm_up import WarmUp
from driftgauge.core.windows.window import Window

__all__ = ["DAY_MS", "VerdictHistory", "decide", "update_memory"]

# Two of three: a single odd window does not page, and a single quiet window does not end a drift.
_RECENT_WINDOWS = 3
_DRIFT_WINDOWS = 2

# Above the limit, more evidence would only prolong the verdict after the drift has ended: a window without
# drift lowers the statistic by one half on average. During a drift whose z is 1.8 on average the statistic is
# below the limit in one of seventy windows, and would be in one of nine if capped at the limit itself.
_MAX_EXCESS = 1.0

DAY_MS = 86_400_000
"""A day of a warm-up, in UTC, ms."""

# Two days, a daily cycle being no drift; or as many windows as a short warm-up has, where that is longer.
# Older ones are left out: drift that was large long ago is not today's.
_BLOCK_MS = 2 * DAY_MS


@dataclass(frozen=True, slots=True, eq=False)
class VerdictHistory:
    """The history of a stream's windows of one size against one baseline.

    Attributes:
        end_ms: The end of the last window that has entered; a window that ends earlier never enters.
        memory: The memory that the next window is judged with.
        warm_up: The interval of event time, ms, whose windows are declared clean; None where there is none.
        clean: The windows of the warm-up.
        days: Its days that have ended, in UTC, each as one window.
        day: The day under way.
        segments: The same for each segment that had enough events to be scored.
    """

    end_ms: int
    memory: VerdictMemory
    warm_up: tuple[int, int] | None
    clean: WarmUp
    days: WarmUp
    day: Block | None = None
    segments: dict[Segment, WarmUp] = field(default_factory=dict)

    @classmethod
    def begin(cls, reference: Reference, end_ms: int) -> "VerdictHistory":
        """Return the history before the first window against a baseline."""
        clean = WarmUp.empty(registry.fields_of(reference), reference.components)
        return cls(end_ms, VerdictMemory(), None, clean, clean)

    def with_warm_up(self, warm_up: tuple[int, int] | None, reference: Reference) -> "VerdictHistory":
        """Return the history with a warm-up; what another warm-up measured is dropped."""
        if warm_up == self.warm_up:
            return self
        begun = VerdictHistory.begin(reference, self.end_ms)
        return replace(begun, warm_up=warm_up, memory=self.memory)

    def memory_for(self, window: Window) -> VerdictMemory:
        """Return the memory for a window; missing windows before it count as False."""
        missing = (
            min((window.start_ms - self.end_ms) // window.size_ms, _RECENT_WINDOWS) if self.end_ms else 0
        )
        recent, segments = self.memory.recent, self.memory.segments
        for _ in range(missing):
            recent, segments = _keep_recent((*recent, False)), _update_segments(segments, {})
        return replace(self.memory, recent=recent, segments=segments)

    def add(self, window: Window, memory: VerdictMemory) -> "VerdictHistory":
        """Return the history after a judged window."""
        return replace(self, end_ms=window.end_ms, memory=memory)

    def add_warm_up(
        self, window: Window, tally: Tally, reference: Reference, segments: dict[Segment, WarmUp]
    ) -> "VerdictHistory":
        """Return the history after a window of the warm-up."""
        start_ms, days, values = Window.around(window.start_ms, DAY_MS).start_ms, self.days, tally.values
        if self.day is not None and self.day[0] == start_ms:
            values = self.day[1] + values
        else:
            days = self.whole_days(reference)
        return replace(
            self,
            end_ms=window.end_ms,
            memory=VerdictMemory(),
            clean=self.clean.add(tally, reference),
            days=days,
            day=(start_ms, values),
            segments=segments,
        )

    def whole_days(self, reference: Reference) -> WarmUp:
        """Return the days of the warm-up, as windows."""
        if self.day is None:
            return self.days
        return self.days.add(Tally(self.day[1], registry.fields_of(reference)), reference)


def _keep_recent(recent: tuple[bool, ...]) -> tuple[bool, ...]:
    """Return the part of the recent windows that the next window needs."""
    return recent[-(_RECENT_WINDOWS - 1) :]


def _update_segments(
    before: Mapping[Segment, tuple[bool, ...]], significant_and_large: Mapping[Segment, bool]
) -> dict[Segment, tuple[bool, ...]]:
    """Return the recent windows of each segment after one more; a segment without a score counts as False."""
    after = {
        segment: _keep_recent((*before.get(segment, ()), significant_and_large.get(segment, False)))
        for segment in (*before, *significant_and_large)
    }
    # A segment without a True is judged like a new one, so nothing of it needs keeping.
    return {segment: recent for segment, recent in after.items() if any(recent)}


def decide(
    recent: tuple[bool, ...],
    *,
    is_significant_and_large: bool,
    is_overwhelming: bool = False,
    has_slow_drift: bool = False,
    is_misfit: bool = False,
) -> Verdict:
    """Return the verdict of a complete window that was scored.

    Args:
        recent: Whether each of the windows before was significant and large, oldest first.
        is_significant_and_large: Whether this window is.
        is_overwhelming: Whether its evidence, or that of the windows of slow drift together, is beyond the
            budget by itself.
        has_slow_drift: Whether the statistic of slow drift has reached its limit.
        is_misfit: Whether the warm-up differs from the baseline.
    """
    if is_overwhelming or sum((*recent, is_significant_and_large)[-_RECENT_WINDOWS:]) >= _DRIFT_WINDOWS:
        return Verdict.DRIFT
    if is_significant_and_large or has_slow_drift:
        return Verdict.WARNING
    return Verdict.MISFIT if is_misfit else Verdict.OK


def update_memory(
    memory: VerdictMemory,
    window: Window,
    tally: Tally,
    *,
    is_significant_and_large: bool,
    p_value: float,
    slow_drift_limit: float,
    segments: dict[Segment, bool],
) -> VerdictMemory:
    """Return the memory after one more window.

    Args:
        memory: The memory that the window is judged with.
        window: The window.
        tally: Its tally.
        is_significant_and_large: Whether the window is significant and large.
        p_value: Its combined p-value.
        slow_drift_limit: The limit at which the statistic of slow drift warns.
        segments: Whether each scored segment is significant and large; all other segments count as False.
    """
    before, slow_drift = memory.slow_drift, SlowDrift()
    statistic = min(advance(before.statistic, p_value), slow_drift_limit + _MAX_EXCESS)
    if statistic > 0:
        since_ms = window.start_ms if before.since_ms is None else before.since_ms
        slow_drift = SlowDrift(statistic, since_ms, _add_to_blocks(before.blocks, window, tally))
    return VerdictMemory(
        recent=_keep_recent((*memory.recent, is_significant_and_large)),
        slow_drift=slow_drift,
        segments=_update_segments(memory.segments, segments),
    )


def _add_to_blocks(blocks: tuple[Block, ...], window: Window, tally: Tally) -> tuple[Block, ...]:
    """Return the blocks of slow drift after one more window."""
    if blocks:
        *others, (start_ms, values) = blocks
        if window.end_ms - start_ms <= max(_BLOCK_MS, MIN_WINDOWS * window.size_ms):
            return (*others, (start_ms, values + tally.values))
    return (*blocks[-1:], (window.start_ms, tally.values))
