"""Watermarks: the minimum over partitions that are not idle, and when one is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.watermark import Watermarks

IDLE_MS = 60_000


def watermarks(*partitions, disorder_ms=0, now_ms=0):
    return Watermarks(partitions, disorder_ms=disorder_ms, idle_ms=IDLE_MS, now_ms=now_ms)


def silence(marks, now_ms, position=10):
    """One closing round that finds every silent partition read to its end."""
    ends = dict.fromkeys(marks.ask(now_ms), position)
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
    assert marks.ask(IDLE_MS) == [0]
    marks.advance(IDLE_MS, {0: 7}, {0: 8})
    assert not marks.all_idle
    assert marks.ask(IDLE_MS) == [0]
    marks.advance(IDLE_MS, {0: 8}, {0: 8})
    assert marks.all_idle


def test_an_end_offset_seen_before_the_silence_makes_no_partition_idle():
    marks = watermarks(0)
    marks.observe(0, 500, now_ms=0)
    assert marks.ask(IDLE_MS - 1) == []
    marks.advance(IDLE_MS - 1, {0: 8}, {0: 8})  # asked for another stream's sake
    assert not marks.all_idle
    assert marks.ask(IDLE_MS) == [0]
    marks.advance(IDLE_MS, {0: 8}, {})
    assert not marks.all_idle


def test_an_end_offset_that_could_not_be_learnt_is_asked_for_again():
    marks = watermarks(0)
    assert marks.ask(IDLE_MS) == [0]
    marks.advance(IDLE_MS, {0: 0}, {})
    assert not marks.all_idle
    assert marks.ask(IDLE_MS) == [0]


def test_without_an_answer_nothing_is_idle_whatever_an_earlier_round_found():
    marks = watermarks(0, 1)
    marks.observe(0, 500, now_ms=0)
    assert silence(marks, IDLE_MS) == 500
    assert marks.all_idle
    assert marks.ask(2 * IDLE_MS) == [0, 1]
    marks.observe(0, 900, now_ms=2 * IDLE_MS)
    assert marks.advance(2 * IDLE_MS, {0: 10, 1: 10}, {}) == 500  # partition 1 holds it
    assert not marks.all_idle


def test_an_answer_for_one_partition_makes_no_other_idle():
    marks = watermarks(0, 1)
    marks.observe(0, 100, now_ms=0)
    marks.observe(1, 500, now_ms=0)
    assert marks.ask(IDLE_MS) == [0, 1]
    assert marks.advance(IDLE_MS, {0: 10, 1: 10}, {0: 10}) == 500
    assert not marks.all_idle


def test_a_partition_whose_reader_falls_behind_is_not_idle_any_more_and_holds_the_watermark():
    marks = watermarks(0, 1)
    marks.observe(0, 100, now_ms=0)
    marks.observe(1, 500, now_ms=IDLE_MS)
    assert silence(marks, IDLE_MS) == 500
    marks.observe(1, 900, now_ms=IDLE_MS)
    assert marks.ask(IDLE_MS) == [0]
    assert marks.advance(IDLE_MS, {0: 10, 1: 11}, {0: 11}) == 500
    marks.observe(0, 700, now_ms=IDLE_MS)  # its backlog
    assert marks.advance(IDLE_MS, {0: 11, 1: 11}, {}) == 700


def test_beside_an_idle_partition_the_others_count_with_what_they_had_reached_when_asked():
    marks = watermarks(0, 1)
    marks.observe(0, 100, now_ms=0)
    marks.observe(1, 500, now_ms=IDLE_MS)
    assert marks.ask(IDLE_MS) == [0]
    marks.observe(1, 900, now_ms=IDLE_MS)
    assert marks.advance(IDLE_MS, {0: 10, 1: 11}, {0: 10}) == 500
    assert silence(marks, IDLE_MS) == 900


def test_a_partition_first_heard_of_after_the_question_had_reached_nothing_when_asked():
    marks = watermarks(0, 1, 2)
    marks.observe(2, 300, now_ms=IDLE_MS)
    assert marks.ask(IDLE_MS) == [0, 1]
    marks.observe(1, 900, now_ms=IDLE_MS)
    assert marks.advance(IDLE_MS, {0: 10, 1: 10, 2: 10}, {0: 10, 1: 10}) is None
    assert silence(marks, IDLE_MS) == 300


def test_without_an_idle_partition_what_came_after_the_question_counts_at_once():
    marks = watermarks(0, 1)
    marks.observe(0, 100, now_ms=0)
    marks.observe(1, 200, now_ms=0)
    assert marks.ask(0) == []
    marks.observe(0, 800, now_ms=0)
    marks.observe(1, 900, now_ms=0)
    assert marks.advance(0, {0: 2, 1: 2}, {}) == 800


def test_silence_is_measured_from_the_assignment_where_no_event_came():
    marks = watermarks(0, 1, now_ms=1_000)
    assert marks.ask(1_000 + IDLE_MS - 1) == []
    assert marks.ask(1_000 + IDLE_MS) == [0, 1]


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
    marks = watermarks(0, 1)
    marks.observe(0, 500, now_ms=0)
    marks.observe(1, 900, now_ms=0)
    assert marks.ask(IDLE_MS) == [0, 1]
    marks.observe(0, 600, now_ms=IDLE_MS)
    assert marks.advance(IDLE_MS, {0: 8, 1: 8}, {0: 8, 1: 8}) == 500  # what 0 had reached when asked
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
        ends = dict.fromkeys(marks.ask(now_ms), 10 if read_to_end else 11)
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


class Log:
    """Two partitions written by the clock's time, and a reader that may lag behind."""

    def __init__(self):
        self.now_ms = 0
        self.times = ([], [])
        self.positions = {0: 0, 1: 0}
        self.marks = watermarks(0, 1)

    def write(self, partition):
        self.now_ms += 1
        self.times[partition].append(self.now_ms)

    def read(self, partition):
        for time_ms in self.times[partition][self.positions[partition] :]:
            assert self.marks.watermark_ms is None or time_ms >= self.marks.watermark_ms
            self.marks.observe(partition, time_ms, self.now_ms)
        self.positions[partition] = len(self.times[partition])


STEPS = st.lists(st.tuples(st.sampled_from([Log.write, Log.read]), st.integers(0, 1)), max_size=6)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.booleans(), STEPS, STEPS, STEPS, st.booleans()), max_size=8))
def test_no_event_that_was_written_in_time_is_older_than_the_watermark_when_it_is_read(rounds):
    log = Log()
    for pause, before, asked, measured, answered in rounds:
        log.now_ms += IDLE_MS if pause else 0
        run(log, before)
        silent = log.marks.ask(log.now_ms)
        run(log, asked)
        ends = {partition: len(log.times[partition]) for partition in silent}
        run(log, measured)
        log.marks.advance(log.now_ms, log.positions, ends if answered else {})
    run(log, [(Log.read, 0), (Log.read, 1)])


def run(log, steps):
    for step, partition in steps:
        step(log, partition)
