"""One loop that waits: for a condition, within a bound."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 300.0
POLL_INTERVAL_S = 0.1
# A look may scrape a service or read a whole topic, so it pauses for as long as it took, but not for longer.
LONGEST_PAUSE_S = 0.5

_Found = TypeVar("_Found")


def wait_for(
    condition: str | Callable[[], str], look: Callable[[], _Found], *, within_s: float = PATIENCE_S
) -> _Found:
    """Call `look` until it returns something true, and return that; raise AssertionError after the time-out.

    Args:
        condition: What is awaited, or a function that says so when the time is over.
        look: Whether the condition is met, or what was awaited.
        within_s: The time-out.
    """
    deadline = time.monotonic() + within_s
    looked = time.monotonic()
    while not (found := look()):
        now = time.monotonic()
        if now > deadline:
            what = condition if isinstance(condition, str) else condition()
            raise AssertionError(f"waited {within_s:g} s for {what}")
        time.sleep(min(max(POLL_INTERVAL_S, now - looked), LONGEST_PAUSE_S))
        looked = time.monotonic()
    return found
