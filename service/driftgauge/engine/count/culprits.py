"""The records that make the code fail: found one by one, and dead-lettered, however many they are."""

import logging
from collections.abc import Collection, Mapping, Sequence

from confluent_kafka import Message

from driftgauge.core.partition import Partition, name_partition
from driftgauge.events.rejection import Reason, Rejection
from driftgauge.telemetry.logs import RepeatLimit

__all__ = ["Culprits"]

_log = logging.getLogger(__name__)


def _kind(line: logging.LogRecord) -> object:
    """Return what a line says and the type of its error: a fault of the code may concern every record."""
    return line.msg, line.exc_info and line.exc_info[0]


_log.addFilter(RepeatLimit(_kind))

_Place = tuple[Partition, int]


class Culprits:
    """Finds the record that makes a poll fail.

    After a failure the caller drops all uncommitted counts, and its partitions begin again. The records of
    the poll are then suspects: each is counted on its own. A record that fails on its own is a culprit: when
    it is read once more, it is refused without an attempt. So nothing is counted by half.

    The number of culprits has no bound. A role that ended because of them would end again after each restart,
    while a dead letter keeps its record whole, for a version that can read it.
    """

    def __init__(self) -> None:
        self._suspects: set[_Place] = set()
        self._rejections: dict[_Place, Rejection] = {}

    def split(self, messages: Sequence[Message]) -> Sequence[Sequence[Message]]:
        """Return the groups to count the messages of a poll in: one, or each alone if one is a suspect."""
        if self._suspects and not self._suspects.isdisjoint(map(_place, messages)):
            return [[message] for message in messages]
        return [messages]

    def rejection(self, messages: Sequence[Message]) -> Rejection | None:
        """Return the rejection of a group that is a culprit; None for any other group."""
        if not self._rejections or len(messages) > 1:
            return None
        return self._rejections.get(_place(messages[0]))

    def note(self, messages: Sequence[Message], error: Exception) -> None:
        """Note that counting a group of messages has failed."""
        self._suspects.update(map(_place, messages))
        if len(messages) > 1:
            _log.warning(
                "the code fails on some records; they are read again, one by one",
                extra={"records": len(messages), "error": repr(error), "remedy": "none; see what follows"},
            )
            return
        detail = f"the code fails on this record ({type(error).__name__}: {error})"
        place = _place(messages[0])
        if place in self._rejections:
            # Not decoding fails, but what is done with any record: another attempt would fail for ever.
            raise error
        self._rejections[place] = Rejection(0, Reason.FAULT, detail, None)
        _log.error(
            "a record makes the code fail; it is dead-lettered, and counting goes on",
            extra={
                "record": f"{name_partition(place[0])}@{place[1]}",
                "remedy": "run the version before, or report the traceback with the dead letter; see the "
                "runbook DriftgaugeRecordsRejected",
            },
            exc_info=error,
        )

    def committed(self, positions: Mapping[Partition, int]) -> None:
        """Forget the records before these committed offsets."""
        self._keep({at for at in self._suspects if at[1] >= positions.get(at[0], 0)})

    def drop(self, partitions: Collection[Partition]) -> None:
        """Forget the records of these partitions."""
        self._keep({at for at in self._suspects if at[0] not in partitions})

    def _keep(self, suspects: set[_Place]) -> None:
        self._suspects = suspects
        self._rejections = {at: each for at, each in self._rejections.items() if at in suspects}


def _place(message: Message) -> _Place:
    # By their type, messages may name no partition; records always do.
    return (message.topic() or "", message.partition() or 0), message.offset() or 0
