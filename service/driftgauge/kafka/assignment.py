"""The partitions held, and how far each has been read."""

from collections.abc import Mapping

from driftgauge.core.partition import Partition

__all__ = ["Assignment"]


class Assignment:
    """Which partitions are held, by code, and how far each has been read.

    A partition's code is its place among the sorted ones.
    """

    def __init__(self, positions: Mapping[Partition, int]) -> None:
        """Hold the partitions from these offsets on."""
        self._partitions = dict(enumerate(sorted(positions)))
        # librdkafka's messages may name no partition, by their type.
        self._codes: dict[tuple[str | None, int | None], int] = {
            partition: code for code, partition in self._partitions.items()
        }
        self._positions = {code: positions[partition] for code, partition in self._partitions.items()}

    @property
    def partitions(self) -> Mapping[int, Partition]:
        """Code -> partition."""
        return self._partitions

    @property
    def positions(self) -> Mapping[int, int]:
        """Code -> next offset to read."""
        return self._positions

    def code(self, topic: str | None, partition: int | None) -> int | None:
        """Return a partition's code; None where it is not held."""
        return self._codes.get((topic, partition))

    def advance(self, code: int, position: int) -> None:
        """Take note that everything before `position` has been read."""
        self._positions[code] = max(self._positions[code], position)
