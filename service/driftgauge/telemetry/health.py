"""Liveness and readiness of the process, for its supervisor."""

import logging
from collections.abc import Collection, Iterable
from enum import StrEnum
from threading import Lock

from driftgauge.clock import Clock
from driftgauge.watchdog import POLL_S

__all__ = ["BlockReason", "Health", "ReadinessCondition", "Role"]

_log = logging.getLogger(__name__)


class Role(StrEnum):
    """The stage that a process runs."""

    COUNT = "count"
    WINDOWS = "windows"


class ReadinessCondition(StrEnum):
    """A condition of readiness; the process is ready while all of its conditions are met."""

    BASELINES_LOADED = "baselines_loaded"
    TOPICS = "topics"
    """Kafka describes every events topic."""
    COUNT = "count"
    """The Kafka clients of the role count work: the consumer is in its group, or waits to join it."""
    WINDOWS = "windows"
    """The same for the role windows."""
    CLOCK = "clock"
    """The offset from the brokers' clock is within the bound."""


class BlockReason(StrEnum):
    """Why a replica cannot work on a partition; see `driftgauge_blocked_partitions`."""

    STOPPED = "stopped"
    SCHEMA = "schema"
    UNWRITABLE = "unwritable"
    TRANSACTION = "transaction"
    RESTORE = "restore"


class Health:
    """Liveness by the last poll of each role, readiness by conditions; thread-safe.

    Liveness does not depend on the broker, because a restart does not repair a broker.
    """

    def __init__(self, roles: Collection[Role], clock: Clock) -> None:
        """Start alive and not ready.

        Args:
            roles: The roles that the process runs.
            clock: The clocks; only the monotonic one is used.
        """
        self.conditions = (
            ReadinessCondition.BASELINES_LOADED,
            ReadinessCondition.CLOCK,
            *((ReadinessCondition.TOPICS,) if Role.COUNT in roles else ()),
            *(ReadinessCondition(role.value) for role in roles),
        )
        self.roles = tuple(sorted(role.value for role in roles))
        self._clock = clock
        self._polled_ms = dict.fromkeys(roles, self._now_ms())
        # Clock and topics are taken for sound until something is known of them.
        self._unmet = frozenset(self.conditions) - {ReadinessCondition.CLOCK, ReadinessCondition.TOPICS}
        self._reasons: dict[ReadinessCondition, str] = {}
        self._blocked: dict[tuple[Role, BlockReason], tuple[str, ...]] = {}
        self._was_ready = False
        self._lock = Lock()

    def polled(self, role: Role) -> None:
        """Record a poll of a role."""
        self._polled_ms[role] = self._now_ms()

    def set_condition(self, condition: ReadinessCondition, *, is_met: bool, why: str = "") -> None:
        """Set a condition of readiness, and why it is not met; log the change if readiness changes."""
        with self._lock:
            if is_met:
                self._reasons.pop(condition, None)
            elif why:
                self._reasons[condition] = why
            self._unmet = self._unmet - {condition} if is_met else self._unmet | {condition}
            has_changed = self._was_ready == bool(self._unmet)
            self._was_ready = not self._unmet
        if has_changed:
            missing = self.missing()
            _log.info("not ready" if missing else "ready", extra={"missing": missing})

    def set_blocked(self, role: Role, reason: BlockReason, partitions: Iterable[str]) -> None:
        """Set on which partitions, by name, a role cannot work for a reason; the process stays ready."""
        self._blocked[role, reason] = tuple(partitions)

    def since_poll_ms(self) -> int:
        """Return the longest time since the last poll (or the start) of any role, ms."""
        return self._now_ms() - min(self._polled_ms.values())

    def unpolled_ms(self) -> dict[Role, int]:
        """Return the time since the last poll, ms, of each role that did not poll within the bound."""
        now_ms = self._now_ms()
        ages_ms = {role: now_ms - polled_ms for role, polled_ms in self._polled_ms.copy().items()}
        return {role: age_ms for role, age_ms in ages_ms.items() if age_ms > POLL_S * 1_000}

    def overdue(self) -> list[Role]:
        """Return the roles that did not poll within the bound, sorted; without one the process is alive."""
        return sorted(self.unpolled_ms())

    def is_met(self, condition: ReadinessCondition) -> bool:
        """Return whether a condition is met."""
        return condition not in self._unmet

    def missing(self) -> list[ReadinessCondition]:
        """Return the unmet conditions, sorted; empty when the process is ready."""
        return sorted(self._unmet)

    def reasons(self) -> dict[ReadinessCondition, str]:
        """Return why conditions are not met, if that is known."""
        return dict(self._reasons)

    def blocked(self) -> dict[BlockReason, tuple[str, ...]]:
        """Return the partitions on which the process cannot work, by reason, if there are any."""
        found: dict[BlockReason, tuple[str, ...]] = {}
        for (_, reason), partitions in self._blocked.copy().items():
            if partitions:
                found[reason] = (*found.get(reason, ()), *partitions)
        return found

    def _now_ms(self) -> int:
        return round(self._clock.monotonic_s() * 1_000)
