"""Gaps of whole or half hours between the times of events and of their records: local times read as UTC."""

from collections import Counter, defaultdict
from typing import Final

from driftgauge.core.durations import format_duration
from driftgauge.events.records import NO_TIMESTAMP, RawRecord

__all__ = ["ClockGaps", "is_live"]

_HALF_HOUR_MS: Final = 1_800_000
# A producer's clock may be ahead of the broker's, and a record follows its event within so long.
_EARLIEST_MS: Final = 60_000
_LATEST_MS: Final = 120_000
# Zones are up to so far from UTC, and an hour or more from their neighbours.
_LEAST, _MOST = 2, 28
_FEWEST = 5
# Some records may be sent again.
_USUAL: Final = 0.8


def is_live(gap_ms: int) -> bool:
    """Return whether a record that is this much later than its event may have been sent at once."""
    return -_EARLIEST_MS <= gap_ms <= _LATEST_MS


class ClockGaps:
    """By how many half hours each stream's events are before their records, where they would be live else."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[int | None]] = defaultdict(Counter)

    def add(self, stream: str, record: RawRecord, time_ms: int) -> None:
        """Add an event of a record, by its time."""
        kind, stamp_ms = record.timestamp()
        if kind != NO_TIMESTAMP:
            half_hours, rest_ms = divmod(stamp_ms - time_ms + _EARLIEST_MS, _HALF_HOUR_MS)
            self._counts[stream][half_hours if is_live(rest_ms - _EARLIEST_MS) else None] += 1

    def describe(self) -> list[str]:
        """Return a sentence for each stream with the same gap in most of five events or more."""
        sentences = []
        for stream, counts in sorted(self._counts.items()):
            (half_hours, number), *_ = counts.most_common(1)
            total = counts.total()
            if (
                half_hours is not None
                and _LEAST <= abs(half_hours) <= _MOST
                and total >= _FEWEST
                and number >= _USUAL * total
            ):
                gap = format_duration(abs(half_hours) * _HALF_HOUR_MS)
                sentences.append(
                    f"stream {stream}: {number:,} of {total:,} events are {gap} "
                    f"{'before' if half_hours > 0 else 'after'} their records, by their times: these look "
                    "like local times that are read as UTC; let producers send UTC or an offset, or map "
                    "another field to timestamp"
                )
        return sentences
