"""Signs of life: of a Kafka client, whose main thread may deadlock, and of the interpreter."""

import faulthandler
from collections.abc import Callable
from typing import Final

from driftgauge.telemetry.logs import end_process

__all__ = ["INTERVAL_MS", "Pulse", "expect_progress"]

INTERVAL_MS: Final = 5_000
"""How often a client makes statistics."""

# Longer than any batch or commit of a role, which polls in between.
_LONGEST_S: Final = 60.0
_STANDARD_ERROR: Final = 2


def expect_progress() -> None:
    """End the process with status 1, all stacks on standard error, unless this is called again in a minute.

    Some calls of a client wait for its main thread or its locks, and hold the interpreter's lock meanwhile
    (confluent-kafka 2.16: `incremental_assign`, `consumer_group_metadata`, `list_topics` of one topic): a
    deadlocked client then stops every Python thread, also those that would notice, and the handlers of
    signals. This timer needs no lock. It ended a replica in a chaos run on three brokers.
    """
    faulthandler.dump_traceback_later(_LONGEST_S, exit=True, file=_STANDARD_ERROR)


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
        self._beat_s = monotonic()

    def beat(self, _statistics: str = "") -> None:
        """Note a pulse; the client's `stats_cb`."""
        self._beat_s = self._monotonic()

    def check(self) -> None:
        """End the process if the client is dead."""
        silent_s = self._monotonic() - self._beat_s
        if silent_s > _LONGEST_S:
            self._end(
                "a Kafka client is dead, so the process ends; nothing is lost",
                client=self._client,
                silent_s=round(silent_s),
                remedy="none: a supervisor starts the process again; if this repeats, report it",
            )
