"""The work budget of a closing round: how many comparisons all shards and streams may make together."""

from collections.abc import Collection

from driftgauge.core.reference import Reference

__all__ = ["WorkBudget", "window_work"]

# A round blocks the window task, and thousands of windows may be due after an outage. A comparison takes
# about 7 us for each cluster and for 150 more: 500 windows with 20 clusters take 0.6 s, as do 74 with 1,000.
_MAX_WORK = 85_000
_WORK_BESIDES_CLUSTERS = 150


class WorkBudget:
    """The work that is left in a round of all shards and streams; its unit is a cluster compared."""

    def __init__(self) -> None:
        self._left = self._whole = _MAX_WORK

    def allows(self, work: int) -> bool:
        """Return whether the round has time for this work; the first work of a round is always allowed."""
        return self._left >= work or self._left == self._whole

    def spend(self, work: int) -> None:
        """Subtract work that was done."""
        self._left -= work


def window_work(reference: Reference, segment_keys: Collection[str]) -> int:
    """Return the work of comparing a window and its segments with a baseline."""
    return (1 + len(reference.segments_by(segment_keys))) * (_WORK_BESIDES_CLUSTERS + len(reference.counts))
