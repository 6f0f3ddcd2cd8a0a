"""Tests of `driftgauge.page.api`: the same windows as JSON and CSV."""

import csv
import io
import json

import pytest

from driftgauge.page.api_records import SummaryRecord
from tests.builders.clocks import DAY_MS
from tests.builders.page import MadeResults, build_record, get, serving

STREAM = "stream=resnet18-fc1"
START = "2025-11-03T02:00:00Z"


@pytest.fixture
def results():
    results = MadeResults()
    for number in range(6):
        results.publish(number, "ok" if number < 4 else "drift", count=100 + number)
    return results


@pytest.fixture
def api(results):
    with serving(results) as server:

        def read(path, status=200, content_type="application/json"):
            response, body = get(server, f"/api/v1/{path}")
            assert response.status == status, body
            assert response.headers["Content-Type"].split(";")[0] == content_type
            return json.loads(body) if content_type == "application/json" else body

        yield read


def test_streams_are_listed_by_urgency_with_newest_window(api, results):
    results.publish(0, "ok", stream="a", size_ms=DAY_MS)
    drifting, other = api("streams")["series"]
    assert (drifting["stream"], drifting["window"], drifting["verdict"]) == ("resnet18-fc1", "1h", "drift")
    assert (drifting["since"], drifting["windows_since"]) == ("2025-11-03T04:00:00Z", 2)
    assert drifting["newest"]["count"] == 105
    assert (other["stream"], other["window"], other["verdict"]) == ("a", "1d", "ok")
    assert not drifting["silent"]


def test_streams_say_what_they_lack(api, results):
    results.made.error, results.made.is_level = "broker 1 does not answer", False
    streams = api("streams")
    assert (streams["complete"], streams["problem"]) == (False, "broker 1 does not answer")


def test_windows_are_the_last_by_start(api):
    windows = api(f"windows?{STREAM}&window=1h&last=2")
    assert (windows["stream"], windows["window"]) == ("resnet18-fc1", "1h")
    assert [window["count"] for window in windows["windows"]] == [104, 105]
    assert len(api(f"windows?{STREAM}")["windows"]) == 6


def test_csv_has_fields_of_json(api):
    rows = list(csv.DictReader(io.StringIO(api(f"windows.csv?{STREAM}&last=3", content_type="text/csv"))))
    assert list(rows[0]) == ["stream", "window", *SummaryRecord.model_fields]
    windows = api(f"windows?{STREAM}&last=3")["windows"]
    for row, window in zip(rows, windows, strict=True):
        assert row["stream"] == "resnet18-fc1"
        texts = {name: "" if value is None else str(value) for name, value in window.items()}
        assert {name: row[name] for name in texts} == texts


def test_csv_has_no_formula(api, results):
    results.publish(0, stream="=cmd()")
    (row,) = csv.DictReader(io.StringIO(api("windows.csv?stream==cmd()", content_type="text/csv")))
    assert row["stream"] == "'=cmd()"


def test_window_is_the_published_record(api):
    expected = build_record(2, "ok", count=102)
    assert api(f"window?{STREAM}&at={START}") == json.loads(expected.model_dump_json())


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("windows", 400, "stream: name a stream"),
        (f"windows?{STREAM}&last=10001", 400, "last: '10001' is no whole number from 1 to 10,000"),
        ("windows?stream=none", 404, "there is no window of a stream none yet"),
        ("windows.csv?stream=none", 404, "there is no window of a stream none yet"),
        (f"window?{STREAM}", 400, "at: name a time, RFC 3339 or epoch milliseconds"),
        (
            f"window?{STREAM}&at=2025-11-02T02:30:00Z",
            404,
            "at: resnet18-fc1 has no window of 1h that starts then or before",
        ),
    ],
)
def test_problem_is_answered_in_words(api, path, status, error):
    assert api(path, status) == {"error": error}


def test_outage_leaves_what_is_in_memory(api, results):
    results.made.error = "broker 1 does not answer"
    assert api(f"window?{STREAM}&at={START}", 503) == {"error": "broker 1 does not answer"}
    assert len(api(f"windows?{STREAM}")["windows"]) == 6
