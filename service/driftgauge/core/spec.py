"""The specification of a stream: baseline schedule, window sizes, event-time limits and alarm."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

from driftgauge.core.counting.numbers import Number
from driftgauge.core.counting.scheme import Scheme
from driftgauge.core.reference import Reference
from driftgauge.core.statistics import registry

__all__ = ["Alarm", "ScheduledBaseline", "StreamSpec", "floor_of"]

# Drift of exactly the smallest size worth finding scores below that size in half of the windows.
_FLOOR_SHARE = 0.5


def floor_of(smallest: float) -> float:
    """Return the least excess at which drift is large, by the smallest drift worth finding."""
    return _FLOOR_SHARE * smallest


@dataclass(frozen=True, slots=True)
class Alarm:
    """The significance level, and the size of drift worth finding.

    Attributes:
        level: The probability that a window without drift is significant, itself or any of its segments.
        smallest: The smallest drift worth finding by each statistic's name, in the unit of its size.
        warm_up: Start and end, event time in ms, of the period that the operator declares clean, whose
            windows calibrate the overdispersion; None: the baseline's overdispersion is used.
        segment_keys: The keys by which events are also judged in segments.
    """

    level: float
    smallest: Mapping[str, float]
    warm_up: tuple[int, int] | None = None
    segment_keys: tuple[str, ...] = ()

    def floor(self, statistic: str) -> float:
        """Return the least excess of a statistic, by its name, at which a window's drift is large."""
        return floor_of(self.smallest[statistic])

    @property
    def overall_level(self) -> float:
        """The level of the test of all of a window's events, and of all segment tests together.

        Half of the window's level with segments, since both tests page; all of it without.
        """
        return self.level / 2 if self.segment_keys else self.level


@dataclass(frozen=True, slots=True)
class ScheduledBaseline:
    """A baseline, and the event time from which it is in force.

    Attributes:
        reference: The baseline.
        from_ms: The event time from which it is in force, where a window of every size starts; None: from
            the beginning.
    """

    reference: Reference
    from_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """The specification of one stream.

    Attributes:
        name: The stream's name, or the pattern of the streams that share the specification, see `ByStream`.
        baselines: The baseline schedule, oldest first; the first is in force from the beginning.
        sizes_ms: The window sizes, ms.
        disorder_ms: The allowed disorder: how far an event may lie behind the newest of its partition.
        lateness_ms: The allowed lateness: how long a closed window is still revised.
        idle_ms: Wall time without events after which a partition may count as idle.
        incomplete_ms: Wall time that a window waits for partitions that are behind before it is published
            without them.
        give_up_ms: Time without progress of a partition's position after which the partition holds up no
            window until it is level with the stream again.
        min_events: A window with fewer events is not scored.
        alarm: The significance level, and the size of drift worth finding.
        snippet_bytes: How much of the text of an example is kept, in UTF-8; 0: nothing.
        most: How many streams a shard admits to a specification that they share.
        numbers: The numbers that its events carry beside the vector.
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
    snippet_bytes: int = 0
    most: int = 1
    numbers: tuple[Number, ...] = ()

    def baseline_at(self, time_ms: int) -> Reference:
        """Return the baseline in force at an event time; for a window, use its start."""
        first, *others = self.baselines
        for baseline in reversed(others):
            if baseline.from_ms is not None and baseline.from_ms <= time_ms:
                return baseline.reference
        return first.reference

    def scheme(self, reference: Reference) -> Scheme:
        """Return the scheme by which events are counted against a baseline, all events together."""
        return Scheme(
            baseline=reference.key,
            pane_ms=self.pane_ms,
            segment_keys=self.alarm.segment_keys,
            fields=registry.fields_of(reference),
        )

    place = staticmethod(registry.place)
    """Returns events relative to a baseline, by their vectors and clusters."""

    measure = staticmethod(registry.measure)
    """Returns what events add to each field of the scheme, by the baseline and these events."""

    @property
    def is_shared(self) -> bool:
        """Whether the specification is that of every stream that matches its name."""
        return "*" in self.name

    @property
    def pane_ms(self) -> int:
        """The pane length: the greatest common divisor of the window sizes."""
        return gcd(*self.sizes_ms)
