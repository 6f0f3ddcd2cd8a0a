"""What must go on while the process works, and what happens if it does not.

| watched | bound | why | what happens |
|---|---|---|---|
| a role polls | `POLL_S` | a loop or a call may not end | `/livez` fails |
| the main thread comes round | `_SILENT_S` | see `Lifetime` | the process ends |
| a process that is to end does so | `_STOP_S` | see `Lifetime` | the process ends |
| a client makes statistics | `_SILENT_S` | librdkafka 2.16, issue 5476: see `Pulse` | the process ends |
| a member is in its group | `_JOIN_S` | librdkafka 2.16: see `Pulse` | new clients |
| a client reads what there is | `_UNREAD_ANSWERS` | librdkafka 2.16: see `ReadingWatch` | new clients |

A supervisor restarts a process that ends, or whose `/livez` fails. No event is lost.
"""

import faulthandler
import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final, NoReturn

import orjson

from driftgauge.core.partition import Partition, name_partitions
from driftgauge.errors import MORE_THREADS, ClientLost

__all__ = ["POLL_S", "STATISTICS_MS", "Lifetime", "Pulse", "ReadingWatch", "end_process"]

_log = logging.getLogger(__name__)

POLL_S: Final = 60.0
"""No batch or commit takes this long, and by then Kafka has reassigned the partitions."""

STATISTICS_MS: Final = 5_000
"""How often a client makes statistics."""

# Longer than any batch or commit of a role, which polls in between.
_SILENT_S: Final = 60.0
# Less than the 45 s that the manifests grant; only a commit during an outage may take longer.
_STOP_S: Final = 30.0
# Several rebalances in a row, each of which waits 30 s for a member that does not answer.
_JOIN_S: Final = 180.0
_UNREAD_ANSWERS: Final = 12  # a minute
_LOG_S: Final = 2.0
_STANDARD_ERROR: Final = 2


def end_process(why: str, *, remedy: str, **fields: object) -> NoReturn:
    """Log why, and end the process with status 1 without waiting for anything, not even for the log."""
    timer = threading.Timer(_LOG_S, os._exit, [1])
    timer.daemon = True
    timer.start()
    # If nobody reads standard error, this waits.
    _log.critical(why, extra={**fields, "remedy": remedy})
    os._exit(1)


class Lifetime:
    """Ends the process with status 1, all stacks on standard error, unless its main thread comes round.

    Some calls of a client wait for its main thread or its locks, and hold the interpreter's lock meanwhile
    (confluent-kafka 2.16: `incremental_assign`, `unsubscribe`, `consumer_group_metadata`, `list_topics` of
    one topic): a deadlocked client then stops every Python thread, also those that would notice, and the
    handlers of signals. The timer needs no lock. It ended a replica in a chaos run on three brokers.

    Attributes:
        stopping: Set when the process is to end.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._is_ending = False

    def stop(self) -> None:
        """Let the process end, within half a minute."""
        self.stopping.set()
        self.come_round()

    def come_round(self) -> None:
        """Expect the next call within a minute, or the end of the process once it is to end."""
        if self._is_ending:
            return
        is_ending = self.stopping.is_set()
        try:
            faulthandler.dump_traceback_later(
                _STOP_S if is_ending else _SILENT_S, exit=True, file=_STANDARD_ERROR
            )
        except RuntimeError as error:
            # The timer is a thread. The next call tries again.
            _log.warning(
                "nobody watches over the process for the moment",
                extra={"error": str(error), "remedy": MORE_THREADS},
            )
        else:
            self._is_ending = is_ending


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
        # A member is outside that is not in its group, or does not find the group's coordinator. The
        # consumers of no group have none.
        group = orjson.loads(statistics or "{}").get("cgrp", {})
        if (group.get("state", "up"), group.get("join_state", "steady")) == ("up", "steady"):
            self._joined_s = self._beat_s

    def require_joined(self) -> None:
        """Raise ClientLost if the member has not joined its group for three minutes.

        Seen after sessions that timed out during a commit, or while the coordinator was away: the member
        stayed outside, and looked for no coordinator. New clients also help if a subscribed topic is gone,
        or no broker answers: the role then waits for it.
        """
        if self._beat_s - self._joined_s > _JOIN_S:
            message = (
                f"{self._client} has not joined it for {_JOIN_S:g} s; new clients replace it; if "
                "this repeats, look for a member of the group that does not answer"
            )
            raise ClientLost(message)

    def check(self) -> None:
        """End the process if the client is dead."""
        silent_s = self._monotonic() - self._beat_s
        if silent_s > _SILENT_S:
            self._end(
                "a Kafka client is dead, so the process ends; nothing is lost",
                client=self._client,
                silent_s=round(silent_s),
                remedy="none: a supervisor starts the process again; if this repeats, report it",
            )


@dataclass(frozen=True, slots=True)
class _Unread:
    """A partition that is read, and has records that are not.

    Attributes:
        position: The next offset to read.
        end: The stable offset of the last answer.
        answers: In how many answers the position has not moved.
    """

    position: int
    end: int
    answers: int


class ReadingWatch:
    """Notices a client that has stopped to read.

    A client has been seen to deliver nothing of a partition for minutes, without an error and with a pulse,
    while another read all of it (librdkafka 2.16). Answers are counted, not seconds, because a partition
    whose leader is away has none. Nothing is counted while the client reads through a backlog: it fetches
    from some partitions at a time, and reaches the last of them late.
    """

    def __init__(self) -> None:
        self._unread: dict[Partition, _Unread] = {}

    def excuse(self, partitions: Collection[Partition]) -> None:
        """Expect no record of these partitions for another minute: the client says why it gives none."""
        self._unread = {at: unread for at, unread in self._unread.items() if at not in partitions}

    def require_reading(
        self, positions: Mapping[Partition, int | None], stable: Mapping[Partition, int]
    ) -> None:
        """Raise ClientLost if a position has not moved for a minute, though brokers have records to give.

        Args:
            positions: The next offset to read of each partition; None if it is not being read.
            stable: The stable offsets that brokers have just answered.
        """
        known, self._unread = self._unread, {}
        has_backlog = False
        for at, end in stable.items():
            position = positions.get(at)
            if position is not None and position < end:
                before = known.get(at, _Unread(position, position, 0))
                has_backlog |= before.position < position < before.end
                answers = before.answers + 1 if position == before.position else 1
                self._unread[at] = _Unread(position, end, answers)
        if has_backlog:
            self._unread = {at: replace(unread, answers=1) for at, unread in self._unread.items()}
        dead = [at for at, unread in self._unread.items() if unread.answers > _UNREAD_ANSWERS]
        if dead:
            names = ", ".join(name_partitions(dead))
            message = f"the client gives nothing of {names}, and there are records; new clients read on"
            raise ClientLost(message)
