"""The pulse of a Kafka client, which shows that its main thread is alive."""

from collections.abc import Callable
from typing import Final

from driftgauge.telemetry.logs import end_process

__all__ = ["INTERVAL_MS", "Pulse"]

INTERVAL_MS: Final = 5_000
"""How often a client makes statistics."""

# Longer than any batch or commit of a role, which polls in between.
_LONGEST_S: Final = 60.0
# Time in which this process did not run, because it was suspended, is not silence of the client.
_LONGEST_STEP_S: Final = 1.0


class Pulse:
    """Ends the process once a client shows no pulse.

    librdkafka 2.16 can deadlock when the leader of a partition goes away
    (https://github.com/confluentinc/librdkafka/issues/5476). Such a client delivers nothing, and its calls
    may wait forever: a commit, `close`. The thread that stands still makes the statistics, and a poll of the
    role delivers them. So the check runs in another thread than the role.
    """

    def __init__(
        self, client: str, monotonic: Callable[[], float], end: Callable[..., object] = end_process
    ) -> None:
        """Begin with a pulse; `end` ends the process."""
        self._client = client
        self._monotonic = monotonic
        self._end = end
        self._checked_s = monotonic()
        self._silent_s = 0.0

    def beat(self, _statistics: str) -> None:
        """Note a pulse; the client's `stats_cb`."""
        self._silent_s = 0.0

    def check(self) -> None:
        """End the process if the client is dead; called several times a second."""
        now_s = self._monotonic()
        self._silent_s += min(now_s - self._checked_s, _LONGEST_STEP_S)
        self._checked_s = now_s
        if self._silent_s > _LONGEST_S:
            self._end(
                "a Kafka client is dead, so the process ends; nothing is lost",
                client=self._client,
                silent_s=round(self._silent_s),
                remedy="none: a supervisor starts the process again; if this repeats, report it",
            )
