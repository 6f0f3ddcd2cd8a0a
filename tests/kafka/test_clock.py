import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.errors import ClockError
from driftgauge.kafka.clock import Append, ClockGuard, ClockOffset

LIMIT_MS = 2_000


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def offset(clock):
    return ClockOffset(clock)


def test_nothing_is_known_before_the_first_append(offset):
    assert (offset.bounds_ms, offset.estimate_ms, offset.exceeds(LIMIT_MS)) == (None, None, False)


def test_one_append_bounds_the_offset_by_the_round_trip(offset):
    offset.add(Append(sent_ms=5_000, received_ms=5_040, append_ms=4_000))
    assert offset.bounds_ms == (1_000, 1_040)
    assert offset.estimate_ms == 1_020


def test_bounds_of_several_appends_are_intersected(offset):
    offset.add(Append(5_000, 5_040, 4_000))
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
def test_limit_is_exceeded_only_where_the_bounds_prove_it(offset, sent_ms, received_ms, exceeds):
    offset.add(Append(sent_ms, received_ms, append_ms=0))
    assert offset.exceeds(LIMIT_MS) is exceeds


def test_corrected_clock_is_believed_at_once(offset):
    offset.add(Append(10_000, 10_010, 5_000))
    assert offset.exceeds(LIMIT_MS)
    offset.add(Append(6_000, 6_010, 6_002))
    assert offset.bounds_ms == (-2, 8)
    assert not offset.exceeds(LIMIT_MS)


def test_old_appends_are_forgotten(offset, clock):
    offset.add(Append(10_000, 10_010, 5_000))
    clock.now_s = 61.0
    assert offset.bounds_ms is None
    assert not offset.exceeds(LIMIT_MS)


def test_append_across_which_the_clock_was_set_back_is_left_out(offset):
    offset.add(Append(sent_ms=10_000, received_ms=4_000, append_ms=4_000))
    assert offset.bounds_ms is None


@given(
    true_ms=st.integers(-10_000, 10_000),
    trips=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=30),
)
def test_true_offset_is_always_within_the_bounds(true_ms, trips):
    offset = ClockOffset(Clock())
    for number, (there_ms, back_ms) in enumerate(trips):
        append_ms = 1_000_000 + 1_000 * number
        sent_ms = append_ms + true_ms - there_ms
        offset.add(Append(sent_ms, append_ms + true_ms + back_ms, append_ms))
    low, high = offset.bounds_ms
    assert low <= true_ms <= high
    assert high - low <= min(there + back for there, back in trips)
    assert offset.exceeds(LIMIT_MS) <= (abs(true_ms) > LIMIT_MS)


class Heard:
    """The part of the telemetry that a guard speaks to."""

    def __init__(self):
        self.said = []

    def clock_is_off(self, offset_ms, *, is_off):
        self.said.append((offset_ms, is_off))


def test_guard_stops_the_role_while_its_clock_is_off(clock):
    heard = Heard()
    guard = ClockGuard(heard, clock, has_append_time=True)
    guard.observe(Append(10_000, 10_010, 10_005))
    with pytest.raises(ClockError, match="differs from the brokers' by 3005 ms"):
        guard.observe(Append(20_000, 20_010, 17_000))
    assert heard.said == [(0, False), (3_005, True)]


def test_guard_believes_no_time_of_brokers_that_tell_no_settings(clock):
    heard = Heard()
    # So the broker inside librdkafka answers.
    ClockGuard(heard, clock, has_append_time=False).observe(
        Append(1_795_644_428_000, 1_795_644_428_010, 1_234)
    )
    assert heard.said == []
