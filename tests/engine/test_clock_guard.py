"""The guard of this replica's clock: what a measurement proves, and which ones it ignores."""

from contextlib import nullcontext
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.engine.clock_guard import Append, ClockGuard
from driftgauge.errors import ClockError

LIMIT_MS = 2_000


@pytest.fixture
def telemetry():
    return Mock()


@pytest.mark.parametrize(
    ("sent_ms", "received_ms", "offset_ms"),
    [
        (2_001, 2_500, 2_001),
        (2_000, 9_000, 2_000),
        (-9_000, -2_001, -2_001),
        (-9_000, -2_000, -2_000),
        (-60_000, 60_000, 0),
    ],
)
def test_role_stops_only_where_its_clock_is_proven_off(telemetry, sent_ms, received_ms, offset_ms):
    guard, is_off = ClockGuard(telemetry, has_append_time=True), abs(offset_ms) > LIMIT_MS
    text = f"differs from the brokers' by {offset_ms} ms"
    with pytest.raises(ClockError, match=text) if is_off else nullcontext():
        guard.observe(Append(sent_ms, received_ms, append_ms=0))
    telemetry.clock_is_off.assert_called_once_with(offset_ms, is_off=is_off)


@given(st.integers(-10_000, 10_000), st.integers(0, 500), st.integers(0, 500))
def test_proven_offset_is_never_further_than_the_true_one(true_ms, there_ms, back_ms):
    least_ms = Append(true_ms - there_ms, true_ms + back_ms, append_ms=0).least_offset_ms
    assert min(true_ms, 0) <= least_ms <= max(true_ms, 0)
    assert abs(true_ms - least_ms) <= there_ms + back_ms


@pytest.mark.parametrize(
    ("append", "has_append_time"),
    [
        # librdkafka's embedded broker reports such append times.
        (Append(1_795_644_428_000, 1_795_644_428_010, 1_234), False),
        # The clock was set back in between.
        (Append(10_000, 4_000, 4_000), True),
        (None, True),
    ],
)
def test_measurement_that_proves_nothing_is_ignored(telemetry, append, has_append_time):
    ClockGuard(telemetry, has_append_time=has_append_time).observe(append)
    telemetry.clock_is_off.assert_not_called()
