"""What is said of constant gaps between events and records."""

import pytest

from driftgauge.events.clock_gaps import ClockGaps
from driftgauge.events.records import StoredRecord
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS


@pytest.mark.parametrize(
    ("gaps_ms", "said"),
    [
        ([5 * HOUR_MS + ms for ms in (0, 300, 2_000, 90_000, -40_000)], "the event time is 5h before"),
        ([-5.5 * HOUR_MS] * 9 + [0], "9 of 10 records the event time is 5h30m after"),
        ([HOUR_MS] * 8 + [400] * 2, "8 of 10 records the event time is 1h before the record's time"),
        ([14 * HOUR_MS] * 5, "14h before"),
        ([-HOUR_MS + 100_000] * 5, "1h after"),
        ([HOUR_MS - 50_000] * 5, "1h before"),
        ([0, 250, 900, 60_000, -5_000], None),
        # A backlog that is read at once, and an hourly job.
        ([5 * HOUR_MS - number * MINUTE_MS for number in range(40)], None),
        ([number * 6 * MINUTE_MS for number in range(1, 11)], None),
        # A constant delay of another length, such as a day's, half an hour, and too few events to tell.
        ([5 * HOUR_MS + 10 * MINUTE_MS] * 9, None),
        ([24 * HOUR_MS] * 9, None),
        ([0.5 * HOUR_MS] * 9, None),
        ([5 * HOUR_MS] * 4, None),
        ([HOUR_MS] * 7 + [0] * 3, None),
        ([], None),
    ],
)
def test_constant_gaps_of_whole_and_half_hours_are_said(gaps_ms, said):
    gaps = ClockGaps()
    for number, gap_ms in enumerate(gaps_ms):
        time_ms = MONDAY_MS + number * MINUTE_MS
        gaps.add("clicks", [StoredRecord(b"", stored_ms=time_ms + round(gap_ms))], [time_ms])
        gaps.add("live", [StoredRecord(b"", stored_ms=time_ms)], [time_ms])
        gaps.add("none", [StoredRecord(b"")], [time_ms])
    sentences = gaps.describe()
    assert len(sentences) == (said is not None)
    for sentence in sentences:
        assert sentence.startswith("stream clicks: ")
        assert said in sentence
        # No job publishes an event before it happens.
        assert ("or a job publishes them" in sentence) is ("before" in said)
