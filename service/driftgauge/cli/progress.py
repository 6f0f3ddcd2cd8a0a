"""Progress of long work on standard error: a live line on a terminal, elsewhere a line every few seconds."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from driftgauge.cli.printing import message
from driftgauge.clock import SYSTEM_CLOCK, Clock
from driftgauge.progress import Track, WorkProgress

__all__ = ["print_lines", "show_progress"]

# The time between two lines, if the progress is no live line.
_INTERVAL_S = 5.0


@contextmanager
def show_progress() -> Iterator[Track]:
    """Yield what receives the progress of long work, and show it while the context lasts."""
    if not sys.stderr.isatty():
        yield print_lines(SYSTEM_CLOCK)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    # Messages and results stand above the line, but results in a pipe stay there.
    is_shared = sys.stdout.isatty()
    with Live(console=Console(stderr=True), transient=True, redirect_stdout=is_shared) as live:
        yield lambda work: live.update(Text(work.text))


def print_lines(clock: Clock) -> Track:
    """Return what prints the progress as lines, at most one in five seconds."""
    due_s = clock.monotonic_s() + _INTERVAL_S

    def track(work: WorkProgress) -> None:
        nonlocal due_s
        if clock.monotonic_s() >= due_s:
            due_s = clock.monotonic_s() + _INTERVAL_S
            message(work.text)

    return track
