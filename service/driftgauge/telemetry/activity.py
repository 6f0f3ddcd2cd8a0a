"""What a process has read since its last heartbeat, by the calls that also count its metrics."""

from threading import Lock
from typing import Final

from driftgauge.core.partition import Partition
from driftgauge.records.heartbeat import Heartbeat, Numbers, add_lags
from driftgauge.telemetry.health import Health

__all__ = ["Activity"]

# A replica may hold 28,000 partitions, and each may be missing or denied.
_MOST_NAMED: Final = 20
_MOST_TEXT: Final = 2_000


class Activity:
    """Adds up what the roles read until a heartbeat takes it; thread-safe.

    Attributes:
        lags: The number of records of each held partition of the events topics that are to be read; None
            if that is not known yet.
    """

    def __init__(self, health: Health) -> None:
        """Start with nothing read; heartbeats also say what `health` says."""
        self._health = health
        self._lock = Lock()
        self._numbers = Numbers()
        self.lags: dict[Partition, int | None] = {}

    def add(self, numbers: Numbers | Heartbeat) -> None:
        """Add what a role has read, or a heartbeat that was not delivered."""
        with self._lock:
            self._numbers.add(numbers)

    def take(self, replica: str) -> Heartbeat:
        """Return the heartbeat of a replica, whose numbers are taken with it."""
        with self._lock:
            taken, self._numbers = self._numbers, Numbers()
        unread = add_lags((topic, lag) for (topic, _), lag in self.lags.copy().items())
        blocked = self._health.blocked().items()
        return Heartbeat(
            replica,
            self._health.roles,
            {condition.value: _shorten(why) for condition, why in self._health.reasons().items()},
            {reason.value: partitions[:_MOST_NAMED] for reason, partitions in blocked},
            taken.read,
            taken.accepted,
            taken.refused,
            taken.surplus,
            taken.gaps,
            {reason.value: more for reason, found in blocked if (more := len(found) - _MOST_NAMED) > 0},
            {role.value: age_ms for role, age_ms in self._health.unpolled_ms().items()},
            unread,
        )


def _shorten(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"
