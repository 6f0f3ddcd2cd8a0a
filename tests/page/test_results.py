"""Tests of `driftgauge.page.results`."""

import orjson
import pytest

from driftgauge.errors import BrokerError
from driftgauge.page.queries import MissingWindowError
from driftgauge.page.summary import Series
from tests.builders.clocks import HOUR_MS
from tests.builders.page import MadeResults, build_record, record_tree

SERIES = Series("resnet18-fc1", HOUR_MS)


def rows_of(results):
    (series,) = results.history.series()
    return results.history.windows(series)


@pytest.fixture
def results():
    results = MadeResults()
    results.publish(2)
    return results


def test_whole_result_is_read_by_its_offset(results):
    results.publish(1)
    rows = rows_of(results)
    assert [results.whole(SERIES, row) for row in rows] == [build_record(1), build_record(2)]


def test_revision_replaces_the_result_before(results):
    results.publish(2, revision=1, count=7)
    (row,) = rows_of(results)
    assert results.whole(SERIES, row).count == row["count"] == 7


def test_other_records_are_refused(results):
    with pytest.raises(ValueError, match="not a window result"):
        results.receive(b"{}", partition=0, offset=9, published_ms=0)
    assert len(results.history) == 1


def test_deleted_record_is_missing_with_remedy(results):
    results.made.values[0] = None
    with pytest.raises(MissingWindowError, match=r"no longer holds this window's details.*retention\.ms"):
        results.whole(SERIES, rows_of(results)[0])


def test_record_that_breaks_the_contract_is_missing(results):
    results.made.values[0] = b'{"stream": "resnet18-fc1"}'
    with pytest.raises(MissingWindowError, match="breaks the contract"):
        results.whole(SERIES, rows_of(results)[0])


def test_outage_is_passed_on(results):
    results.made.error = "the brokers are away"
    with pytest.raises(BrokerError, match="away"):
        results.whole(SERIES, rows_of(results)[0])


@pytest.mark.parametrize("other", [{"stream": "other"}, {"start": "2025-11-03T05:00:00Z"}, {"window": "2h"}])
def test_another_window_in_place_of_this_one_is_missing(results, other):
    results.made.values[0] = orjson.dumps(record_tree(2, **other))
    with pytest.raises(MissingWindowError, match="holds another window in place of this one"):
        results.whole(SERIES, rows_of(results)[0])
