"""Tests of `driftgauge.kafka.clock`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.errors import ClockError
from driftgauge.kafka.clock import Append, ClockGuard, ClockOffset
from tests.builders.clocks import ManualClock

LIMIT_MS = 2_000


@pytest.fixture
def offset(clock):
    return ClockOffset(clock.clock.monotonic_s)


def test_appends_bound_the_offset_together(offset):
    assert (offset.bounds_ms, offset.estimate_ms, offset.exceeds(LIMIT_MS)) == (None, None, False)
    offset.add(Append(sent_ms=5_000, received_ms=5_040, append_ms=4_000))
    assert (offset.bounds_ms, offset.estimate_ms) == ((1_000, 1_040), 1_020)
    offset.add(Append(6_000, 6_900, 4_990))
    assert offset.bounds_ms == (1_010, 1_040)


@pytest.mark.parametrize(
    ("sent_ms", "received_ms", "exceeds"),
    [
        (2_001, 2_500, True),
        (2_000, 9_000, False),
        (-9_000, -2_001, True),
        (-9_000, -2_000, False),
        (-60_000, 60_000, False),
    ],
)
def test_limit_is_exceeded_only_if_bounds_prove_it(offset, sent_ms, received_ms, exceeds):
    offset.add(Append(sent_ms, received_ms, append_ms=0))
    assert offset.exceeds(LIMIT_MS) is exceeds


def test_newest_append_replaces_contradicting_ones(offset):
    offset.add(Append(10_000, 10_010, 5_000))
    assert offset.exceeds(LIMIT_MS)
    offset.add(Append(6_000, 6_010, 6_002))
    assert offset.bounds_ms == (-2, 8)
    assert not offset.exceeds(LIMIT_MS)


def test_old_appends_expire(offset, clock):
    offset.add(Append(10_000, 10_010, 5_000))
    clock.advance(61)
    assert offset.bounds_ms is None
    assert not offset.exceeds(LIMIT_MS)


def test_append_during_which_clock_was_set_back_is_ignored(offset):
    offset.add(Append(sent_ms=10_000, received_ms=4_000, append_ms=4_000))
    assert offset.bounds_ms is None


@given(
    true_ms=st.integers(-10_000, 10_000),
    trips=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=30),
)
def test_true_offset_is_always_within_bounds(true_ms, trips):
    offset = ClockOffset(ManualClock().clock.monotonic_s)
    for number, (there_ms, back_ms) in enumerate(trips):
        append_ms = 1_000_000 + 1_000 * number
        sent_ms = append_ms + true_ms - there_ms
        offset.add(Append(sent_ms, append_ms + true_ms + back_ms, append_ms))
    low, high = offset.bounds_ms
    assert low <= true_ms <= high
    assert high - low <= min(there + back for there, back in trips)
    assert offset.exceeds(LIMIT_MS) <= (abs(true_ms) > LIMIT_MS)


class ClockTelemetry:
    """The part of the telemetry that a guard uses; records the reported offsets."""

    def __init__(self):
        self.offsets = []

    def clock_is_off(self, offset_ms, *, is_off):
        self.offsets.append((offset_ms, is_off))


def test_guard_raises_clock_error_while_clock_is_off(clock):
    telemetry = ClockTelemetry()
    guard = ClockGuard(telemetry, clock.clock.monotonic_s, has_append_time=True)
    guard.observe(Append(10_000, 10_010, 10_005))
    with pytest.raises(ClockError, match="differs from the brokers' by 3005 ms"):
        guard.observe(Append(20_000, 20_010, 17_000))
    assert telemetry.offsets == [(0, False), (3_005, True)]


def test_guard_ignores_appends_without_known_append_time(clock):
    telemetry = ClockTelemetry()
    guard = ClockGuard(telemetry, clock.clock.monotonic_s, has_append_time=False)
    # librdkafka's embedded broker reports such append times.
    guard.observe(Append(1_795_644_428_000, 1_795_644_428_010, 1_234))
    assert telemetry.offsets == []
