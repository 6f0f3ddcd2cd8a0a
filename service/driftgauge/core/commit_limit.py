"""The bound of what one commit writes, in bytes that are estimated before anything is encoded."""

from typing import Final

__all__ = ["ENTRY_BYTES", "MAX_COMMIT_BYTES", "NUMBER_BYTES", "SHARE", "CommitLimit"]

MAX_COMMIT_BYTES: Final = 16 * 2**20
"""The most bytes that one commit writes: brokers take them in a second or two, and slow ones in ten."""

SHARE: Final = 4
"""A quarter of WINDOWS' bound is for what is applied, and as much for the commit of COUNT that exceeds it.

Half of the bound is left for the windows that close, so that a round closes some also while partials wait.
"""

ENTRY_BYTES: Final = 200
"""What a record takes besides its numbers: its key, and the work of the client."""

NUMBER_BYTES: Final = 8
"""The bytes of a number of a tally in memory; encoded it takes half of that."""

# A commit has 12 s. One that takes half of them is too large for these brokers.
_SLOW_S: Final = 6.0
_QUICK_S: Final = 2.0
_QUICK_COMMITS: Final = 10


class CommitLimit:
    """The bound of what one commit of a role writes, which follows the time that brokers take.

        a commit took 6 s or longer, or timed out      the bound is halved, to 1 MiB at least
        ten commits in a row took less than 2 s each   the bound is doubled, to 16 MiB at most

    A commit that takes a time in between changes nothing, so that the bound does not swing.

    Attributes:
        bytes: The bound.
    """

    def __init__(self) -> None:
        self.bytes = MAX_COMMIT_BYTES
        self._quick = 0

    @property
    def ratio(self) -> float:
        """The bound over its most, 0 to 1."""
        return self.bytes / MAX_COMMIT_BYTES

    def committed(self, took_s: float) -> None:
        """Adjust the bound to a commit that took so long, from its first record to its end."""
        if took_s >= _SLOW_S:
            self._halve()
        elif took_s >= _QUICK_S:
            self._quick = 0
        else:
            self._quick += 1
            if self._quick == _QUICK_COMMITS:
                self._quick = 0
                self.bytes = min(2 * self.bytes, MAX_COMMIT_BYTES)

    def aborted(self, took_s: float) -> None:
        """Adjust the bound to a transaction that failed after this time, if that was because of its size."""
        self._quick = 0
        if took_s >= _SLOW_S:
            self._halve()

    def _halve(self) -> None:
        self._quick = 0
        self.bytes = max(self.bytes // 2, MAX_COMMIT_BYTES // 16)
