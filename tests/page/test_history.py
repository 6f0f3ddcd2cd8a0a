"""Tests of `driftgauge.page.history`."""

from hypothesis import given
from hypothesis import strategies as st

from driftgauge.page.history import WindowHistory
from driftgauge.page.summary import Series
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.page import build_row

ONE, TWO = Series("one", HOUR_MS), Series("two", HOUR_MS)
ROW = build_row()


def row(number, published=0, count=0):
    made = ROW.copy()
    made["start_ms"], made["published_ms"], made["count"] = number * HOUR_MS, published, count
    return made


def starts(history, series):
    return [int(start) // HOUR_MS for start in history.windows(series)["start_ms"]]


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.integers(0, 40)), max_size=200))
def test_history_holds_last_record_of_each_window_by_start(added):
    history = WindowHistory(10_000)
    for order, (series, number) in enumerate(added):
        history.add(series, row(number, published=order, count=order))
    last = {(series, number): order for order, (series, number) in enumerate(added)}
    assert len(history) == len(last)
    assert history.series() == sorted({series for series, _ in added})
    for series in history.series():
        expected = sorted((number, order) for (each, number), order in last.items() if each == series)
        rows = history.windows(series)
        assert [(int(each["start_ms"]) // HOUR_MS, int(each["count"])) for each in rows] == expected
        assert history.changes(series) == sum(each == series for each, _ in added)


def test_older_record_does_not_replace_newer_one():
    history = WindowHistory(10)
    history.add(ONE, row(1, published=5, count=2))
    history.add(ONE, row(1, published=4, count=1))
    assert history.windows(ONE)["count"].tolist() == [2]


def test_longest_series_loses_its_oldest_windows():
    history = WindowHistory(100)
    for number in range(150):
        history.add(ONE, row(number))
        if number < 20:
            history.add(TWO, row(number))
        assert len(history) <= 100
    assert starts(history, TWO) == list(range(20))
    assert starts(history, ONE) == list(range(150 - len(history) + 20, 150))


def test_history_of_one_window_keeps_the_newest():
    history = WindowHistory(1)
    for number in range(5):
        history.add(ONE, row(number))
    assert starts(history, ONE) == [4]


def test_windows_are_a_copy_and_may_be_the_last_few():
    history = WindowHistory(10)
    for number in range(4):
        history.add(ONE, row(number))
    windows = history.windows(ONE, 2)
    history.add(ONE, row(3, published=1, count=9))
    assert [int(start) // HOUR_MS for start in windows["start_ms"]] == [2, 3]
    assert windows["count"].tolist() == [0, 0]


def test_unknown_series_has_no_windows():
    assert len(WindowHistory(10).windows(Series("none", MONDAY_MS))) == 0


def test_windows_published_before_a_time_expire():
    history = WindowHistory(10)
    for number in range(3):
        history.add(ONE, row(number, published=number))
    history.add(TWO, row(0, published=1))
    history.expire(2)
    assert history.series() == [ONE]
    assert history.windows(ONE)["published_ms"].tolist() == [2]
    assert (len(history), history.changes(ONE), history.changes(TWO)) == (1, 4, 0)
    history.add(TWO, row(1, published=3))
    assert len(history) == 2
