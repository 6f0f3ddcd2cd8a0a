"""How one stream is watched."""

from dataclasses import dataclass
from math import gcd

from driftgauge.core.counting.scheme import CLUSTER_COUNTS, COORDINATE_SUMS, OUTLIERS, Scheme
from driftgauge.core.reference import Reference
from driftgauge.core.statistics.budget import share

__all__ = ["Alarm", "ScheduledBaseline", "StreamSpec"]

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

    @property
    def whole_level(self) -> float:
        """The level at which a window's whole is tested, beside the segments."""
        return share(self.level, len(self.segment_keys))


@dataclass(frozen=True, slots=True)
class ScheduledBaseline:
    """A baseline, and the event time from which it is in force.

    Attributes:
        reference: The baseline.
        from_ms: The event time from which it is in force, a start of windows of every size; None: from
            the beginning.
    """

    reference: Reference
    from_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """How one stream is watched.

    Attributes:
        name: The stream's name.
        baselines: The baseline schedule, oldest first; the first is in force from the beginning.
        sizes_ms: The window sizes, ms.
        disorder_ms: How far behind the newest event of its partition an event may be expected.
        lateness_ms: How long after its closing a window is still corrected.
        idle_ms: Wall time of silence after which a partition may count as idle.
        incomplete_ms: Wall time that a window waits for the partitions behind the foremost one
            before it is published without them.
        give_up_ms: Time that a partition's position stands still, after which the partition holds up no
            window until it is level with the stream again.
        min_events: A window with fewer events is not scored.
        alarm: What is drift.
    """

    name: str
    baselines: tuple[ScheduledBaseline, ...]
    sizes_ms: tuple[int, ...]
    disorder_ms: int
    lateness_ms: int
    idle_ms: int
    incomplete_ms: int
    give_up_ms: int
    min_events: int
    alarm: Alarm

    def in_force(self, time_ms: int) -> Reference:
        """Return the baseline that is in force at an event time; a window's is that of its start."""
        first, *others = self.baselines
        for baseline in reversed(others):
            if baseline.from_ms is not None and baseline.from_ms <= time_ms:
                return baseline.reference
        return first.reference

    def find(self, key: str) -> Reference | None:
        """Return the listed baseline of this key; None where none has it."""
        listed = (baseline.reference for baseline in self.baselines)
        return next((reference for reference in listed if reference.key == key), None)

    def scheme(self, reference: Reference) -> Scheme:
        """Return how events are counted by this baseline."""
        return Scheme(
            baseline=reference.key,
            pane_ms=self.pane_ms,
            segment_keys=self.alarm.segment_keys,
            statistics=(
                (CLUSTER_COUNTS, reference.centroids.clusters),
                (OUTLIERS, 1),
                (COORDINATE_SUMS, reference.components),
            ),
        )

    def overdue_ms(self, size_ms: int) -> int:
        """Return how long after a window of this size was closed the next one is overdue.

        A window may stay empty, and then nothing is closed, so two of them are waited for; the second
        as long as disorder, silent partitions and those behind may hold it up.
        """
        return 2 * size_ms + self.disorder_ms + max(self.idle_ms, self.incomplete_ms)

    @property
    def pane_ms(self) -> int:
        """The longest stretch of event time that every window size is a multiple of."""
        return gcd(*self.sizes_ms)
