"""Source partitions and their names for operators, such as "embeddings[3]"."""

from collections.abc import Iterable

__all__ = ["Partition", "name_partition", "name_partitions"]

Partition = tuple[str, int]
"""A partition of the source: its topic and its index."""


def name_partition(partition: Partition) -> str:
    """Return a partition's name, topic[index]."""
    topic, index = partition
    return f"{topic}[{index}]"


def name_partitions(partitions: Iterable[Partition]) -> list[str]:
    """Return the names of partitions, sorted by topic and index."""
    return [name_partition(partition) for partition in sorted(partitions)]
