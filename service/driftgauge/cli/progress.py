"""Progress of long work on standard error: live bars on a terminal, elsewhere a line every few seconds."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from driftgauge.cli.printing import message
from driftgauge.clock import SYSTEM_CLOCK, Clock
from driftgauge.progress import Track, WorkProgress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["print_lines", "show_progress"]

# The time between two lines, where the progress is no live bar.
_INTERVAL_S = 5.0
_BAR_COLUMNS = 20


@contextmanager
def show_progress() -> Iterator[Track]:
    """Yield what receives the progress of long work, and show it while the context lasts."""
    if not sys.stderr.isatty():
        yield print_lines(SYSTEM_CLOCK)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(_BAR_COLUMNS),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Messages and results stand above the bars, but results in a pipe stay there.
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        yield _draw_bars(progress)


def _draw_bars(progress: "Progress") -> Track:
    """Return what draws a bar for each piece of work."""
    tasks: dict[str, TaskID] = {}

    def track(work: WorkProgress) -> None:
        if work.noun not in tasks:
            tasks[work.noun] = progress.add_task(work.text, total=None)
        share = work.known_share
        progress.update(
            tasks[work.noun],
            description=work.text,
            completed=share or 0.0,
            total=None if share is None else 1.0,
        )

    return track


def print_lines(clock: Clock) -> Track:
    """Return what prints the progress as lines, at most one in five seconds."""
    due_s = clock.monotonic_s() + _INTERVAL_S

    def track(work: WorkProgress) -> None:
        nonlocal due_s
        if clock.monotonic_s() >= due_s:
            due_s = clock.monotonic_s() + _INTERVAL_S
            message(work.text)

    return track
