"""The records that make the code fail: found one by one, dead-lettered, and too many of them refused."""

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from confluent_kafka import Message

from driftgauge.core.partition import Partition, name_partition
from driftgauge.errors import CodeError
from driftgauge.events.rejection import Reason, Rejection

__all__ = ["Culprits"]

_log = logging.getLogger(__name__)

_MINUTE_S: Final = 60.0
# More than this share of a minute's records is no fault of the records; fewer than the number say nothing.
_SHARE: Final = 0.01
_NUMBER: Final = 5

_Place = tuple[Partition, int]


class Culprits:
    """Finds the record that makes a poll fail.

    After a failure the caller drops all uncommitted counts, and its partitions begin again. The records of
    the poll are then suspects: each is counted on its own. A record that fails on its own is a culprit: when
    it is read once more, it is refused without an attempt. So nothing is counted by half.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._suspects: set[_Place] = set()
        self._rejections: dict[_Place, Rejection] = {}
        self._read: deque[tuple[float, int]] = deque()  # when, how many records
        self._found_s: deque[float] = deque()

    def split(self, messages: Sequence[Message]) -> Sequence[Sequence[Message]]:
        """Return the groups to count the messages of a poll in: one, or each alone if one is a suspect."""
        if self._suspects and not self._suspects.isdisjoint(map(_place, messages)):
            # They have been read before, and must not make the share of culprits look smaller.
            return [[message] for message in messages]
        now_s = self._monotonic()
        self._read.append((now_s, len(messages)))
        while self._read[0][0] < now_s - _MINUTE_S:
            self._read.popleft()
        return [messages]

    def rejection(self, messages: Sequence[Message]) -> Rejection | None:
        """Return the rejection of a group that is a culprit; None for any other group."""
        if not self._rejections or len(messages) > 1:
            return None
        return self._rejections.get(_place(messages[0]))

    def note(self, messages: Sequence[Message], error: Exception) -> None:
        """Note that counting a group of messages has failed.

        Raises:
            CodeError: More than a hundredth of a minute's records fail.
        """
        self._suspects.update(map(_place, messages))
        if len(messages) > 1:
            _log.warning(
                "the code fails on some records; they are read again, one by one",
                extra={"records": len(messages), "error": repr(error), "remedy": "none; see what follows"},
            )
            return
        detail = f"the code fails on this record ({type(error).__name__}: {error})"
        place = _place(messages[0])
        self._rejections[place] = Rejection(0, Reason.UNDECODABLE, detail, None)
        _log.error(
            "a record makes the code fail; it is dead-lettered, and counting goes on",
            extra={
                "record": f"{name_partition(place[0])}@{place[1]}",
                "remedy": "keep the dead letter, and report it with the logged traceback",
            },
            exc_info=error,
        )
        self._require_few(error)

    def committed(self, positions: Mapping[Partition, int]) -> None:
        """Forget the records before these committed offsets."""
        self._keep({at for at in self._suspects if at[1] >= positions.get(at[0], 0)})

    def drop(self, partitions: Collection[Partition]) -> None:
        """Forget the records of these partitions."""
        self._keep({at for at in self._suspects if at[0] not in partitions})

    def _keep(self, suspects: set[_Place]) -> None:
        self._suspects = suspects
        self._rejections = {at: each for at, each in self._rejections.items() if at in suspects}

    def _require_few(self, error: Exception) -> None:
        now_s = self._monotonic()
        self._found_s.append(now_s)
        while self._found_s[0] < now_s - _MINUTE_S:
            self._found_s.popleft()
        read = sum(number for _, number in self._read)
        if len(self._found_s) > max(_NUMBER, _SHARE * read):
            message = (
                f"{len(self._found_s)} of {read} records read within a minute make the code fail, the last "
                f"with {type(error).__name__}: {error}; report it with the logged tracebacks, or run the "
                "version before"
            )
            raise CodeError(message) from error


def _place(message: Message) -> _Place:
    # By their type, messages may name no partition; records always do.
    return (message.topic() or "", message.partition() or 0), message.offset() or 0
