"""The deployment marks that the page shows, as their topic has them."""

from bisect import bisect_left
from collections.abc import Callable

from pydantic import ValidationError

from driftgauge.events.records import RawRecord
from driftgauge.events.timestamps import format_timestamp
from driftgauge.records.mark import AHEAD_MS, Mark

__all__ = ["Marks"]

# A mark takes 2 kB at most.
_MOST = 5_000


class Marks:
    """The newest marks by time; one thread adds, and others read. A mark that comes again changes nothing."""

    def __init__(self, on_newest: Callable[[Mark, Mark | None], object] = lambda *_: None) -> None:
        """Keep marks; `on_newest` receives each newest mark of a stream, or of all, and the one before."""
        self._marks: tuple[Mark, ...] = ()
        self._newest: dict[str | None, Mark] = {}
        self._on_newest = on_newest

    def receive(self, record: RawRecord) -> None:
        """Add a record of the topic.

        Raises:
            ValueError: It is no mark, or one of the future.
        """
        try:
            mark = Mark.model_validate_json(record.value() or b"")
        except ValidationError as error:
            # Without the value, which may be long, or of another topic.
            fault = error.errors(include_url=False, include_input=False)[0]
            message = f"not a mark: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            raise ValueError(message) from None
        if mark.time > record.timestamp()[1] + AHEAD_MS:
            message = f"the mark of {format_timestamp(mark.time)} lies more than a day after it was written"
            raise ValueError(message)
        at = bisect_left(self._marks, _order(mark), key=_order)
        before, after = self._marks[:at], self._marks[at:]
        if not after or _order(after[0]) != _order(mark):
            self._marks = (*before, mark, *after)[-_MOST:]
        newest = self._newest.get(mark.stream)
        # A pattern admits any name that somebody marks.
        is_known = newest is not None or len(self._newest) < _MOST
        if is_known and (newest is None or _order(newest) < _order(mark)):
            self._newest[mark.stream] = mark
            self._on_newest(mark, newest)

    def between(self, stream: str, from_ms: int, until_ms: int) -> list[Mark]:
        """Return the marks of a stream, and of all streams, within a time, by time; the end is exclusive."""
        return [
            each for each in self._marks if each.stream in (None, stream) and from_ms <= each.time < until_ms
        ]


def _order(mark: Mark) -> tuple[int, str, str, str]:
    return mark.time, mark.text, mark.stream or "", mark.link or ""
