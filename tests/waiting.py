"""One loop that waits: for a condition, within a bound."""

import time
from collections.abc import Callable

PATIENCE_S = 300.0
POLL_INTERVAL_S = 0.05


def wait_for(condition: str, is_met: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    """Poll until the condition is met; raise AssertionError after the time-out."""
    deadline = time.monotonic() + within_s
    while not is_met():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within_s:g} s for {condition}")
        time.sleep(POLL_INTERVAL_S)
