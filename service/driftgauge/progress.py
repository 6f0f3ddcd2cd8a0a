"""Progress of long work: the library reports it, and the command line shows it."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Track", "WorkProgress", "ignore_progress"]


@dataclass(frozen=True, slots=True)
class WorkProgress:
    """How far a piece of work has come.

    Attributes:
        noun: What is done, in the plural, such as "lines read".
        done: How many are done.
        total: How many there are; None if the number is not known.
        share: The share that is done if it is known better than by the count, 0 to 1; else None.
    """

    noun: str
    done: int
    total: int | None = None
    share: float | None = None

    @property
    def text(self) -> str:
        """How much is done, such as "1,000 of 4,000 rows read", or "1,000 lines read (25%)"."""
        of = "" if self.total is None else f" of {self.total:,}"
        share = "" if self.share is None else f" ({self.share:.0%})"
        return f"{self.done:,}{of} {self.noun}{share}"


# Receives each report of a piece of work.
Track = Callable[[WorkProgress], None]


def ignore_progress(_: WorkProgress) -> None:
    """Show no progress: the default of functions that report some."""
