"""Tests of `driftgauge.page.queries`."""

import pytest
from starlette.datastructures import QueryParams

from driftgauge.page.queries import MissingWindowError, read_last, read_query
from driftgauge.page.summary import Series
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.page import MadeResults


@pytest.fixture
def history():
    results = MadeResults()
    for number in range(3):
        results.publish(number)
    results.publish(0, size_ms=DAY_MS)
    return results.history


def ask(history, **parameters):
    return read_query(history, QueryParams(parameters))


def test_smallest_size_is_taken_without_one(history):
    query = ask(history, stream="resnet18-fc1")
    assert query.series == Series("resnet18-fc1", HOUR_MS)
    assert query.sizes == ("1h", "1d")
    assert len(query.rows) == 3
    assert (query.at_ms, query.compare_ms) == (None, None)


def test_size_and_windows_are_read(history):
    query = ask(
        history,
        stream="resnet18-fc1",
        window="24h",
        at="2025-11-03T01:00:00+01:00",
        compare="2025-11-03T02:00:00Z",
    )
    assert query.series.size_ms == DAY_MS
    assert query.at_ms == query.compare_ms == MONDAY_MS
    assert query.row(MONDAY_MS)["start_ms"] == MONDAY_MS


@pytest.mark.parametrize(
    "time", ["2025-11-03T01:00:00Z", "2025-11-03T01:59:59.999Z", str(MONDAY_MS + HOUR_MS), "1762132500000"]
)
def test_time_names_window_that_holds_it(history, time):
    query = ask(history, stream="resnet18-fc1", at=time, compare=time)
    assert query.at_ms == query.compare_ms == MONDAY_MS + HOUR_MS


def test_time_after_all_windows_names_the_last(history):
    assert ask(history, stream="resnet18-fc1", at="2030-01-01T00:00:00Z").at_ms == MONDAY_MS + 2 * HOUR_MS


def test_time_before_all_windows_names_none(history):
    with pytest.raises(MissingWindowError, match=r"^at: resnet18-fc1 has no window of 1h that starts then"):
        ask(history, stream="resnet18-fc1", at="2025-11-02T23:59:59Z")


def test_empty_parameters_are_absent_ones(history):
    query = ask(history, stream="resnet18-fc1", window="", at="", compare="")
    assert (query.series.size_ms, query.at_ms, query.compare_ms) == (HOUR_MS, None, None)


@pytest.mark.parametrize("parameters", [{"stream": "other"}, {"stream": "resnet18-fc1", "window": "2h"}])
def test_unknown_series_is_missing(history, parameters):
    with pytest.raises(MissingWindowError, match="there is no window"):
        ask(history, **parameters)


@pytest.mark.parametrize("start_ms", [0, MONDAY_MS + 1, MONDAY_MS + 3 * HOUR_MS])
def test_unknown_start_is_missing(history, start_ms):
    with pytest.raises(MissingWindowError, match="no window of 1h that starts then"):
        ask(history, stream="resnet18-fc1").row(start_ms)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({}, "stream"),
        ({"stream": ""}, "stream"),
        ({"stream": "s", "window": "week"}, "window"),
        ({"stream": "resnet18-fc1", "at": "Monday"}, "at"),
        ({"stream": "resnet18-fc1", "compare": "x"}, "compare"),
        ({"stream": "resnet18-fc1", "at": "9" * 5_000}, "at"),
        ({"stream": "resnet18-fc1", "at": "-1"}, "at"),
    ],
)
def test_wrong_parameter_is_named(history, parameters, named):
    with pytest.raises(ValueError, match=f"^{named}: "):
        ask(history, **parameters)


def test_number_of_windows_is_read():
    assert read_last(QueryParams({}), 1_000) == 200
    assert read_last(QueryParams({"last": "1000"}), 1_000) == 1_000


def test_seen_names_newest_window_published_by_then():
    results = MadeResults()
    for number in range(3):
        results.publish(number)
    # Published at 0, 1 and 2 seconds.
    for seen_ms, number in ((0, 0), (1_999, 1), (2_000, 2), (DAY_MS, 2)):
        query = ask(results.history, stream="resnet18-fc1", seen=str(MONDAY_MS + seen_ms))
        assert query.at_ms == MONDAY_MS + number * HOUR_MS
    at = ask(results.history, stream="resnet18-fc1", at=str(MONDAY_MS), seen=str(MONDAY_MS + DAY_MS))
    assert at.at_ms == MONDAY_MS
    with pytest.raises(MissingWindowError, match=r"^seen: no window of resnet18-fc1 was published by then"):
        ask(results.history, stream="resnet18-fc1", seen=str(MONDAY_MS - 1))
