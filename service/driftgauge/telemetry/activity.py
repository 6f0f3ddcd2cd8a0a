"""What a process has read since its last heartbeat, by the calls that also count its metrics."""

from threading import Lock

from driftgauge.records.heartbeat import Heartbeat, Numbers
from driftgauge.telemetry.health import Health

__all__ = ["Activity"]


class Activity:
    """Adds up what the roles read until a heartbeat takes it; thread-safe."""

    def __init__(self, health: Health) -> None:
        """Start with nothing read; heartbeats also say what `health` says."""
        self._health = health
        self._lock = Lock()
        self._numbers = Numbers()

    def add(self, numbers: Numbers | Heartbeat) -> None:
        """Add what a role has read, or a heartbeat that was not delivered."""
        with self._lock:
            self._numbers.add(numbers)

    def take(self, replica: str) -> Heartbeat:
        """Return the heartbeat of a replica, whose numbers are taken with it."""
        with self._lock:
            taken, self._numbers = self._numbers, Numbers()
        return Heartbeat(
            replica,
            self._health.roles,
            {condition.value: why for condition, why in self._health.reasons().items()},
            {reason.value: partitions for reason, partitions in self._health.blocked().items()},
            taken.read,
            taken.accepted,
            taken.refused,
            taken.surplus,
        )
