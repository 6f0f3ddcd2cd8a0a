"""Gaps of whole or half hours between the times of events and of their records: local times read as UTC."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.durations import format_duration
from driftgauge.events.records import NO_TIMESTAMP, RawRecord

__all__ = ["ClockGaps", "count_gaps", "describe_gaps", "is_live"]

_HALF_HOUR_MS: Final = 1_800_000
# A producer's clock may be ahead of the broker's, and a record follows its event within so long.
_EARLIEST_MS: Final = 60_000
_LATEST_MS: Final = 120_000
# Zones are up to so far from UTC, and an hour or more from their neighbours.
_LEAST, _MOST = 2, 28
_NEAR_MS: Final = _LEAST * _HALF_HOUR_MS - _EARLIEST_MS - _LATEST_MS
_FEWEST = 5
# Some records may be sent again.
_USUAL: Final = 0.8


def is_live(gap_ms: int) -> bool:
    """Return whether a record that is this much later than its event may have been sent at once."""
    return -_EARLIEST_MS <= gap_ms <= _LATEST_MS


def count_gaps(gaps_ms: NDArray[np.int64]) -> Counter[int]:
    """Return how many of n records are how many half hours after their events, and would be live else.

    Args:
        gaps_ms: (n,), by how much each record is later than its events.
    """
    # Most records are live, and every batch comes here.
    if np.max(np.abs(gaps_ms), initial=0) < _NEAR_MS:
        return Counter()
    half_hours, rest_ms = np.divmod(gaps_ms + _EARLIEST_MS, _HALF_HOUR_MS)
    is_far = (np.abs(half_hours) >= _LEAST) & (np.abs(half_hours) <= _MOST)
    return Counter(half_hours[is_far & (rest_ms <= _EARLIEST_MS + _LATEST_MS)].tolist())


def describe_gaps(gaps: Mapping[tuple[str, int], int], records: Mapping[str, int]) -> dict[str, str]:
    """Return a sentence for each stream with the same gap in most of five records or more.

    Args:
        gaps: The number of records by stream and gap, see `count_gaps`.
        records: The number of all records of each stream.
    """
    found: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for (stream, half_hours), number in gaps.items():
        found[stream][half_hours] += number
    sentences = {}
    for stream, counts in sorted(found.items()):
        ((half_hours, number),) = counts.most_common(1)
        if records[stream] >= _FEWEST and number >= _USUAL * records[stream]:
            gap = format_duration(abs(half_hours) * _HALF_HOUR_MS)
            where, cause = (
                ("before", f"a job publishes them {gap} later")
                if half_hours > 0
                else ("after", f"a clock is {gap} ahead")
            )
            sentences[stream] = (
                f"in {number:,} of {records[stream]:,} records the event time is {gap} {where} the record's "
                f"time: these look like local times that are read as UTC, or {cause}; if the events are "
                "live, let producers send UTC or an offset, or map another field to timestamp"
            )
    return sentences


class ClockGaps:
    """The gaps between the records and the events of each stream, of the records that have a timestamp."""

    def __init__(self) -> None:
        self._gaps: Counter[tuple[str, int]] = Counter()
        self._records: Counter[str] = Counter()

    def add(self, stream: str, records: Sequence[RawRecord], times_ms: Sequence[int]) -> None:
        """Add records of a stream, each with the time of its events."""
        stamps = [record.timestamp() for record in records]
        gaps_ms = [
            stamp_ms - time_ms
            for (kind, stamp_ms), time_ms in zip(stamps, times_ms, strict=True)
            if kind != NO_TIMESTAMP
        ]
        self._records[stream] += len(gaps_ms)
        for half_hours, number in count_gaps(np.array(gaps_ms, np.int64)).items():
            self._gaps[stream, half_hours] += number

    def describe(self) -> list[str]:
        """Return a sentence that names the stream for each one with a constant gap; see `describe_gaps`."""
        found = describe_gaps(self._gaps, self._records)
        return [f"stream {stream}: {sentence}" for stream, sentence in found.items()]
