"""Progress of long work on standard error: a live line on a terminal, elsewhere a line every few seconds."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from driftgauge.cli.printing import message, printing_above
from driftgauge.clock import SYSTEM_CLOCK, Clock
from driftgauge.core.durations import format_duration
from driftgauge.progress import Track, WorkProgress

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["LiveProgress", "PlainProgress", "show_progress"]

# The time between two lines, where the progress is no live line.
_INTERVAL_S = 5.0
_BAR_COLUMNS = 20
# A narrower terminal has room for the words alone.
_BAR_FROM_COLUMNS = 60
# The time between two drawings of the live line.
_REDRAW_S = 0.1
# From this time on a remaining time is in whole minutes.
_MINUTES_FROM_S = 600


@contextmanager
def show_progress() -> Iterator[Track]:
    """Yield what receives the progress of long work, and show it while the context lasts."""
    if not sys.stderr.isatty():
        yield PlainProgress(message, SYSTEM_CLOCK)
        return
    from rich.console import Console

    with LiveProgress(Console(stderr=True), SYSTEM_CLOCK) as live:
        yield live


class PlainProgress:
    """Prints the progress as lines, at most one in five seconds."""

    def __init__(self, echo: Callable[[str], None], clock: Clock) -> None:
        self._echo = echo
        self._stopwatch = _Stopwatch(clock)
        self._due_s = 0.0

    def __call__(self, work: WorkProgress) -> None:
        """Receive the progress, and print it if a line is due."""
        elapsed_s = self._stopwatch.measure(work)
        if elapsed_s == 0:
            self._due_s = _INTERVAL_S
        elif elapsed_s >= self._due_s:
            self._due_s = elapsed_s + _INTERVAL_S
            self._echo(_describe(work, elapsed_s))


class LiveProgress:
    """Draws the progress as one line of a terminal, above which messages and results scroll.

    The line is drawn while the context lasts.
    """

    def __init__(self, console: "Console", clock: Clock) -> None:
        from rich.live import Live

        self._console = console
        self._stopwatch = _Stopwatch(clock)
        self._due_s = 0.0
        # click finds the streams behind a redirection, so it is told to print above the line.
        self._live = Live(
            "",
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._above = printing_above(partial(console.out, highlight=False))

    def __enter__(self) -> "LiveProgress":
        self._live.start(refresh=True)
        self._above.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._above.__exit__(None, None, None)
        self._live.stop()

    def __call__(self, work: WorkProgress) -> None:
        """Receive the progress, and draw it if it was not drawn just now."""
        elapsed_s = self._stopwatch.measure(work)
        if elapsed_s == 0 or elapsed_s >= self._due_s:
            self._due_s = elapsed_s + _REDRAW_S
            self._live.update(self._draw(work, _describe(work, elapsed_s)), refresh=True)

    def _draw(self, work: WorkProgress, words: str) -> "RenderableType":
        """Return the line, cut to the width of the terminal."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        line = Table.grid(padding=(0, 1))
        text = Text(words, no_wrap=True, overflow="ellipsis")
        share = work.known_share
        if share is None or self._console.width < _BAR_FROM_COLUMNS:
            line.add_row(text)
        else:
            line.add_row(ProgressBar(1.0, share, width=_BAR_COLUMNS), text)
        return line


class _Stopwatch:
    """Measures how long a piece of work has taken since its first report."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_s = 0.0
        self._last: WorkProgress | None = None

    def measure(self, work: WorkProgress) -> float:
        """Return the seconds since the work began, 0 if this is its first report."""
        now_s = self._clock.monotonic_s()
        last, self._last = self._last, work
        if last is None or last.noun != work.noun or work.done < last.done:
            self._started_s = now_s
        return now_s - self._started_s


def _describe(work: WorkProgress, elapsed_s: float) -> str:
    of = "" if work.total is None else f" of {work.total:,}"
    line = f"{work.done:,}{of} {work.noun}"
    if not (work.done and elapsed_s):
        return line
    rate = work.done / elapsed_s
    line += f", {rate:,.0f}/s" if rate >= 1 else f", {60 * rate:.1f}/min"
    if share := work.known_share:
        line += f", {_remaining(elapsed_s * (1 - share) / share)} left"
    return line


def _remaining(seconds: float) -> str:
    """Return a remaining time in words, in whole seconds, or in whole minutes from ten on."""
    whole = round(seconds) if seconds < _MINUTES_FROM_S else round(seconds / 60) * 60
    return format_duration(whole * 1_000)
