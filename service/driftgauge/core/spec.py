"""How one stream is watched."""

from dataclasses import dataclass
from math import gcd

from driftgauge.core.budget import share
from driftgauge.core.reference import Reference

__all__ = ["Alarm", "StreamSpec"]

# Drift of just the smallest size worth finding scores below it in every other window.
_FLOOR_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Alarm:
    """What drift is worth finding, and how rarely it may be found where there is none.

    Attributes:
        level: The chance that a window without drift is significant, itself or any of its segments.
        js_divergence: The smallest base-2 Jensen-Shannon divergence that is worth finding.
        mean_shift: The smallest shift of the mean that is, its Mahalanobis length squared.
        warm_up: From when until when, event time in ms, the operator declares the stream clean, so
            that its windows show how related events are; None: it is left to the baseline.
        segment_keys: By what the events are told apart, to be judged apart as well.
    """

    level: float
    js_divergence: float
    mean_shift: float
    warm_up: tuple[int, int] | None = None
    segment_keys: tuple[str, ...] = ()

    @property
    def js_excess_floor(self) -> float:
        """The divergence above the noise floor from which a window is large."""
        return _FLOOR_SHARE * self.js_divergence

    @property
    def mean_shift_excess_floor(self) -> float:
        """The shift of the mean above what noise makes from which a window is large."""
        return _FLOOR_SHARE * self.mean_shift

    def whole_level(self, segments: int) -> float:
        """Return the level a window's whole is tested at, beside so many segments."""
        return share(self.level, segments)


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """How one stream is watched.

    Attributes:
        name: The stream's name.
        reference: The baseline it is configured to be compared with.
        sizes_ms: The window sizes, ms.
        disorder_ms: How far behind the newest event of its partition an event may be expected.
        lateness_ms: How long after its closing a window is still corrected.
        idle_ms: Wall time of silence after which a partition may count as idle.
        incomplete_ms: Wall time that a window waits for the partitions behind the foremost one
            before it is published without them.
        min_events: A window with fewer events is not scored.
        alarm: What is drift.
    """

    name: str
    reference: Reference
    sizes_ms: tuple[int, ...]
    disorder_ms: int
    lateness_ms: int
    idle_ms: int
    incomplete_ms: int
    min_events: int
    alarm: Alarm

    def overdue_ms(self, size_ms: int) -> int:
        """Return how long after a window of this size was closed the next one is overdue.

        A window may stay empty, and then nothing is closed, so two of them are waited for; the second
        as long as disorder, silent partitions and those behind may hold it up.
        """
        return 2 * size_ms + self.disorder_ms + max(self.idle_ms, self.incomplete_ms)

    @property
    def whole_level(self) -> float:
        """The level at which a window's whole is tested against the configured baseline."""
        return self.alarm.whole_level(len(self.reference.segments_by(self.alarm.segment_keys)))

    @property
    def pane_ms(self) -> int:
        """The longest stretch of event time that every window size is a multiple of."""
        return gcd(*self.sizes_ms)
