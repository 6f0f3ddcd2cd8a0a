"""Whether the process is alive and ready, as its supervisor asks."""

import logging
from collections.abc import Collection
from enum import StrEnum
from threading import Lock

from driftgauge.clock import Clock

__all__ = ["Condition", "Health", "Role"]

_log = logging.getLogger(__name__)

# Far above any batch or commit. Kafka has given the partitions to others by then (max.poll.interval.ms).
_POLL_BOUND_MS = 60_000


class Role(StrEnum):
    """What a process does."""

    COUNT = "count"
    WINDOWS = "windows"


class Condition(StrEnum):
    """What must be so before the process is ready."""

    BASELINES_LOADED = "baselines_loaded"
    COUNT = "count"
    """The clients of the role count work: it is in its group, or waits for it."""
    WINDOWS = "windows"
    """As `COUNT`, of the role windows."""
    CLOCK = "clock"
    """The clock differs from the brokers' by no more than the bound."""


class Health:
    """Liveness by the movement of the poll loops, readiness by conditions; safe from any thread.

    Liveness does not ask for the broker: a restart cannot mend it.
    """

    def __init__(
        self,
        roles: Collection[Role],
        clock: Clock,
        poll_bound_ms: int = _POLL_BOUND_MS,
    ) -> None:
        """Start alive and not ready.

        Args:
            roles: What the process does.
            clock: The clocks; the monotonic one is used.
            poll_bound_ms: How long a role's loop may go without a poll.
        """
        self.conditions = (
            Condition.BASELINES_LOADED,
            Condition.CLOCK,
            *(Condition(role.value) for role in roles),
        )
        self._clock = clock
        self._poll_bound_ms = poll_bound_ms
        self._polled_ms = dict.fromkeys(roles, self._now_ms())
        self._unmet = frozenset(self.conditions) - {Condition.CLOCK}
        self._was_ready = False
        self._lock = Lock()

    def polled(self, role: Role) -> None:
        """Say that a role's poll loop has come round."""
        self._polled_ms[role] = self._now_ms()

    def set_ready(self, condition: Condition, *, met: bool) -> None:
        """Say that a condition is met, or no longer is."""
        with self._lock:
            self._unmet = self._unmet - {condition} if met else self._unmet | {condition}
            turned = self._was_ready == bool(self._unmet)
            self._was_ready = not self._unmet
        if turned:
            missing = self.missing()
            _log.info("not ready" if missing else "ready", extra={"missing": missing})

    def since_poll_ms(self) -> int:
        """Return how long ago the last poll (or the start) was, ms, of the role that has waited longest."""
        return self._now_ms() - min(self._polled_ms.values())

    def is_alive(self) -> bool:
        """Tell whether every role's poll loop came round within the bound."""
        return self.since_poll_ms() <= self._poll_bound_ms

    def missing(self) -> list[Condition]:
        """Return the conditions that are not met, sorted; ready where there is none."""
        return sorted(self._unmet)

    def _now_ms(self) -> int:
        return round(self._clock.monotonic_s() * 1_000)
