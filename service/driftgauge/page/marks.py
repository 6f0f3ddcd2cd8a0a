"""The deployment marks that the page shows, as their topic has them."""

from collections.abc import Callable

from driftgauge.events.records import RawRecord
from driftgauge.records.mark import Mark

__all__ = ["Marks"]

# A mark takes 2 kB at most.
_MOST = 5_000


class Marks:
    """The newest marks by time; one thread adds, and others read. A mark that comes again changes nothing."""

    def __init__(self, on_change: Callable[[list[Mark]], object] = lambda _: None) -> None:
        """Keep marks; `on_change` is called with the newest mark of each stream, and of all, after each."""
        self._marks: tuple[Mark, ...] = ()
        self._on_change = on_change

    def receive(self, record: RawRecord) -> None:
        """Add a record of the topic.

        Raises:
            ValueError: It is no mark.
        """
        mark = Mark.model_validate_json(record.value() or b"")
        self._marks = tuple(sorted({*self._marks, mark}, key=_order))[-_MOST:]
        self._on_change(list({each.stream: each for each in self._marks}.values()))

    def between(self, stream: str, from_ms: int, until_ms: int) -> list[Mark]:
        """Return the marks of a stream, and of all streams, within a time, by time; the end is exclusive."""
        return [
            each for each in self._marks if each.stream in (None, stream) and from_ms <= each.time < until_ms
        ]


def _order(mark: Mark) -> tuple[int, str, str]:
    return mark.time, mark.text, mark.stream or ""
