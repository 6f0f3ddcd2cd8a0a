"""Which field of a topic's records holds the vectors."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from driftgauge.inspection.topic_fields import USUAL, TopicField
from driftgauge.inspection.values import measure_vector

__all__ = ["ProposedVector", "describe_vector", "find_vectors"]


class ProposedVector(NamedTuple):
    """A field that holds vectors.

    Attributes:
        field: The field.
        number: How many there are.
        records: How many records have one.
        numbers: Of how many numbers most of them are.
        dtype: Their type, if they are bytes.
        others: How many vectors there are of each other number of numbers.
    """

    field: TopicField
    number: int
    records: int
    numbers: int
    dtype: str | None
    others: Counter[int]

    def expects(self, other: TopicField) -> float:
        """Return how many values another field has at least if it belongs to the vectors."""
        return USUAL * (self.records if other.list_path is None else self.number)


def find_vectors(fields: Iterable[TopicField]) -> list[ProposedVector]:
    """Return the fields that hold vectors, the likeliest first: those of most records, not of a list."""
    found = [vector for each in fields if (vector := _find_vector(each)) is not None]
    return sorted(
        found,
        key=lambda each: (
            each.field.is_past,
            -each.records,
            each.field.list_path is not None,
            -each.numbers,
        ),
    )


def describe_vector(vector: ProposedVector, others: Sequence[ProposedVector], read: int) -> list[str]:
    """Return notes on the vectors of a mapping, given the other fields with some and the records read."""
    kind = "" if vector.dtype is None else f", by their bytes {vector.dtype},"
    most, of = vector.number - vector.others.total(), f"{read:,} {'record' if read == 1 else 'records'}"
    list_path = vector.field.list_path
    where = (
        f"{most:,} of {of}" if list_path is None else f"{most:,} items of {list_path or 'the value'} in {of}"
    )
    notes = [f"embedding: {vector.numbers:,} numbers{kind} in {where}"]
    if list_path is not None:
        notes.append("embedding: every item of the list is an event; one wrong item refuses its record")
    if vector.others:
        lengths = ", ".join(f"{numbers:,} in {number:,}" for numbers, number in vector.others.most_common(3))
        notes.append(f"embedding: vectors of other lengths are there as well: {lengths} records")
    if others:
        notes.append(f"embedding: vectors are also in {', '.join(str(other.field) for other in others)}")
    return notes


def _find_vector(found: TopicField) -> ProposedVector | None:
    """Return a field as that of vectors; None if it holds none."""
    measured = [each for _, value in found.values if (each := measure_vector(value)) is not None]
    if not measured or str(found) == "record key" or "header" in found.source:
        return None
    numbers, dtype = max(measured, key=measured.count)
    others = Counter(each for each, _ in measured if each != numbers)
    # Of a list of several items, each record has some.
    records = min(found.records, len(measured))
    return ProposedVector(found, len(measured), records, numbers, dtype, others)
