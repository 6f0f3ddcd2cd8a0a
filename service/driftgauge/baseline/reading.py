"""Progress of reading vectors: how many, how fast, and the remaining time where the total is known."""

from collections.abc import Callable

from driftgauge.clock import SYSTEM_CLOCK, Clock
from driftgauge.core.durations import format_duration

__all__ = ["ReadingProgress"]

# The time between two lines of progress.
INTERVAL_S = 5.0


class ReadingProgress:
    """Reports the progress of reading, at most one line in five seconds."""

    def __init__(
        self,
        progress: Callable[[str], None],
        noun: str,
        total: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Start the measurement.

        Args:
            progress: Receives the lines.
            noun: What is read, in the plural.
            total: How many there are; None where the number is not known.
            clock: Measures the time.
        """
        self._progress = progress
        self._noun = noun
        self._total = total
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self._due_s = self._started_s + INTERVAL_S

    def report(self, count: int, share: float | None = None) -> None:
        """Report a line if one is due.

        Args:
            count: How many were read.
            share: The share of the whole that was read, where it is known better than by the count.
        """
        now_s = self._clock.monotonic_s()
        if now_s < self._due_s:
            return
        self._due_s = now_s + INTERVAL_S
        elapsed_s = now_s - self._started_s
        of = "" if self._total is None else f" of {self._total:,}"
        line = f"{count:,}{of} {self._noun} read, {count / elapsed_s:,.0f}/s"
        if share is None and self._total:
            share = min(count / self._total, 1.0)
        if share:
            line += f", {_remaining(elapsed_s * (1 - share) / share)} left"
        self._progress(line)


def _remaining(seconds: float) -> str:
    """Return a remaining time in words, in whole seconds, or in whole minutes from ten on."""
    whole = round(seconds) if seconds < 600 else round(seconds / 60) * 60  # noqa: PLR2004 - ten minutes
    return format_duration(whole * 1_000)
