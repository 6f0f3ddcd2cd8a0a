"""One administration client for all questions of a session, replaced where it no longer finds the leaders."""

from collections import deque
from collections.abc import Callable
from typing import Final

from confluent_kafka.admin import AdminClient

from driftgauge.clock import Clock

__all__ = ["SharedAdmin"]

# While brokers are away a new client finds them no sooner.
_RENEWED_EVERY_S: Final = 5.0
# A request ends after 5 s.
_KEPT: Final = 3


class SharedAdmin:
    """The present administration client.

    After brokers were away librdkafka may go on asking under an old leader's epoch, or find no leader of
    partitions that have one, until the client is replaced (measured, 2.16: for 14 minutes, while another
    client of the same process found them).
    """

    def __init__(self, make: Callable[[], AdminClient], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._renewed_s = clock.monotonic_s()
        # Without its client no answer would come: those are kept through which somebody may still ask.
        self._clients = deque([make()], maxlen=_KEPT)

    @property
    def client(self) -> AdminClient:
        """The newest."""
        return self._clients[-1]

    def renew(self) -> None:
        """Replace the client, but not again within seconds."""
        now_s = self._clock.monotonic_s()
        if now_s - self._renewed_s >= _RENEWED_EVERY_S:
            self._renewed_s = now_s
            self._clients.append(self._make())
