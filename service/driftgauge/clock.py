"""The injected wall and monotonic clocks."""

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["SYSTEM_CLOCK", "Clock"]


@dataclass(frozen=True, slots=True)
class Clock:
    """A wall clock and a monotonic clock.

    Attributes:
        wall_ms: Returns milliseconds since the epoch, UTC.
        monotonic_s: Returns seconds that never go back.
    """

    wall_ms: Callable[[], int]
    monotonic_s: Callable[[], float]


SYSTEM_CLOCK = Clock(lambda: time.time_ns() // 1_000_000, time.monotonic)
