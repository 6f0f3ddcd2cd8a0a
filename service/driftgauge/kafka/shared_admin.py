"""The administration client that a session shares, replaced when it no longer finds partition leaders."""

from collections import deque
from collections.abc import Callable
from typing import Final

from confluent_kafka.admin import AdminClient

from driftgauge.clock import Clock

__all__ = ["SharedAdmin"]

# While brokers are away a new client does not find them sooner.
_RENEWED_EVERY_S: Final = 5.0
# Requests end after 5 s, so three clients cover every request that is still open.
_KEPT: Final = 3


class SharedAdmin:
    """The current administration client.

    After an outage librdkafka may keep asking under an old leader epoch, or find no leader of partitions
    that have one, until the client is replaced (measured, 2.16: for 14 minutes, while another client of the
    same process found them).
    """

    def __init__(self, make: Callable[[], AdminClient], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._renewed_s = clock.monotonic_s()
        # A request gets no answer once its client is destroyed, so recent clients are kept.
        self._clients = deque([make()], maxlen=_KEPT)

    @property
    def client(self) -> AdminClient:
        """The newest client."""
        return self._clients[-1]

    def renew(self) -> None:
        """Replace the client, unless it was replaced within the last 5 s."""
        now_s = self._clock.monotonic_s()
        if now_s - self._renewed_s >= _RENEWED_EVERY_S:
            self._renewed_s = now_s
            self._clients.append(self._make())
