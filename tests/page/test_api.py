"""The API over HTTP: streams by urgency, windows as JSON and CSV, and what each parameter asks for."""

import csv
import io
import json
from urllib.parse import urlencode

import pytest

from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.page import build_record, get, publish, serving

STREAM = "stream=resnet18-fc1"
START = "2025-11-03T02:00:00Z"


@pytest.fixture
def results():
    verdicts = ["ok"] * 4 + ["drift"] * 2
    return publish(*((verdict, {"count": 100 + number}) for number, verdict in enumerate(verdicts)))


@pytest.fixture
def api(results):
    with serving(results, runbooks_url="https://wiki.example") as server:

        def read(path, status=200, content_type="application/json"):
            response, body = get(server, f"/api/v1/{path}")
            assert response.status == status, body
            assert response.headers["Content-Type"].split(";")[0] == content_type
            return json.loads(body) if content_type == "application/json" else body

        yield read


def test_streams_are_listed_with_alarm_and_what_is_lacking(api, results, snapshot):
    results.publish(0, "ok", stream="a", segments=[])
    assert api("streams") == snapshot
    results.publish(1, "warning", stream="a")
    assert [each["state"] for each in api("streams")["streams"]] == ["drift", "segment"]
    results.made.error, results.made.has_caught_up = "broker 1 does not answer", False
    streams = api("streams")
    assert (streams["complete"], streams["problem"]) == (False, "broker 1 does not answer")
    assert all(each["old"] for each in streams["streams"])


RANGE = "from=2025-11-03T01:00:00Z&until=2025-11-03T03:00:00Z"


@pytest.mark.parametrize(
    ("asked", "counts"),
    [
        ("window=1h&last=3", [103, 104, 105]),
        ("last=10000", [100, 101, 102, 103, 104, 105]),
        ("window=1h", [100, 101, 102, 103, 104, 105]),
        (RANGE, [101, 102]),
        (f"{RANGE}&last=1", [102]),
        ("from=2026-01-01T00:00:00Z", []),
    ],
)
def test_windows_are_the_last_by_start_and_the_same_as_csv(api, asked, counts):
    windows = api(f"windows?{STREAM}&{asked}")["windows"]
    assert [window["count"] for window in windows] == counts
    rows = csv.DictReader(io.StringIO(api(f"windows.csv?{STREAM}&{asked}", content_type="text/csv")))
    assert [int(row["count"]) for row in rows] == counts


def test_window_has_every_number_as_json_and_csv(api, results, snapshot):
    results.publish(0, stream="=cmd()")
    assert api("windows?stream==cmd()") == snapshot
    # A name is no formula.
    assert api("windows.csv?stream==cmd()", content_type="text/csv").splitlines() == snapshot


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


@pytest.mark.parametrize("shows_snippets", [True, False])
def test_texts_of_events_are_answered_behind_a_login_only(shows_snippets):
    with serving(publish("drift", shows_snippets=shows_snippets)) as server:
        body = get(server, f"/api/v1/window?{STREAM}&at=2025-11-03T00:00:00Z")[1]
    assert ("a red truck" in body) is shows_snippets


def test_outage_leaves_what_is_in_memory(api, results):
    results.made.error = "broker 1 does not answer"
    assert api(f"window?{STREAM}&at={START}", 503) == {"error": "broker 1 does not answer"}
    assert len(api(f"windows?{STREAM}")["windows"]) == 6
