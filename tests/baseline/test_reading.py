"""Tests of `driftgauge.baseline.reading`."""

import pytest

from driftgauge.baseline.reading import ReadingProgress
from driftgauge.clock import Clock


class _Time:
    def __init__(self) -> None:
        self.s = 0.0
        self.clock = Clock(lambda: 0, lambda: self.s)


@pytest.fixture
def time() -> _Time:
    return _Time()


def test_line_has_rate_and_remaining_time(time: _Time) -> None:
    lines: list[str] = []
    reading = ReadingProgress(lines.append, "rows", 4_000, time.clock)
    time.s = 10.0
    reading.report(1_000)
    assert lines == ["1,000 of 4,000 rows read, 100/s, 30s left"]


def test_line_without_total_has_no_remaining_time(time: _Time) -> None:
    lines: list[str] = []
    reading = ReadingProgress(lines.append, "lines", None, time.clock)
    time.s = 10.0
    reading.report(1_000)
    assert lines == ["1,000 lines read, 100/s"]


def test_long_remaining_time_is_in_minutes(time: _Time) -> None:
    lines: list[str] = []
    reading = ReadingProgress(lines.append, "lines", None, time.clock)
    time.s = 10.0
    reading.report(1, 0.01)
    assert lines == ["1 lines read, 0/s, 16m left"]


def test_lines_are_five_seconds_apart(time: _Time) -> None:
    lines: list[str] = []
    reading = ReadingProgress(lines.append, "rows", None, time.clock)
    for second in range(11):
        time.s = float(second)
        reading.report(second)
    assert len(lines) == 2
