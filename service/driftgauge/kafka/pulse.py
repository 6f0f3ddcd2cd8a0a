"""The pulse of a Kafka client, which shows that its main thread is alive."""

import logging
import os
from collections.abc import Callable
from typing import Final

__all__ = ["INTERVAL_MS", "Pulse"]

_log = logging.getLogger(__name__)

INTERVAL_MS: Final = 5_000
"""How often a client makes statistics."""

_LONGEST_S: Final = 60.0
# A role that was busy or suspended for a minute has seen no pulse either, so it polls some times first.
_LEAST_POLLS: Final = 50


class Pulse:
    """Ends the process once a client that is polled shows no pulse.

    librdkafka 2.16 can deadlock when the leader of a partition goes away
    (https://github.com/confluentinc/librdkafka/issues/5476). Such a client delivers nothing, and its calls
    may wait forever, `close` too. The thread that stands still makes the statistics; a poll delivers them.
    """

    def __init__(self, monotonic: Callable[[], float], end: Callable[[int], object] = os._exit) -> None:
        """Begin with a pulse; `end` ends the process with a status, without waiting for anything."""
        self._monotonic = monotonic
        self._end = end
        self._beat_s = monotonic()
        self._polls = 0

    def beat(self, _statistics: str) -> None:
        """Note a pulse; the client's `stats_cb`."""
        self._beat_s, self._polls = self._monotonic(), 0

    def polled(self, client: str) -> None:
        """Note a poll of the client; end the process if the client is dead."""
        self._polls += 1
        silent_s = self._monotonic() - self._beat_s
        if silent_s > _LONGEST_S and self._polls > _LEAST_POLLS:
            _log.critical(
                "a Kafka client is dead, so the process ends; nothing is lost",
                extra={
                    "client": client,
                    "silent_s": round(silent_s),
                    "remedy": "none: a supervisor starts the process again; if this repeats, report it",
                },
            )
            self._end(1)
