"""What a baseline requires of the events of its stream."""

from collections.abc import Iterable
from dataclasses import dataclass

from driftgauge.core.counting.assignment import DistanceMetric

__all__ = ["BaselineContract", "in_force"]


@dataclass(frozen=True, slots=True, eq=False)
class BaselineContract:
    """The requirements of a baseline on the events of its stream while it is in force.

    Attributes:
        stream: The stream's name, or the pattern of the names that share the baseline, see `ByStream`.
        baseline: The baseline's key; empty if the first events stand for a baseline.
        dimension: The length of a vector.
        model_version: The model's version; None if the baseline has none.
        metric: The distance metric; a zero vector has no direction under cosine.
        from_ms: The event time from which the baseline is in force; 0, the earliest event time, for a
            stream's first.
        numbers: The names of the numbers that its events carry.
    """

    stream: str
    baseline: str
    dimension: int
    model_version: str | None
    metric: DistanceMetric
    from_ms: int = 0
    numbers: tuple[str, ...] = ()


def in_force(schedule: Iterable[BaselineContract], time_ms: int) -> BaselineContract:
    """Return the contract of the baseline in force at an event time, given a stream's, newest first."""
    return next(contract for contract in schedule if contract.from_ms <= time_ms)
