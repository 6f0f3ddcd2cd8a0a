"""Ends clients of the harness within a bound: `close()` may never return (librdkafka issue 5476)."""

import threading
from typing import Final

from confluent_kafka import Consumer

from tests.output import say

CLOSE_S: Final = 20.0

_left: list[str] = []


def close(consumer: Consumer, name: str) -> None:
    """Close a consumer; leave it behind if that takes longer than 20 s."""
    # The blocked thread keeps the consumer alive, whose release would block as well.
    thread = threading.Thread(target=consumer.close, daemon=True)
    thread.start()
    join(thread, name)


def join(thread: threading.Thread, name: str, within_s: float = CLOSE_S) -> bool:
    """Wait for the end of a daemon thread that calls a client; return False if it is left behind."""
    thread.join(within_s)
    if thread.is_alive():
        _left.append(f"{name} did not end within {within_s:g} s, and was left behind")
        say(_left[-1])
        return False
    return True


def take_left_behind() -> list[str]:
    """Return what was left behind since the last call."""
    left = _left[:]
    _left.clear()
    return left
