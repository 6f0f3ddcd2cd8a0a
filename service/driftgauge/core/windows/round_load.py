"""The size of what a round of WINDOWS writes, as estimated before it is encoded."""

from typing import Final

from driftgauge.core.commit_limit import ENTRY_BYTES, NUMBER_BYTES
from driftgauge.core.counting.examples import Examples
from driftgauge.core.reference import Reference
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.overdispersion import TWO_WEEKS
from driftgauge.core.windows.changelog import PaneCounts

__all__ = ["RoundLoad", "history_bytes", "window_bytes"]

_EXAMPLE_BYTES: Final = 100
# A result and its changelog record: 6.4 kB at 8 clusters and 8.9 kB at 20 (measured).
_WINDOW_BYTES: Final = 5_000
_CLUSTER_BYTES: Final = 200
_SEGMENT_BYTES: Final = 1_000
# A number by cluster: its means and its part of the change, in both.
_NUMBER_BYTES: Final = 150
# A number of 64 bits as encoded.
_FLOAT_BYTES: Final = 9


class RoundLoad:
    """The estimated size of the changelog entries of a shard since the last commit.

    Attributes:
        bytes: The size. Results are not included; `window_bytes` estimates them.
    """

    def __init__(self) -> None:
        self.bytes = 0

    def add_entry(self, value: PaneCounts | Examples | None) -> None:
        """Add a changelog entry with these counts or examples; None for another value, or a deletion."""
        self.bytes += ENTRY_BYTES
        if isinstance(value, Examples):
            self.bytes += sum(_EXAMPLE_BYTES + len(each.snippet) for each in value.examples)
            self.bytes += sum(_EXAMPLE_BYTES + len(each.snippet) for each in value.farthest)
        elif value is not None:
            of_numbers = sum(tally.size for tally in value.numbers.values())
            self.bytes += NUMBER_BYTES * (len(value.values) + of_numbers)


def history_bytes(reference: Reference, segments: int) -> int:
    """Return the size of what judging remembers of windows of one size, which a round writes once.

    The history holds two sums of tallies. A measurement holds the tallies of two weeks, and a sum of tallies
    and a matrix of the components for all events and for each segment.

    Args:
        reference: The baseline.
        segments: The number of its segments.
    """
    length, matrix = registry.tally_length(reference), reference.components**2
    return _FLOAT_BYTES * ((2 + TWO_WEEKS) * length + (1 + segments) * (length + matrix))


def window_bytes(reference: Reference, segments: int, numbers: int) -> int:
    """Return the size of a published window: its result and its changelog record.

    Args:
        reference: The baseline that it is compared with.
        segments: The number of its segments.
        numbers: The number of the stream's numbers.
    """
    by_cluster = _CLUSTER_BYTES + _NUMBER_BYTES * numbers
    return _WINDOW_BYTES + by_cluster * len(reference.counts) + _SEGMENT_BYTES * segments
