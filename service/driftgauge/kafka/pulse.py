"""Signs of life: of a Kafka client, whose main thread may deadlock, and of the interpreter."""

import faulthandler
import logging
from collections.abc import Callable
from typing import Final

import orjson

from driftgauge.errors import MORE_THREADS, ClientLost
from driftgauge.telemetry.logs import end_process

__all__ = ["INTERVAL_MS", "Pulse", "expect_progress"]

_log = logging.getLogger(__name__)

INTERVAL_MS: Final = 5_000
"""How often a client makes statistics."""

# Longer than any batch or commit of a role, which polls in between.
_LONGEST_S: Final = 60.0
# Several rebalances in a row, each of which waits 30 s for a member that does not answer.
_LONGEST_JOIN_S: Final = 180.0
_STANDARD_ERROR: Final = 2


def expect_progress() -> None:
    """End the process with status 1, all stacks on standard error, unless this is called again in a minute.

    Some calls of a client wait for its main thread or its locks, and hold the interpreter's lock meanwhile
    (confluent-kafka 2.16: `incremental_assign`, `unsubscribe`, `consumer_group_metadata`, `list_topics` of
    one topic): a deadlocked client then stops every Python thread, also those that would notice, and the
    handlers of signals. This timer needs no lock. It ended a replica in a chaos run on three brokers.
    """
    try:
        faulthandler.dump_traceback_later(_LONGEST_S, exit=True, file=_STANDARD_ERROR)
    except RuntimeError as error:
        # The timer is a thread. The next call tries again.
        _log.warning(
            "nobody watches over the process for the moment",
            extra={"error": str(error), "remedy": MORE_THREADS},
        )


class Pulse:
    """Ends the process once a client shows no pulse.

    librdkafka 2.16 can deadlock when the leader of a partition goes away
    (https://github.com/confluentinc/librdkafka/issues/5476). Such a client delivers nothing, and its calls
    may wait forever: a commit, `close`. The thread that stands still makes the statistics, and a poll
    delivers them. A role may wait in such a call, so another thread checks its clients.
    """

    def __init__(
        self, client: str, monotonic: Callable[[], float], end: Callable[..., object] = end_process
    ) -> None:
        """Begin with a pulse; `end` ends the process."""
        self._client = client
        self._monotonic = monotonic
        self._end = end
        self._beat_s = self._joined_s = monotonic()

    def beat(self, statistics: str = "") -> None:
        """Note a pulse; the client's `stats_cb`, which takes statistics as JSON."""
        self._beat_s = self._monotonic()
        if not (statistics and _is_outside(statistics)):
            self._joined_s = self._beat_s

    def require_joined(self) -> None:
        """Raise ClientLost if the member has not joined its group for three minutes.

        Seen after sessions that timed out during a commit, or while the coordinator was away: the member
        stayed outside, and looked for no coordinator. New clients also help where a subscribed topic is gone,
        or no broker answers: the role then waits for it.
        """
        if self._beat_s - self._joined_s > _LONGEST_JOIN_S:
            message = (
                f"{self._client} has not joined it for {_LONGEST_JOIN_S:g} s; new clients replace it; if "
                "this repeats, look for a member of the group that does not answer"
            )
            raise ClientLost(message)

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


def _is_outside(statistics: str) -> bool:
    """Return whether a member is not in its group, or does not find the group's coordinator."""
    # The consumers of no group have none.
    group = orjson.loads(statistics).get("cgrp", {})
    return (group.get("state", "up"), group.get("join_state", "steady")) != ("up", "steady")
