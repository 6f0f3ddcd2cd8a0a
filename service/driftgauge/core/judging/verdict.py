"""Verdicts: what the signs of a window and the memory of the windows before make of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Segment
from driftgauge.core.statistics.cusum import advance
from driftgauge.core.window import Window

__all__ = [
    "FEW_EVENTS",
    "Signs",
    "SlowDrift",
    "SpanTally",
    "Verdict",
    "VerdictHistory",
    "VerdictMemory",
    "decide",
    "update_memory",
]

FEW_EVENTS = 20
"""A window is taken to hold no more independent events than this while nobody knows how windows vary, however
many it counts: a few documents, sessions or users."""

# Two of three: a single odd window does not page, and a single quiet window does not end a drift.
_RECENT_WINDOWS = 3
_DRIFT_WINDOWS = 2

# Above the limit, more evidence would only prolong the verdict after the drift has ended: a window without
# drift lowers the statistic by one half on average. During a drift whose z is 1.8 on average the statistic is
# below the limit in one of seventy windows, and would be in one of nine if capped at the limit itself.
_MAX_EXCESS = 1.0

# Two days, a daily cycle being no drift; or twenty windows, if that is longer. Older ones are left out: drift
# that was large long ago is not today's.
_SPAN_MS = 2 * 86_400_000
_SPAN_WINDOWS = 20

# What a window adds to the evidence of a run counts for so much one window later: a kind that the last window
# alone names does not rename a drift of three windows, and that of a new drift soon prevails.
_KEPT_EVIDENCE = 0.75


class Verdict(StrEnum):
    """The verdict of a window.

    Attributes:
        OK: No drift was found; `Score.detectable` says how small a drift would have been.
        WARNING: Drift in this window alone so far, or small evidence accumulated over many windows.
        DRIFT: Significant and large drift in two of the last three windows, overwhelming drift in this one,
            or in the windows of slow drift together. A window that was empty or not scored counts as one
            without drift; so does one in which the segment was empty or not scored.
        INSUFFICIENT: Too few events to be scored.
        INCOMPLETE: Partitions are missing, or `incomplete_reason` names another fault of the counts.
        MISFIT: No drift since the clean windows, but these differ from the baseline: it does not fit the
            stream, or the stream had drifted before.
    """

    OK = "ok"
    WARNING = "warning"
    DRIFT = "drift"
    INSUFFICIENT = "insufficient"
    INCOMPLETE = "incomplete"
    MISFIT = "misfit"

    @property
    def is_conclusive(self) -> bool:
        """Whether the verdict says whether there is drift; any other ends no alarm."""
        return self not in {Verdict.INSUFFICIENT, Verdict.INCOMPLETE}


SpanTally = tuple[int, NDArray[np.int64]]
"""The start of some windows, ms, and the sum of their tallies, (length,) int64."""


@dataclass(frozen=True, slots=True, eq=False)
class SlowDrift:
    """The evidence of slow drift, and the latest windows that it comes from.

    Attributes:
        statistic: The CUSUM statistic; see `driftgauge.core.statistics.cusum`.
        since_ms: The estimated start of the drift, event time in ms: that of the first window since the
            statistic was last 0; None if it is 0.
        blocks: The latest windows since then in one span or two, the oldest first.
    """

    statistic: float = 0.0
    since_ms: int | None = None
    blocks: tuple[SpanTally, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class VerdictMemory:
    """The memory of the windows before, with which the next window is judged.

    Attributes:
        recent: Whether each of the last windows counts for drift, oldest first.
        slow_drift: The slow drift.
        segments: As `recent`, for each segment that counted in one of them; a window in which the segment was
            not scored counts as False.
        has_fitted: Some window before was like the baseline, or was declared clean.
        evidence: The evidence of the significant windows of this run by kind of drift, each of which added 1.
    """

    recent: tuple[bool, ...] = ()
    slow_drift: SlowDrift = SlowDrift()
    segments: dict[Segment, tuple[bool, ...]] = field(default_factory=dict)
    has_fitted: bool = False
    evidence: Mapping[str, float] = field(default_factory=dict)

    def add_evidence(self, of_window: Mapping[str, float], *, is_significant: bool) -> Mapping[str, float]:
        """Return the evidence after one more window, whose shares sum to 1.

        A run ends once none of the windows that are remembered counts for drift.
        """
        before = self.evidence if any(self.recent) else {}
        kept = {kind: _KEPT_EVIDENCE * each for kind, each in before.items()}
        if is_significant:
            return {kind: kept.get(kind, 0.0) + share for kind, share in of_window.items()}
        return kept


@dataclass(frozen=True, slots=True, eq=False)
class VerdictHistory:
    """The history of a stream's windows of one size against one baseline: a fold over their results.

    Each window enters it once, at its first complete revision, in the order of event time. The memory that a
    window is judged with is kept beside its result, so that every revision is judged with the same.

    Attributes:
        end_ms: The end of the last window that has entered; a window that ends earlier never enters.
        memory: The memory that the next window is judged with.
    """

    end_ms: int = 0
    memory: VerdictMemory = VerdictMemory()

    def memory_for(self, window: Window) -> VerdictMemory:
        """Return the memory for a window; missing windows before it count as False."""
        missing = (
            min((window.start_ms - self.end_ms) // window.size_ms, _RECENT_WINDOWS) if self.end_ms else 0
        )
        recent, segments = self.memory.recent, self.memory.segments
        for _ in range(missing):
            recent, segments = _keep_recent((*recent, False)), _update_segments(segments, {})
        return replace(self.memory, recent=recent, segments=segments)


@dataclass(frozen=True, slots=True)
class Signs:
    """What the evidence of one window allows a verdict to say.

    Attributes:
        warns: Its drift is significant and large.
        counts: It counts for drift, which takes two of three windows.
        decides: It is drift by itself.
        fits: It is like the baseline.
        p_value: The p-value by which slow drift goes on.
    """

    warns: bool
    counts: bool
    decides: bool
    fits: bool
    p_value: float


def decide(
    recent: tuple[bool, ...],
    *,
    counts: bool,
    warns: bool,
    decides: bool = False,
    is_misfit: bool = False,
) -> Verdict:
    """Return the verdict of a complete window that was scored.

    Args:
        recent: Whether each of the windows before counts for drift, oldest first.
        counts: Whether this window does.
        warns: Whether this window, or slow drift, warns.
        decides: Whether this window, or those of slow drift together, are drift by themselves.
        is_misfit: Whether the clean windows differ from the baseline.
    """
    if decides or sum((*recent, counts)[-_RECENT_WINDOWS:]) >= _DRIFT_WINDOWS:
        return Verdict.DRIFT
    if counts or warns:
        return Verdict.WARNING
    return Verdict.MISFIT if is_misfit else Verdict.OK


def update_memory(
    memory: VerdictMemory,
    window: Window,
    tally: Tally,
    signs: Signs,
    *,
    slow_drift_limit: float,
    segments: Mapping[Segment, bool],
    evidence: Mapping[str, float],
) -> VerdictMemory:
    """Return the memory after one more window.

    Args:
        memory: The memory that the window is judged with.
        window: The window.
        tally: Its tally.
        signs: Its signs.
        slow_drift_limit: The limit at which the statistic of slow drift warns.
        segments: Whether each scored segment counts for drift; all other segments count as False.
        evidence: The evidence after the window; see `VerdictMemory.add_evidence`.
    """
    before, slow_drift = memory.slow_drift, SlowDrift()
    statistic = min(advance(before.statistic, signs.p_value), slow_drift_limit + _MAX_EXCESS)
    if statistic > 0:
        since_ms = window.start_ms if before.since_ms is None else before.since_ms
        slow_drift = SlowDrift(statistic, since_ms, _add_to_spans(before.blocks, window, tally))
    return VerdictMemory(
        recent=_keep_recent((*memory.recent, signs.counts)),
        slow_drift=slow_drift,
        segments=_update_segments(memory.segments, segments),
        # A window of few events does not show it.
        has_fitted=memory.has_fitted or (tally.count >= FEW_EVENTS and signs.fits),
        evidence=evidence,
    )


def _keep_recent(recent: tuple[bool, ...]) -> tuple[bool, ...]:
    """Return the part of the recent windows that the next window needs."""
    return recent[-(_RECENT_WINDOWS - 1) :]


def _update_segments(
    before: Mapping[Segment, tuple[bool, ...]], counts: Mapping[Segment, bool]
) -> dict[Segment, tuple[bool, ...]]:
    """Return the recent windows of each segment after one more; a segment without a score counts as False."""
    after = {
        segment: _keep_recent((*before.get(segment, ()), counts.get(segment, False)))
        for segment in (*before, *counts)
    }
    # A segment without a True is judged like a new one, so nothing of it needs keeping.
    return {segment: recent for segment, recent in after.items() if any(recent)}


def _add_to_spans(spans: tuple[SpanTally, ...], window: Window, tally: Tally) -> tuple[SpanTally, ...]:
    """Return the spans of slow drift after one more window."""
    if spans:
        *others, (start_ms, values) = spans
        if window.end_ms - start_ms <= max(_SPAN_MS, _SPAN_WINDOWS * window.size_ms):
            return (*others, (start_ms, values + tally.values))
    return (*spans[-1:], (window.start_ms, tally.values))
