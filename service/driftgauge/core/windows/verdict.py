"""From scores to a verdict: significant, large, lasting; and what is remembered for the next window.

The history of a stream's windows is a fold over their results: each window enters it once, at its
first complete revision, in the order of event time. What a window was judged with is kept beside
its result, so that a revision is judged with the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from driftgauge.core.reference import Segment
from driftgauge.core.statistics.cusum import advance
from driftgauge.core.statistics.overdispersion import OverdispersionEstimator
from driftgauge.core.windows.result import Verdict, VerdictMemory
from driftgauge.core.windows.window import Window

__all__ = ["VerdictHistory", "decide", "enter"]

# Two of three: one odd window pages nobody, and one quiet window between two others does not end a drift.
_OF_WINDOWS = 3
_WINDOWS = 2

# Once it warns, more evidence of the same drift would only make it warn for longer after its end. A window
# without drift takes a half back on average, so it is over after some six.
_MAX_ABOVE_LIMIT = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class VerdictHistory:
    """What a stream's windows of one size leave behind.

    Attributes:
        baseline_id: The baseline that they were compared with; another one begins again.
        end_ms: The end of the last window that has entered; one that ends before it never enters.
        memory: What the next window is judged with.
        warm_up: From when until when, event time in ms, windows were declared clean; None: never.
        clean: The windows of the warm-up.
        segments: The same, of each segment of them that had enough events to be scored.
    """

    baseline_id: str
    end_ms: int
    memory: VerdictMemory
    warm_up: tuple[int, int] | None
    clean: OverdispersionEstimator
    segments: dict[Segment, OverdispersionEstimator] = field(default_factory=dict)

    @classmethod
    def begin(cls, baseline_id: str, components: int, end_ms: int) -> "VerdictHistory":
        """Return the history before the first window against a baseline."""
        return cls(baseline_id, end_ms, VerdictMemory(), None, OverdispersionEstimator.empty(components))

    def warmed_by(self, warm_up: tuple[int, int] | None) -> "VerdictHistory":
        """Return the history with a warm-up; what another one has taught is forgotten."""
        if warm_up == self.warm_up:
            return self
        return replace(
            self, warm_up=warm_up, clean=OverdispersionEstimator.empty(len(self.clean.products)), segments={}
        )

    def memory_at(self, window: Window) -> VerdictMemory:
        """Return what a window is judged with; those between it and the last that entered were not found."""
        between = min((window.start_ms - self.end_ms) // window.size_ms, _OF_WINDOWS) if self.end_ms else 0
        recent, segments = self.memory.recent, self.memory.segments
        for _ in range(between):
            recent, segments = _last((*recent, False)), _follow(segments, {})
        return replace(self.memory, recent=recent, segments=segments)

    def remember(self, window: Window, memory: VerdictMemory) -> "VerdictHistory":
        """Return the history after a window that is judged."""
        return replace(self, end_ms=window.end_ms, memory=memory)

    def learn(
        self, window: Window, clean: OverdispersionEstimator, segments: dict[Segment, OverdispersionEstimator]
    ) -> "VerdictHistory":
        """Return the history after a window of the warm-up, which is declared clean."""
        return replace(self, end_ms=window.end_ms, memory=VerdictMemory(), clean=clean, segments=segments)


def _last(recent: tuple[bool, ...]) -> tuple[bool, ...]:
    """Return what of the windows before is of use for the next one."""
    return recent[-(_OF_WINDOWS - 1) :]


def _follow(
    before: Mapping[Segment, tuple[bool, ...]], found: Mapping[Segment, bool]
) -> dict[Segment, tuple[bool, ...]]:
    """Return what of the segments is of use after one more window; one not scored in it was not found."""
    after = {
        segment: _last((*before.get(segment, ()), found.get(segment, False))) for segment in (*before, *found)
    }
    # One that was never found is judged as one that is new: there is nothing to keep of it.
    return {segment: recent for segment, recent in after.items() if any(recent)}


def decide(
    recent: tuple[bool, ...], *, is_significant_and_large: bool, has_power: bool, has_slow_drift: bool = False
) -> Verdict:
    """Return the verdict of a complete window.

    Args:
        recent: Of the windows before, oldest first: whether each was significant and large.
        is_significant_and_large: Whether this one is.
        has_power: Whether drift worth finding would have been found in it.
        has_slow_drift: Whether slow drift has built up.
    """
    if sum((*recent, is_significant_and_large)[-_OF_WINDOWS:]) >= _WINDOWS:
        return Verdict.DRIFT
    if is_significant_and_large or has_slow_drift:
        return Verdict.WARNING
    return Verdict.OK if has_power else Verdict.INSUFFICIENT


def enter(
    memory: VerdictMemory,
    *,
    is_significant_and_large: bool,
    p_value: float,
    slow_drift_limit: float,
    segments: dict[Segment, bool],
) -> VerdictMemory:
    """Return what the next window is judged with after one.

    Args:
        memory: What this one is judged with.
        is_significant_and_large: Whether it is significant and large.
        p_value: Its combined p-value.
        slow_drift_limit: What the statistic of slow drift must reach to warn.
        segments: Whether each segment that was scored is significant and large; all others count as not.
    """
    return VerdictMemory(
        recent=_last((*memory.recent, is_significant_and_large)),
        slow_drift=min(advance(memory.slow_drift, p_value), slow_drift_limit + _MAX_ABOVE_LIMIT),
        segments=_follow(memory.segments, segments),
    )
