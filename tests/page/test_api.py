"""The API over HTTP: streams by urgency, windows as JSON and CSV, and what each parameter asks for."""

import csv
import io
import json
from urllib.parse import urlencode

import pytest

from driftgauge.core.statistics import registry
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
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


def test_streams_are_listed_with_alarm_and_what_is_lacking(api, results):
    results.publish(0, "ok", stream="a", segments=[])
    drifting, other = api("streams")["streams"]
    (alarm,) = (each for each in drifting["alarms"] if not each["segments"])
    assert (drifting["stream"], drifting["state"], drifting["concluded"]) == (
        "resnet18-fc1",
        "drift",
        "2025-11-03T06:00:00Z",
    )
    assert (alarm["window"], alarm["verdict"], alarm["since"], alarm["after"], alarm["windows"]) == (
        "1h",
        "drift",
        "2025-11-03T04:00:00Z",
        None,
        2,
    )
    assert drifting["runbook"].endswith("/DriftgaugeDrift.md")
    assert 'stream="resnet18-fc1"' in drifting["silence"]
    assert drifting["sizes"][0]["newest"]["count"] == 105
    assert (other["stream"], other["state"], other["alarms"], other["silence"]) == ("a", "ok", [], None)
    results.publish(1, "warning", stream="a")
    assert [each["state"] for each in api("streams")["streams"]] == ["drift", "segment"]
    results.made.error, results.made.has_caught_up = "broker 1 does not answer", False
    streams = api("streams")
    assert (streams["complete"], streams["problem"]) == (False, "broker 1 does not answer")
    assert all(each["old"] for each in streams["streams"])


def test_windows_are_the_last_by_start_and_the_same_as_csv(api, results):
    windows = api(f"windows?{STREAM}&window=1h&last=3")
    assert (windows["stream"], windows["window"]) == ("resnet18-fc1", "1h")
    assert [window["count"] for window in windows["windows"]] == [103, 104, 105]
    assert (
        len(api(f"windows?{STREAM}&last=10000")["windows"]) == len(api(f"windows?{STREAM}")["windows"]) == 6
    )
    asked = "from=2025-11-03T01:00:00Z&until=2025-11-03T03:00:00Z"
    ranged = api(f"windows?{STREAM}&{asked}")["windows"]
    assert [window["count"] for window in ranged] == [101, 102]
    assert api(f"windows?{STREAM}&{asked}&last=1")["windows"] == ranged[1:]
    rows = list(csv.DictReader(io.StringIO(api(f"windows.csv?{STREAM}&last=3", content_type="text/csv"))))
    for row, window in zip(rows, windows["windows"], strict=True):
        assert row.pop("stream") == "resnet18-fc1"
        assert row.pop("window") == "1h"
        values = {f"values.{name}": value for name, value in window.pop("values").items()}
        detectable = {f"detectable.{name}": value for name, value in window.pop("detectable").items()}
        assert window.pop("numbers") == {}, "the stream names none"
        assert len(values) + 1 == len(detectable) == len(registry.STATISTICS)
        texts = {
            name: "" if value is None else str(value)
            for name, value in (window | values | detectable).items()
        }
        assert row == texts
    results.publish(0, stream="=cmd()")
    (row,) = csv.DictReader(io.StringIO(api("windows.csv?stream==cmd()", content_type="text/csv")))
    assert row["stream"] == "'=cmd()", "no formula"


@pytest.mark.parametrize(
    ("query", "start"),
    [
        ({"at": START}, START),
        ({"at": "2025-11-03T03:00:00+01:00"}, START),
        ({"at": "2025-11-03T02:59:59.999Z"}, START),
        ({"at": str(MONDAY_MS + 2 * HOUR_MS)}, START),
        ({"at": "2030-01-01T00:00:00Z"}, "2025-11-03T05:00:00Z"),
        ({"at": START, "window": "24h"}, "2025-11-03T00:00:00Z"),
        ({"at": START, "window": ""}, START),
        # Published a second after each other.
        ({"at": START, "seen": str(MONDAY_MS)}, START),
    ],
)
def test_window_is_the_published_record_that_holds_a_time(api, results, query, start):
    results.publish(0, size_ms=DAY_MS)
    record = api(f"window?{urlencode({'stream': 'resnet18-fc1', **query})}")
    assert record["start"] == start
    assert record["window"] == ("1d" if query.get("window") else "1h")
    if start == START:
        assert record == json.loads(build_record(2, "ok", count=102).model_dump_json())


def test_range_without_windows_is_empty(api):
    asked = f"{STREAM}&from=2026-01-01T00:00:00Z"
    assert api(f"windows?{asked}")["windows"] == []
    assert list(csv.DictReader(io.StringIO(api(f"windows.csv?{asked}", content_type="text/csv")))) == []


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("windows", 400, "stream: name a stream"),
        ("windows?stream=", 400, "stream: name a stream"),
        (f"windows?{STREAM}&last=10001", 400, "last: '10001' is no whole number from 1 to 10,000"),
        (f"windows?{STREAM}&from={START}&until={START}", 400, "until: it must be later than from"),
        (f"windows?{STREAM}&last=0", 400, "last: '0' is no whole number from 1 to 10,000"),
        (f"windows?{STREAM}&last=-1", 400, "last: '-1' is no whole number from 1 to 10,000"),
        (f"windows?{STREAM}&last=1.5", 400, "last: '1.5' is no whole number from 1 to 10,000"),
        (f"windows?{STREAM}&last=%C2%B2", 400, "last: '²' is no whole number from 1 to 10,000"),
        (f"windows?{STREAM}&last={'9' * 5_000}", 400, "last: "),
        (f"windows?{STREAM}&last=", 400, "last: "),
        (f"windows?{STREAM}&window=week", 400, "window: "),
        ("windows?stream=none", 404, "there is no window of a stream none yet"),
        ("windows.csv?stream=none", 404, "there is no window of a stream none yet"),
        (f"windows?{STREAM}&window=2h", 404, "there is no window of 2h of a stream resnet18-fc1 yet"),
        (f"window?{STREAM}", 400, "at: name a time, RFC 3339 or epoch milliseconds"),
        (f"window?{STREAM}&at=Monday", 400, "at: "),
        (f"window?{STREAM}&at=-1", 400, "at: "),
        (f"window?{STREAM}&at={'9' * 5_000}", 400, "at: "),
        (
            f"window?{STREAM}&at=2025-11-02T23:59:59Z",
            404,
            "at: resnet18-fc1 has no window of 1h that starts then or before",
        ),
    ],
)
def test_problem_is_answered_in_words(api, path, status, error):
    answer = api(path, status)
    assert list(answer) == ["error"]
    assert answer["error"].startswith(error)


def test_outage_leaves_what_is_in_memory(api, results):
    results.made.error = "broker 1 does not answer"
    assert api(f"window?{STREAM}&at={START}", 503) == {"error": "broker 1 does not answer"}
    assert len(api(f"windows?{STREAM}")["windows"]) == 6
