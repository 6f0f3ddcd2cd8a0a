"""Spans and moments in milliseconds, and a clock that a test advances."""

from driftgauge.clock import Clock

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
MONDAY_MS = 1_762_128_000_000  # 2025-11-03T00:00:00Z


class ManualClock:
    """A wall clock and a monotonic clock that advance only by `advance`."""

    def __init__(self, wall_ms: int = MONDAY_MS) -> None:
        self.wall_ms = wall_ms
        self.monotonic_s = 1_000.0
        self.clock = Clock(lambda: self.wall_ms, lambda: self.monotonic_s)

    def advance(self, seconds: float) -> None:
        self.wall_ms += round(1_000 * seconds)
        self.monotonic_s += seconds
