"""Where events come from."""

from collections.abc import Iterable

__all__ = ["Partition", "name_partition", "name_partitions"]

Partition = tuple[str, int]
"""A partition of the source: its topic and its index."""


def name_partition(partition: Partition) -> str:
    """Return a partition as an operator reads it."""
    topic, index = partition
    return f"{topic}[{index}]"


def name_partitions(partitions: Iterable[Partition]) -> list[str]:
    """Return partitions as an operator reads them, sorted."""
    return [name_partition(partition) for partition in sorted(partitions)]
