"""The refused events of files and topics: their numbers, and the first few with their places."""

from collections import Counter

from driftgauge.events.rejection import Reason

__all__ = ["Refusals"]

# More would hide what else a command says.
_MAX_SHOWN = 5


class Refusals:
    """Counts refused events, and remembers the first few.

    Attributes:
        numbers: The refused events, by configured stream, or None, and reason.
        first: The first five in words: place, reason and fault.
    """

    def __init__(self) -> None:
        self.numbers: Counter[tuple[str | None, Reason]] = Counter()
        self.first: list[str] = []

    def add(self, where: str, reason: Reason, detail: str, stream: str | None = None) -> None:
        """Count a refused event.

        Args:
            where: Its place: file and line, file and row, or topic[partition]@offset.
            reason: The reason.
            detail: The fault.
            stream: Its stream, if that is configured.
        """
        self.numbers[stream, reason] += 1
        if len(self.first) < _MAX_SHOWN:
            self.first.append(f"{where}: {reason}: {detail}")

    def describe(self) -> list[str]:
        """Return the first few, then the total and the numbers by reason; no line if none is refused."""
        if not (total := self.numbers.total()):
            return []
        by_reason = ", ".join(f"{number:,} {reason}" for reason, number in self.by_reason().items())
        return [*(f"refused: {line}" for line in self.first), f"refused in total: {total:,} ({by_reason})"]

    def by_reason(self) -> dict[str, int]:
        """Return the numbers of refused events by reason, the most frequent first."""
        numbers: Counter[str] = Counter()
        for (_, reason), number in self.numbers.items():
            numbers[reason.value] += number
        return dict(numbers.most_common())
