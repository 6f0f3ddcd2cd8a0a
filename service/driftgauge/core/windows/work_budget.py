"""The budget of a closing round: what all shards and streams together may compare, write and delete."""

from collections.abc import Collection

from driftgauge.core.commit_limit import ENTRY_BYTES, MAX_COMMIT_BYTES, SHARE
from driftgauge.core.reference import Reference

__all__ = ["ASKING", "WorkBudget", "window_work"]

# A round blocks the window task, and thousands of windows may be due after an outage. A comparison takes
# about 7 us for each cluster and for 150 more: 500 windows with 20 clusters take 0.6 s, as do 74 with 1,000.
_MAX_WORK = 85_000
_WORK_BESIDES_CLUSTERS = 150

ASKING = 3
"""The work of finding that a window has not changed since it was published."""


class WorkBudget:
    """What is left in a round of all shards and streams; the unit of work is a cluster compared.

    Attributes:
        deletions: The number of changelog entries that may still be deleted. They have a part of their own,
            because closing goes on for as long as windows wait.
    """

    def __init__(self, most_bytes: int = MAX_COMMIT_BYTES) -> None:
        """Begin a round.

        Args:
            most_bytes: The most bytes that it may write, as `commit_limit` and `round_load` estimate them.
        """
        self._left = self._whole = _MAX_WORK
        of_deletions = most_bytes // SHARE
        self._bytes_left = most_bytes - of_deletions
        self.deletions = max(of_deletions // ENTRY_BYTES, 1)

    def allows(self, work: int, written: int) -> bool:
        """Return whether the round has room for this work; the first work of a round is always allowed.

        Args:
            work: The work.
            written: The bytes that it adds to what the round writes.
        """
        return (self._left >= work and self._bytes_left >= written) or self._left == self._whole

    def spend(self, work: int, written: int = 0) -> None:
        """Subtract work that was done."""
        self._left -= work
        self._bytes_left -= written


def window_work(reference: Reference, segment_keys: Collection[str]) -> int:
    """Return the work of comparing a window and its segments with a baseline."""
    return (1 + len(reference.segments_by(segment_keys))) * (_WORK_BESIDES_CLUSTERS + len(reference.counts))
