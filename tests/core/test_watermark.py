"""Watermarks: the minimum over partitions that are not idle, and when one is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.watermark import Watermarks

IDLE_MS = 60_000


def watermarks(*partitions, disorder_ms=0, now_ms=0):
    return Watermarks(partitions, disorder_ms=disorder_ms, idle_ms=IDLE_MS, now_ms=now_ms)


def silence(marks, now_ms, position=10):
    """One closing round after which every silent partition has been found read to its end."""
    ends = dict.fromkeys(marks.silent(now_ms), position)
    return marks.advance(now_ms, dict.fromkeys(range(4), position), ends)


def test_a_watermark_is_the_newest_event_time_less_the_allowed_disorder():
    marks = watermarks(0, disorder_ms=30)
    marks.observe(0, 1_000, now_ms=0)
    assert marks.advance(0, {0: 1}, {}) == 970
    marks.observe(0, 900, now_ms=0)
    assert marks.advance(0, {0: 2}, {}) == 970


def test_the_streams_watermark_is_the_lowest_of_its_partitions():
    marks = watermarks(0, 1, 2)
    for partition, newest_ms in enumerate([500, 200, 900]):
        marks.observe(partition, newest_ms, now_ms=0)
    assert marks.advance(0, {0: 1, 1: 1, 2: 1}, {}) == 200
    assert marks.watermark_ms == 200


def test_a_partition_without_an_event_counts_as_minus_infinity():
    marks = watermarks(0, 1)
    marks.observe(0, 500, now_ms=0)
    assert marks.advance(0, {0: 1, 1: 0}, {}) is None
    assert marks.watermark_ms is None
    marks.observe(1, 100, now_ms=0)
    assert marks.advance(0, {0: 1, 1: 1}, {}) == 100


def test_the_watermark_stays_where_it_is_until_the_next_round():
    marks = watermarks(0)
    marks.observe(0, 500, now_ms=0)
    assert marks.watermark_ms is None
    marks.advance(0, {0: 1}, {})
    marks.observe(0, 800, now_ms=0)
    assert marks.watermark_ms == 500


def test_silence_alone_makes_no_partition_idle():
    marks = watermarks(0, 1)
    marks.observe(0, 500, now_ms=0)
    assert marks.advance(10 * IDLE_MS, {0: 1, 1: 0}, {}) is None
    assert not marks.all_idle


def test_an_end_offset_that_is_still_ahead_makes_no_partition_idle():
    marks = watermarks(0)
    marks.observe(0, 500, now_ms=0)
    assert marks.silent(IDLE_MS) == [0]
    marks.advance(IDLE_MS, {0: 7}, {0: 8})
    assert not marks.all_idle
    assert marks.silent(IDLE_MS) == []  # its end is known: it need not be asked for again
    marks.advance(IDLE_MS, {0: 8}, {})
    assert marks.all_idle


def test_an_end_offset_seen_before_the_silence_makes_no_partition_idle():
    marks = watermarks(0)
    marks.observe(0, 500, now_ms=0)
    assert marks.silent(IDLE_MS - 1) == []
    marks.advance(IDLE_MS - 1, {0: 8}, {0: 8})
    assert not marks.all_idle
    assert marks.silent(IDLE_MS) == [0]
    marks.advance(IDLE_MS, {0: 8}, {})
    assert not marks.all_idle


def test_an_end_offset_that_could_not_be_learnt_is_asked_for_again():
    marks = watermarks(0)
    marks.advance(IDLE_MS, {0: 0}, {})
    assert marks.silent(IDLE_MS) == [0]


def test_silence_is_measured_from_the_assignment_where_no_event_came():
    marks = watermarks(0, 1, now_ms=1_000)
    assert marks.silent(1_000 + IDLE_MS - 1) == []
    assert marks.silent(1_000 + IDLE_MS) == [0, 1]


def test_an_idle_partition_holds_nobody_back():
    marks = watermarks(0, 1, 2)
    marks.observe(0, 100, now_ms=0)
    marks.observe(1, 500, now_ms=0)
    assert silence(marks, IDLE_MS - 1) is None
    marks.observe(1, 600, now_ms=IDLE_MS)
    assert silence(marks, IDLE_MS) == 600
    assert not marks.all_idle


def test_an_event_wakes_a_partition_and_the_watermark_does_not_go_back():
    marks = watermarks(0, 1)
    marks.observe(0, 100, now_ms=0)
    marks.observe(1, 900, now_ms=IDLE_MS)
    assert silence(marks, IDLE_MS) == 900
    marks.observe(0, 200, now_ms=IDLE_MS)
    marks.observe(1, 950, now_ms=IDLE_MS)
    assert silence(marks, IDLE_MS) == 900  # partition 0 is awake, far behind
    marks.observe(0, 980, now_ms=IDLE_MS)
    assert silence(marks, IDLE_MS) == 950


def test_an_event_between_the_question_and_the_answer_keeps_a_partition_awake():
    marks = watermarks(0)
    marks.observe(0, 500, now_ms=0)
    marks.advance(IDLE_MS, {0: 7}, {0: 8})
    marks.observe(0, 600, now_ms=IDLE_MS)
    marks.advance(IDLE_MS, {0: 8}, {})
    assert not marks.all_idle


def test_when_all_are_idle_the_highest_time_seen_counts():
    marks = watermarks(0, 1, 2, disorder_ms=30)
    marks.observe(0, 100, now_ms=0)
    marks.observe(1, 900, now_ms=0)
    assert silence(marks, IDLE_MS) == 870
    assert marks.all_idle


def test_all_idle_without_any_event_is_no_watermark():
    marks = watermarks(0, 1)
    assert silence(marks, IDLE_MS) is None
    assert marks.all_idle


def test_the_last_sign_of_life_is_the_latest_on_any_partition():
    marks = watermarks(0, 1, now_ms=5)
    marks.observe(1, 100, now_ms=70)
    assert marks.last_seen_ms == 70


def test_an_event_on_a_partition_that_is_not_held_is_a_mistake_of_the_caller():
    with pytest.raises(KeyError):
        watermarks(0).observe(1, 100, now_ms=0)


EVENT = st.tuples(st.integers(0, 2), st.integers(0, 1_000), st.integers(0, 2 * IDLE_MS), st.booleans())


@given(st.lists(EVENT, max_size=40))
def test_the_watermark_never_goes_back_whatever_comes(events):
    marks = watermarks(0, 1, 2, disorder_ms=50)
    now_ms, last = 0, None
    for partition, time_ms, pause_ms, read_to_end in events:
        now_ms += pause_ms
        marks.observe(partition, time_ms, now_ms)
        ends = dict.fromkeys(marks.silent(now_ms), 10 if read_to_end else 11)
        watermark = marks.advance(now_ms, dict.fromkeys(range(3), 10), ends)
        assert last is None or (watermark is not None and watermark >= last)
        last = watermark


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1_000)), max_size=40))
def test_without_idleness_the_watermark_is_the_lowest_newest(events):
    marks = watermarks(0, 1, 2, disorder_ms=50)
    newest = {}
    for partition, time_ms in events:
        marks.observe(partition, time_ms, now_ms=0)
        newest[partition] = max(newest.get(partition, 0), time_ms)
    expected = min(newest.values()) - 50 if len(newest) == 3 else None
    assert marks.advance(0, dict.fromkeys(range(3), 0), {}) == expected
