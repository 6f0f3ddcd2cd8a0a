"""The clocks, wall and monotonic, as they are injected."""

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["SYSTEM_CLOCK", "Clock"]


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is.

    Attributes:
        wall_ms: Milliseconds since the epoch, UTC.
        monotonic_s: Seconds that never go back.
    """

    wall_ms: Callable[[], int]
    monotonic_s: Callable[[], float]


SYSTEM_CLOCK = Clock(lambda: time.time_ns() // 1_000_000, time.monotonic)
