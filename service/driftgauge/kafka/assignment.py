"""The partitions that are held, by the small integers the core knows them by."""

from collections.abc import Iterable, Mapping, Sequence

from driftgauge.kafka.state import Progress

__all__ = ["Assignment"]

_UNREAD = -1


class Assignment:
    """Which partitions are held, how far each has been read, and up to where it had been before.

    A partition's code is its place in the sorted assignment.
    """

    def __init__(self, partitions: Iterable[tuple[str, int]], restored: Sequence[Progress]) -> None:
        self._partitions = dict(enumerate(sorted(partitions)))
        # librdkafka's messages may name no partition, by their type.
        self._codes: dict[tuple[str | None, int | None], int] = {
            partition: code for code, partition in self._partitions.items()
        }
        before = {(progress.topic, progress.partition): progress for progress in restored}
        self._start = {code: before.get(partition) for code, partition in self._partitions.items()}
        self._positions = {
            code: _UNREAD if start is None else start.first_open for code, start in self._start.items()
        }

    @property
    def partitions(self) -> Mapping[int, tuple[str, int]]:
        """Code -> (topic, index)."""
        return self._partitions

    @property
    def positions(self) -> Mapping[int, int]:
        """Code -> next offset to read; negative where nothing is known yet."""
        return self._positions

    def code(self, topic: str | None, partition: int | None) -> int | None:
        """Return a partition's code; None where it is not held."""
        return self._codes.get((topic, partition))

    def start_offset(self, code: int) -> int | None:
        """Return the offset to start from; None where the group has committed none."""
        start = self._start[code]
        return None if start is None else start.first_open

    def processed_before(self, code: int) -> int:
        """Return the offset up to which an earlier run had processed the partition; negative without one."""
        start = self._start[code]
        return _UNREAD if start is None else start.position

    def advance(self, code: int, position: int) -> None:
        """Take note that everything before `position` has been read."""
        self._positions[code] = max(self._positions[code], position)

    @property
    def caught_up(self) -> bool:
        """Everything that an earlier run had processed has been read again."""
        return all(position >= self.processed_before(code) for code, position in self._positions.items())
