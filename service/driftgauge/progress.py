"""Progress of long work: the library reports it, and the command line shows it."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Track", "WorkProgress", "ignore_progress"]


@dataclass(frozen=True, slots=True)
class WorkProgress:
    """How far a piece of work has come; the first report of a piece of work starts its clock.

    Attributes:
        noun: What is done, in the plural, such as "lines read".
        done: How many are done.
        total: How many there are; None where the number is not known.
        share: The share that is done where it is known better than by the count, 0 to 1; else None.
    """

    noun: str
    done: int
    total: int | None = None
    share: float | None = None

    @property
    def known_share(self) -> float | None:
        """The share that is done, 0 to 1; None where it is not known."""
        if self.share is not None:
            return min(self.share, 1.0)
        return min(self.done / self.total, 1.0) if self.total else None


# Receives each report of a piece of work.
Track = Callable[[WorkProgress], None]


def ignore_progress(_: WorkProgress) -> None:
    """Show no progress: the default of functions that report some."""
