"""Published window results as the page holds them: summaries, their history, and whole results."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.errors import BrokerError
from driftgauge.events.records import StoredRecord
from driftgauge.page.history import WindowHistory
from driftgauge.page.queries import MissingWindowError
from driftgauge.page.summary import (
    SUMMARY,
    VERDICTS,
    Names,
    Series,
    kind_of,
    read_summary,
)
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.page import MadeResults, build_record, build_row, publish, record_tree

SERIES = Series("resnet18-fc1", HOUR_MS)
ONE, TWO = Series("one", HOUR_MS), Series("two", HOUR_MS)
ROW = build_row()


def test_result_that_must_be_understood_and_is_not_is_refused():
    tree = record_tree(3, must_understand=["count", "weights"])
    with pytest.raises(ValueError, match="it has weights, which a reader must understand"):
        read_summary(orjson.dumps(tree), partition=5, offset=7, published_ms=9)
    tree["must_understand"] = ["count"]
    assert read_summary(orjson.dumps(tree), partition=5, offset=7, published_ms=9)[0] == SERIES


WHOLE = {"incomplete": [{"topic": "t", "partition": 1}] * 2, "events_lost": True, "late_total": 5}


@pytest.mark.parametrize(
    ("tree", "removed"),
    [
        pytest.param(record_tree(3, **WHOLE, applied_total=40), [], id="whole"),
        pytest.param(record_tree(3, **WHOLE), [], id="total of an earlier version"),
        pytest.param(record_tree(0, "insufficient", segments=[]), [], id="not scored"),
        pytest.param(
            record_tree(counted_twice=True),
            ["findings", "kind", "evidence", "incomplete_reason"],
            id="earlier",
        ),
        pytest.param(record_tree(kind="seasons"), [], id="later"),
    ],
)
def test_summary_has_the_numbers_of_the_record(tree, removed, snapshot):
    value = orjson.dumps({name: each for name, each in tree.items() if name not in removed})
    series, row, names, _ = read_summary(value, partition=5, offset=7, published_ms=9)
    numbers = {name: row[name].tolist() for name in SUMMARY.names if name != "baseline"}
    assert (series, names, VERDICTS[row["verdict"]], kind_of(row), numbers) == snapshot
    assert SUMMARY.itemsize == 267, "as the documents say"


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"[]", b"null", b"{}", b'"text"'),
        *(
            orjson.dumps(record_tree() | changes)
            for changes in (
                {"count": "many"},
                {"verdict": "maybe"},
                {"verdict": "segment"},
                {"stream": 7},
                {"start": "Monday"},
                {"baseline": "x"},
                {"window": "week"},
                {"revision": 2**40},
                {"revision": -1},
                {"count": -3},
                {"count": True},
                {"js_divergence": "inf"},
                {"stream": ""},
                {"window": "0s"},
                {"window": "100000000d"},
                {"start": "9999-12-31T23:30:00Z"},
            )
        ),
    ],
)
def test_other_values_are_refused(value):
    results = MadeResults()
    with pytest.raises(ValueError, match="not a window result"):
        results.receive(StoredRecord(value, stored_ms=0))
    assert len(results.history) == 0


@pytest.mark.parametrize(("revisions", "warnings"), [((0, 1), 0), ((0, 0, 0, 1, 0), 1)])
def test_two_deployments_that_write_one_stream_are_reported_once(caplog, revisions, warnings):
    results = MadeResults()
    for offset, revision in enumerate(revisions):
        value = orjson.dumps(record_tree(revision=revision))
        results.receive(StoredRecord(value, stored_offset=offset, stored_ms=MONDAY_MS))
    assert [record.stream for record in caplog.records] == ["resnet18-fc1"] * warnings


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(record_tree())), _JSON)
def test_any_field_of_any_value_is_read_or_refused(name, value):
    value = orjson.dumps(record_tree() | {name: value})
    try:
        series, row, _, _ = read_summary(value, partition=0, offset=0, published_ms=0)
    except ValueError:
        return
    assert isinstance(series.stream, str)
    assert row.dtype == SUMMARY


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
    assert len(history.windows(SERIES)) == 0
    for series in history.series():
        expected = sorted((number, order) for (each, number), order in last.items() if each == series)
        rows = history.windows(series)
        assert [(int(each["start_ms"]) // HOUR_MS, int(each["count"])) for each in rows] == expected
        assert history.windows(series, 2).tobytes() == rows[-2:].tobytes()
        assert history.changes(series) == sum(each == series for each, _ in added)


def test_longest_series_loses_its_oldest_windows():
    history, newest = WindowHistory(100), WindowHistory(1)
    for number in range(150):
        newest.add(ONE, row(number))
        history.add(ONE, row(number))
        if number < 20:
            history.add(TWO, row(number))
        assert len(history) <= 100
    assert starts(history, TWO) == list(range(20))
    assert starts(history, ONE) == list(range(150 - len(history) + 20, 150))
    assert starts(newest, ONE) == [149]


def test_windows_are_a_copy_replaced_by_later_records_and_expire():
    history = WindowHistory(10)
    for number in range(3):
        history.add(ONE, row(number, published=number))
    history.add(TWO, row(0, published=1))
    windows = history.windows(ONE)
    history.add(ONE, row(2, published=5, count=9))
    history.add(ONE, row(2, published=4, count=1))
    assert (windows["count"].tolist(), history.windows(ONE)["count"].tolist()) == ([0, 0, 0], [0, 0, 9])
    history.expire(2)
    assert history.series() == [ONE]
    assert starts(history, ONE) == [2]
    assert (len(history), history.changes(TWO)) == (1, 0)
    history.add(TWO, row(1, published=3))
    assert len(history) == 2


def test_names_are_those_of_the_last_revision_and_go_with_their_window():
    history, here, gone = WindowHistory(10), Names("t[1]"), Names("", ("country = de",))
    for number, names in ((0, gone), (1, gone), (2, here)):
        history.add(ONE, row(number, published=number), names)
    history.add(ONE, row(1, published=5))
    assert history.read(ONE)[1] == {0: gone, 2 * HOUR_MS: here}
    history.expire(1)
    assert history.read(ONE)[1] == {2 * HOUR_MS: here}


def test_whole_result_is_the_last_revision_by_its_offset():
    numbers = ({"number": 2}, {"number": 1}, {"number": 2, "revision": 1, "count": 7})
    results = publish(*(("drift", changes) for changes in numbers))
    assert [results.whole(SERIES, row) for row in results.history.windows(SERIES)] == [
        build_record(1),
        build_record(2, revision=1, count=7),
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"no longer holds this window's details.*retention\.ms"),
        (b'{"stream": "resnet18-fc1"}', "breaks the contract"),
        *(
            (orjson.dumps(record_tree(2, **other)), "holds another window in place of this one")
            for other in ({"stream": "other"}, {"start": "2025-11-03T05:00:00Z"}, {"window": "2h"})
        ),
    ],
)
def test_result_that_is_not_there_is_missing_with_reason(value, message):
    results = publish("drift", number=2)
    (row,) = results.history.windows(SERIES)
    results.made.values[0] = value
    with pytest.raises(MissingWindowError, match=message):
        results.whole(SERIES, row)
    results.made.error = "the brokers are away"
    with pytest.raises(BrokerError, match="away"):
        results.whole(SERIES, row)
