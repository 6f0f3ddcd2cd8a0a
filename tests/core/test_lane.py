"""One stream on one held partition: how far it has come, silence, and losses."""

import pytest

from driftgauge.core.lane import Lane
from driftgauge.core.state import Counting, Gap, StreamProgress

IDLE_MS = 60_000
DISORDER_MS = 30


def lane(now_ms=0, **kept):
    return Lane.restore(StreamProgress(**kept), DISORDER_MS, now_ms)


def test_the_newest_event_time_never_goes_back():
    here = lane()
    here.observe(500, now_ms=1)
    here.observe(300, now_ms=2)
    assert here.progress == StreamProgress(newest_ms=500)


def test_silence_is_measured_from_the_last_event_whatever_its_time():
    here = lane()
    here.observe(500, now_ms=10)
    here.observe(300, now_ms=20)
    assert not here.is_silent(20 + IDLE_MS - 1, IDLE_MS)
    assert here.is_silent(20 + IDLE_MS, IDLE_MS)


def test_silence_is_measured_from_the_assignment_where_no_event_came():
    here = lane(now_ms=1_000, newest_ms=500)
    assert not here.is_silent(1_000 + IDLE_MS - 1, IDLE_MS)
    assert here.is_silent(1_000 + IDLE_MS, IDLE_MS)


def test_proven_idleness_counts_to_where_the_stream_had_come_and_never_goes_back():
    here = lane(newest_ms=100)
    here.prove_idle(700, now_ms=0)
    here.prove_idle(600, now_ms=1)
    assert here.progress == StreamProgress(newest_ms=100, idle_to_ms=700)


def test_the_purge_horizon_never_goes_back():
    here = lane()
    here.purge(700)
    here.purge(600)
    assert here.progress.horizon_ms == 700


def test_what_is_kept_is_restored():
    kept = StreamProgress(5, 6, 7, (Counting("abc"), Counting("def", 8)), Gap(3, 9))
    assert Lane.restore(kept, DISORDER_MS, now_ms=0).progress == kept


def test_lost_events_may_be_as_old_as_the_disorder_allows():
    here = lane(newest_ms=500)
    here.lose()
    assert here.progress.gap == Gap(470, None)


def test_lost_events_may_be_of_any_age_where_none_was_seen_before():
    here = lane()
    here.lose()
    assert here.progress.gap == Gap(None, None)


def test_lost_events_are_newer_than_the_next_one_by_the_disorder_at_most():
    here = lane(newest_ms=500)
    here.lose()
    here.observe(900, now_ms=0)
    here.observe(2_000, now_ms=1)
    assert here.progress.gap == Gap(470, 930)


@pytest.mark.parametrize(("now_ms", "to_ms"), [(5_000, 5_000), (100, 730)])
def test_where_no_event_comes_any_more_lost_ones_are_not_of_the_future(now_ms, to_ms):
    # The stream's newest, 700, is as far as was known: others may not have been read yet.
    here = lane(newest_ms=500)
    here.lose()
    here.prove_idle(700, now_ms)
    assert here.progress.gap == Gap(470, to_ms)


def test_two_losses_are_one_from_the_earlier_to_the_end_of_the_later():
    here = lane(newest_ms=500)
    here.lose()
    here.observe(900, now_ms=0)
    here.lose()
    assert here.progress.gap == Gap(470, None)
    here.observe(1_500, now_ms=1)
    assert here.progress.gap == Gap(470, 1_530)


def test_a_loss_is_forgotten_once_no_open_window_can_miss_anything():
    here = lane(gap=Gap(470, 930))
    here.forget_gap(930)
    assert here.progress.gap == Gap(470, 930)
    here.forget_gap(931)
    assert here.progress.gap is None


def test_a_loss_whose_end_is_not_known_is_not_forgotten():
    here = lane(gap=Gap(470))
    here.forget_gap(10**12)
    assert here.progress.gap == Gap(470)
