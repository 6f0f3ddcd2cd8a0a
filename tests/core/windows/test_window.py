"""Tumbling windows of event time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.windows.window import Window
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS


def test_window_ends_where_next_begins():
    assert Window(HOUR_MS, 2 * HOUR_MS).end_ms == 3 * HOUR_MS


@given(st.integers(-(10**13), 10**13), st.integers(1, DAY_MS))
def test_window_around_event_time_is_aligned_to_epoch(time_ms, size_ms):
    window = Window.around(time_ms, size_ms)
    assert window.start_ms <= time_ms < window.end_ms
    assert window.start_ms % size_ms == 0


@pytest.mark.parametrize(
    ("start_ms", "length_ms", "within"),
    [
        (HOUR_MS, MINUTE_MS, True),
        (2 * HOUR_MS - MINUTE_MS, MINUTE_MS, True),
        (HOUR_MS, HOUR_MS, True),
        (0, HOUR_MS, False),
        (2 * HOUR_MS, MINUTE_MS, False),
        (0, DAY_MS, False),
        (90 * MINUTE_MS, 45 * MINUTE_MS, False),
    ],
)
def test_window_contains_panes_wholly_within_it(start_ms, length_ms, within):
    assert Window(HOUR_MS, HOUR_MS).contains(Window(length_ms, start_ms)) is within
