"""Builder of timelines."""

from driftgauge.backtest.timeline import Timeline, WindowPoint
from driftgauge.core.windows.result import Verdict
from driftgauge.core.windows.window import Window

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LETTERS = {"o": Verdict.OK, "w": Verdict.WARNING, "D": Verdict.DRIFT, "i": Verdict.INSUFFICIENT}


def build_timeline(verdicts: str, *, size_ms: int = HOUR_MS) -> Timeline:
    """Return a timeline with these verdicts in order: o(k), w(arning), D(rift), i(nsufficient)."""
    points = tuple(
        WindowPoint(Window(size_ms, number * size_ms), 100, LETTERS[letter], 0.1, 0.01, 0.2, 0.5)
        for number, letter in enumerate(verdicts)
    )
    return Timeline("images", size_ms, None, points)
