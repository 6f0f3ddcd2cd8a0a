"""Whether the process is alive and ready, as its supervisor asks."""

import logging
import time
from collections.abc import Callable
from enum import StrEnum
from threading import Lock

__all__ = ["Condition", "Health"]

logger = logging.getLogger(__name__)

# Far above any batch or commit. Kafka has given the partitions to others by then (max.poll.interval.ms).
_POLL_BOUND_MS = 60_000

# The table is compared with the ends of the state every second; an answer may take some seconds.
_FRESH_BOUND_MS = 15_000


class Condition(StrEnum):
    """What must be so before the gauges can be believed."""

    BASELINES_LOADED = "baselines_loaded"
    RESTORED = "restored"
    """In the group, and what was assigned, if anything, goes on from where it was committed."""
    TABLE_FRESH = "table_fresh"
    """The table was seen to hold all that is committed, not long ago."""


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Health:
    """Liveness by the movement of the poll loop, readiness by conditions; safe from any thread.

    Liveness does not ask for the broker: a restart cannot mend it.
    """

    def __init__(
        self, clock_ms: Callable[[], int] = _monotonic_ms, poll_bound_ms: int = _POLL_BOUND_MS
    ) -> None:
        """Start alive and not ready.

        Args:
            clock_ms: A clock that never goes back, ms.
            poll_bound_ms: How long the loop may go without a poll.
        """
        self._clock_ms = clock_ms
        self._poll_bound_ms = poll_bound_ms
        self._polled_ms = clock_ms()
        self._refreshed_ms: int | None = None
        self._unmet = frozenset(Condition) - {Condition.TABLE_FRESH}
        self._was_ready = False
        self._lock = Lock()

    def polled(self) -> None:
        """Say that the poll loop has come round."""
        self._polled_ms = self._clock_ms()
        self._log_turn()

    def set_ready(self, condition: Condition, *, met: bool) -> None:
        """Say that a condition is met, or no longer is; of the table's freshness `refreshed` tells."""
        with self._lock:
            self._unmet = self._unmet - {condition} if met else self._unmet | {condition}
        self._log_turn()

    def refreshed(self) -> None:
        """Say that the table holds all that is committed."""
        self._refreshed_ms = self._clock_ms()
        self._log_turn()

    def is_fresh(self) -> bool:
        """Tell whether the table was up to date within the bound."""
        refreshed_ms = self._refreshed_ms
        return refreshed_ms is not None and self._clock_ms() - refreshed_ms <= _FRESH_BOUND_MS

    def since_poll_ms(self) -> int:
        """Return how long ago the last poll (or the start) was, ms."""
        return self._clock_ms() - self._polled_ms

    def is_alive(self) -> bool:
        """Tell whether the poll loop came round within the bound."""
        return self.since_poll_ms() <= self._poll_bound_ms

    def missing(self) -> list[Condition]:
        """Return the conditions that are not met, sorted; ready where there is none."""
        stale = set() if self.is_fresh() else {Condition.TABLE_FRESH}
        return sorted(self._unmet | stale)

    def _log_turn(self) -> None:
        missing = self.missing()
        with self._lock:
            turned = self._was_ready == bool(missing)
            self._was_ready = not missing
        if turned:
            logger.info("not ready" if missing else "ready", extra={"missing": missing})
