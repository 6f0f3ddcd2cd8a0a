"""The page over HTTP: what it shows in each situation, its links, and how it answers."""

import json
import re
from html import unescape
from types import SimpleNamespace
from urllib.parse import quote, urlsplit

import pytest

from driftgauge.events.records import StoredRecord
from driftgauge.events.timestamps import parse_timestamp
from driftgauge.page.marks import Marks
from driftgauge.page.probes import page_health_routes
from driftgauge.page.service_watch import ServiceWatch
from driftgauge.page.site import Site
from driftgauge.records.mark import Mark
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.html import HOSTILE, Elements, as_shown, outline
from tests.builders.page import (
    build_settings,
    every_stream,
    get,
    named_record,
    publish,
    record_tree,
    serving,
)
from tests.harness.registry_server import serve_routes

STREAM = "?stream=resnet18-fc1"


def marks_of(*marks):
    made = Marks()
    for mark in marks:
        made.receive(StoredRecord(mark.model_dump_json().encode(), stored_ms=MONDAY_MS))
    return made


SIX = ["ok"] * 4 + ["drift"] * 2
NAMED = record_tree(1)
for cluster in NAMED["clusters"]:
    cluster |= {"name": f"name {cluster['id']}", "position": [cluster["id"], 1.0]}
EXAMPLES = [{"cluster": 1, "event_ids": ["a/b&c"], "baseline_event_ids": ["d"]}]
MISSING = [{"topic": "embeddings", "partition": 3}]
OTHER_BASELINE = {"baseline": "sha256:" + "1" * 64}
LINKS = {
    "example_url": "https://shop.example/events/{event_id}",
    "thumbnail_url": "https://pictures.example:8443/{stream}/{event_id}.png",
}
V1, V2 = Mark(time=MONDAY_MS, text="v1"), Mark(time="2025-11-03T03:48:00Z", text="v2")
V3 = Mark(time="2025-11-03T04:30:00Z", text="v3", stream="resnet18-fc1", link="https://ci.example/7")
SEVERITIES = (("a", "info"), ("b", "warning"), ("c", "critical"), ("d", "warning"))


def of_streams(**windows):
    """Windows of several streams, each a number, a verdict and other changes, after an hour that is well."""
    every = [("ok", {"stream": stream, "segments": [], "number": 0}) for stream in windows]
    return [
        *every,
        *(
            (verdict, {"stream": stream, "number": number, "segments": []} | changes)
            for stream, (number, verdict, changes) in windows.items()
        ),
    ]


@pytest.mark.parametrize(
    ("results", "path", "options"),
    [
        pytest.param(publish("ok", ("drift", NAMED)), f"/{STREAM}", {}, id="drift"),
        pytest.param(publish("ok", "ok", segments=[], kind=None), f"/{STREAM}", {}, id="ok"),
        pytest.param(publish("insufficient", "insufficient", count=7), f"/{STREAM}", {}, id="insufficient"),
        pytest.param(publish("ok", "incomplete", incomplete=MISSING), f"/{STREAM}", {}, id="incomplete"),
        pytest.param(
            publish("ok", segments=[]), f"/{STREAM}", {"now_ms": MONDAY_MS + 2 * DAY_MS}, id="silent"
        ),
        # Its links keep the comparison.
        pytest.param(
            publish("ok", "drift"),
            f"/{STREAM}&at=2025-11-03T01:00:00Z&compare=2025-11-03T00:00:00Z",
            {},
            id="compared",
        ),
        pytest.param(
            publish(*SIX, deleted=[1]),
            f"/{STREAM}&at=2025-11-03T01:00:00Z&compare=2025-11-03T05:00:00Z",
            {},
            id="deleted",
        ),
        # Three verdicts in three colours, each segment's and cluster's trend, and pictures of events.
        pytest.param(
            publish(("ok", {"segments": []}), "ok", ("drift", {"examples": EXAMPLES})),
            f"/{STREAM}",
            {"streams": every_stream(**LINKS)},
            id="segment before drift",
        ),
        pytest.param(
            publish(
                *["ok"] * 3, *[("ok", OTHER_BASELINE)] * 2, *[("drift", OTHER_BASELINE)] * 2, segments=[]
            ),
            f"/{STREAM}",
            {"marks": marks_of(V1, V2, V3, V3)},
            id="other baseline and marks",
        ),
        pytest.param(
            publish(*SIX, error="broker 1 does not answer; check it"), f"/{STREAM}", {}, id="broken"
        ),
        pytest.param(
            publish(*SIX, error="broker 1 does not answer; check it"), "/", {}, id="broken overview"
        ),
        pytest.param(
            publish(
                *SIX,
                ("ok", {"stream": "text", "number": 0}),
                ("warning", {"stream": "audio", "number": 0, "kind": None, "segments": []}),
            ),
            "/",
            {},
            id="overview",
        ),
        # By state, by severity, the newest first.
        pytest.param(
            publish(
                *of_streams(a=(2, "drift", {}), b=(1, "drift", {}), c=(2, "warning", {}), d=(2, "drift", {}))
            ),
            "/",
            {
                "now_ms": MONDAY_MS + 3 * HOUR_MS,
                "streams": [
                    {"name": name, "labels": {"severity": severity, "owner": f"{name}@example.com"}}
                    for name, severity in SEVERITIES
                ],
            },
            id="overview by urgency",
        ),
    ],
)
def test_page_in_each_situation(results, path, options, snapshot):
    with serving(results, runbooks_url="https://wiki.example", **options) as server:
        assert outline(get(server, path)[1]) == snapshot


TWO_SIZES = {"streams": [{"match": "*", "most": 9, "windows": ["1h", "1d"]}]}
HOURS_AND_DAY = publish(("ok", {}), ("ok", {"number": -1, "size_ms": DAY_MS}), segments=[])
ALARM_OF_DAY = publish("ok", "ok", "ok", ("drift", {"number": 0, "size_ms": DAY_MS}), segments=[])
# The longer windows see the alarm from the hour on in which the shorter ones warn first.
SEEN_BY_TWO = publish(
    *["ok", "ok", "warning", "ok", "warning"],
    *(
        (verdict, {"number": number, "size_ms": 2 * HOUR_MS})
        for number, verdict in enumerate(["ok", "drift"])
    ),
    segments=[],
)
HOURS_OF_TWO = {"streams": [{"name": "resnet18-fc1", "windows": ["1h", "2h"]}]}
OVERVIEW = publish(*SIX, ("ok", {"stream": "text", "number": 0}))


@pytest.mark.parametrize(
    ("results", "query", "options", "parts", "absent"),
    [
        (OVERVIEW, "?q=RESNET&utm=x", {}, ["?stream=resnet18-fc1"], ["?stream=text", "No stream matches"]),
        (OVERVIEW, "?verdict=segment", {}, ["?stream=text"], ["?stream=resnet18-fc1"]),
        (OVERVIEW, "?q=nothing", {}, ["No stream matches"], ["?stream="]),
        (HOURS_AND_DAY, "", TWO_SIZES | {"now_ms": MONDAY_MS + DAY_MS}, ["1 stream: 1 silent"], []),
        (
            HOURS_AND_DAY,
            "",
            TWO_SIZES | {"now_ms": MONDAY_MS + 4 * DAY_MS},
            ["1h: no new window since 3 Nov 2025, 01:00 UTC. 1d: no new window since 3 Nov 2025, 00:00"],
            [],
        ),
        (
            publish("ok"),
            "",
            {"now_ms": MONDAY_MS + 40 * DAY_MS},
            ["The topic driftgauge.windows holds no window result of the last 31d."],
            [],
        ),
        (publish(has_caught_up=False), "", {}, ["still reads the topic driftgauge.windows"], []),
        (
            publish(),
            "",
            {"streams": [{"name": "new", "windows": ["1h"]}]},
            ["Check that producers send events under this name"],
            [],
        ),
        *(
            (publish(*SIX, ("drift", {"baseline_created": created})), STREAM, {}, [age], [])
            for created, age in (
                ("2025-10-01T00:00:00Z", "33 days before this window."),
                ("2025-11-03T05:00:00Z", "60 min before this window."),
                # As where recorded events are read again.
                ("2026-01-01T00:00:00Z", "after the start of this window."),
            )
        ),
        (
            publish(*SIX),
            f"{STREAM}&window=1h&at=2025-11-03T01:00:00Z&compare=2025-11-03T01:00:00Z",
            {},
            ["A segment drifts", "go to the newest"],
            ["Compared with"],
        ),
        (publish(*SIX), f"{STREAM}&seen={MONDAY_MS}", {}, ["window of 1h from 3 Nov 2025, 00:00 UTC"], []),
        (
            publish(*SIX),
            f"{STREAM}&seen={MONDAY_MS + 1_999}",
            {},
            ["window of 1h from 3 Nov 2025, 01:00"],
            [],
        ),
        (
            publish(*SIX),
            f"{STREAM}&seen={MONDAY_MS + 2_000}",
            {},
            ["window of 1h from 3 Nov 2025, 02:00"],
            [],
        ),
        (
            publish(*SIX),
            f"{STREAM}&seen={MONDAY_MS + DAY_MS}",
            {},
            ["window of 1h from 3 Nov 2025, 05:00"],
            [],
        ),
        (
            publish(*SIX, deleted=[1]),
            f"{STREAM}&compare=2025-11-03T01:00:00Z",
            {},
            ["Compared with 3 Nov 2025, 01:00 UTC The topic driftgauge.windows no longer holds", "Over time"],
            [],
        ),
        (
            publish(*SIX, ("drift", OTHER_BASELINE)),
            f"{STREAM}&compare=2025-11-03T01:00:00Z",
            {},
            ["The two windows have different baselines."],
            ["Difference"],
        ),
        (
            publish(*SIX),
            f"{STREAM}&compare=2025-11-02T00:00:00Z&from=2025-11-01T00:00:00Z&until=2025-11-02T00:00:00Z",
            {},
            ["the range of the address has no window · the window to compare with is no longer kept"],
            [],
        ),
        (publish(*SIX), STREAM, {}, [], ["no longer kept"]),
        (ALARM_OF_DAY, STREAM, TWO_SIZES, ["The newest window of 1d"], []),
        (ALARM_OF_DAY, f"{STREAM}&window=1h", TWO_SIZES, ["The newest window of 1h"], []),
        # A window of an alarm is compared with one from before it.
        (
            SEEN_BY_TWO,
            f"{STREAM}&at=2025-11-03T04:00:00Z",
            HOURS_OF_TWO,
            ["&compare=2025-11-03T01"],
            ["&compare=2025-11-03T03"],
        ),
        (
            SEEN_BY_TWO,
            f"{STREAM}&at=2025-11-03T03:00:00Z",
            HOURS_OF_TWO,
            ["&compare=2025-11-03T01"],
            ["&compare=2025-11-03T02"],
        ),
        (SEEN_BY_TWO, f"{STREAM}&at=2025-11-03T01:00:00Z", HOURS_OF_TWO, ["&compare=2025-11-03T00"], []),
        # Of marks, the last before an alarm is named; drift begins with the window of 04:00.
        (
            publish(*SIX, segments=[]),
            STREAM,
            {"marks": marks_of(V1, V2)},
            ["Before it: v2, 3 Nov 2025, 03:48 UTC, 12 min before the first window.", " UTC: v2"],
            ["Before it: v1"],
        ),
        (
            publish(*SIX, segments=[]),
            STREAM,
            {"marks": marks_of(V1, V3)},
            ["3 Nov 2025, 04:30 UTC, within the first window.", "https://ci.example/7"],
            ["Before it: v1"],
        ),
        (
            publish(*SIX, segments=[]),
            STREAM,
            {"marks": marks_of(V1, Mark(time="2025-11-03T05:00:00Z", text="v2"))},
            ["Before it: v1", " UTC: v2"],
            [],
        ),
        (
            publish(*SIX, segments=[]),
            STREAM,
            {"marks": marks_of(V1, Mark(time="2025-11-03T03:48:00Z", text="v2", stream="texts"))},
            ["Before it: v1"],
            ["v2"],
        ),
        # Texts of events are shown behind a login only.
        (publish("drift", shows_snippets=True), STREAM, {}, ["a red truck"], []),
        (publish("drift"), STREAM, {}, [], ["a red truck"]),
        (
            publish("drift"),
            STREAM,
            {"runbooks_url": "https://wiki.example/books/"},
            ["https://wiki.example/books/DriftgaugeDrift.md"],
            [],
        ),
        (
            publish(*SIX),
            f"{STREAM}&from=2025-11-03T02:00:00Z",
            {"grafana_url": "https://grafana.example/"},
            [
                "https://grafana.example/d/driftgauge-drift?var-stream=resnet18-fc1&var-window=1h"
                f"&from={MONDAY_MS + 2 * HOUR_MS}&to={MONDAY_MS + 6 * HOUR_MS}"
            ],
            [],
        ),
    ],
)
def test_page_says_and_links(results, query, options, parts, absent):
    with serving(results, **options) as server:
        response, body = get(server, f"/{query}")
    assert response.status == 200
    shown = Elements(body)
    said = "\n".join([shown.text, *shown.every("a", "href")])
    assert [part for part in parts if part not in said] == [], said
    assert [part for part in absent if part in said] == []


@pytest.fixture
def results():
    return publish(*SIX)


@pytest.fixture
def page(results):
    with serving(results, now_ms=MONDAY_MS) as server:
        yield lambda path="/", **headers: get(server, path, **headers)


@pytest.mark.parametrize(
    ("verdicts", "query", "hours"),
    [
        (["ok"] * 30, "&from=2025-11-03T20:00:00Z", range(20, 30)),
        (["ok"] * 30, "&from=2025-11-03T20:30:00Z&at=2025-11-04T01:00:00Z", range(21, 30)),
        (["ok"] * 29 + ["drift"], "&until=2025-11-03T04:00:00Z", range(4)),
        # A neighbour of the range moves it.
        (
            ["ok"] * 30,
            "&from=2025-11-03T04:00:00Z&until=2025-11-03T06:00:00Z&at=2025-11-03T03:00:00Z",
            (3, 4),
        ),
        (
            ["ok"] * 30,
            "&from=2025-11-03T04:00:00Z&until=2025-11-03T06:00:00Z&at=2025-11-03T06:00:00Z",
            (5, 6),
        ),
        (["ok"] * 1_100, "&from=2025-11-03T01:00:00Z", range(100, 1_100)),
        # An opened window is among the most that are shown.
        (["ok"] * 1_100, "&from=2025-11-03T01:00:00Z&at=2025-11-05T03:00:00Z", range(51, 1_051)),
        # A range whose windows have expired, as in a link that was kept.
        (["ok"] * 250, "&from=2025-10-01T00:00:00Z&until=2025-10-02T00:00:00Z", range(50, 250)),
        (["ok"] * 250, "&from=2026-10-01T00:00:00Z", range(50, 250)),
        # Two lengths of the alarm before it.
        (["ok"] * 250 + ["drift"] * 50, "", range(150, 300)),
        (["ok"] * 250 + ["drift"], "", range(227, 251)),
        (["ok"] * 250 + ["drift"] * 9 + ["insufficient"], "", range(230, 260)),
        (["ok"] * 250, "", range(50, 250)),
    ],
)
def test_charts_show_the_last_windows_the_chosen_one_and_the_start_of_its_run(verdicts, query, hours):
    with serving(publish(*verdicts, segments=[])) as server:
        shown = Elements(get(server, f"/{STREAM}{query}")[1])
    starts = {
        (parse_timestamp(each) - MONDAY_MS) // HOUR_MS for each in shown.every("option", "value") if each
    }
    # All but the chosen one may be compared with it.
    assert starts <= set(hours)
    assert len(starts) >= len(hours) - 1


@pytest.mark.parametrize(
    ("number", "query"),
    [
        (60, "from=2025-11-04T06:00:00Z"),
        (60, "from=2025-11-03T15:00:00Z&until=2025-11-04T21:00:00Z"),
        (60, "from=2025-11-03T22:00:00Z&until=2025-11-04T14:00:00Z"),
        (60, "from=2025-11-04T06:00:00Z&until=2025-11-04T08:00:00Z"),
        # A range that leaves the opened window out does not open it.
        (300, "at=2025-11-03T14:00:00Z&from=2025-11-03T06:00:00Z&until=2025-11-03T22:00:00Z"),
    ],
)
def test_links_move_the_range_of_the_charts(number, query, snapshot):
    with serving(publish(*["ok"] * number, segments=[])) as server:
        body = get(server, f"/{STREAM}&{query}")[1]
    (tools,) = re.findall(r'<p class="tools"><b>.*?</p>', body)
    assert {
        name: unescape(link) for link, name in re.findall(r'href="(.*?)".*?>(.*?)</a>', tools)
    } == snapshot


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("?stream=none", 404, "There is no window of a stream none yet."),
        (f"{STREAM}&window=5m", 404, "There is no window of 5m of a stream resnet18-fc1 yet."),
        (f"{STREAM}&at=2025-11-02T00:00:00Z", 404, "no window of 1h that starts then or before."),
        (f"{STREAM}&seen={MONDAY_MS - 1}", 404, "Seen: no window of resnet18-fc1 was published by then."),
        (f"{STREAM}&window=x", 400, "Window: "),
        (f"{STREAM}&at=yesterday", 400, "At: "),
        (f"{STREAM}&compare=x", 400, "Compare: "),
        (f"{STREAM}&until=x", 400, "Until: "),
        ("?stream=", 400, "Stream: name a stream."),
    ],
)
def test_wrong_address_is_answered_in_words(page, query, status, text):
    response, body = page(f"/{query}")
    shown = Elements(body)
    assert (response.status, text in shown.text) == (status, True)
    assert "?" in shown.every("a", "href")


def test_hostile_names_are_text(page, results):
    results.publish(7, **named_record(HOSTILE))
    results.made.error = HOSTILE
    for path in ("/", f"/?q={quote(HOSTILE)}", f"/?stream={quote(HOSTILE)}", f"/?stream=no{quote(HOSTILE)}"):
        response, body = page(path)
        assert response.status in (200, 404)
        shown = Elements(body)
        assert HOSTILE.split("{{", maxsplit=1)[0] in shown.text
        assert not {tag for tag, _ in shown.tags} & {"style", "iframe", "object", "base"}
        assert "alert(1)" not in " ".join(attributes.get("src", "") for _, attributes in shown.tags)
        assert not [name for _, attributes in shown.tags for name in attributes if name.startswith("on")]
        assert [urlsplit(file).path for file in shown.every("script", "src")] == ["static/page.js"]
        assert all(urlsplit(link).scheme in ("", "https") for link in shown.every("a", "href"))
        assert "{{ 7*7 }}" in body
        assert "\u202e" not in body
    results.made.error = None
    whole = Elements(page(f"/?stream={quote(HOSTILE)}")[1])
    assert sum(as_shown(HOSTILE) in text for text in whole.texts) > 5


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ({"time": "2999-11-03T00:00:00Z", "text": "v2"}, "more than a day after"),
        ({"time": MONDAY_MS, "text": "secret" * 100}, "^not a mark: text: [^\n]{1,80}$"),
        ({"time": MONDAY_MS, "text": "v2", "link": "javascript:secret"}, "^not a mark: link: [^\n]{1,80}$"),
    ],
)
def test_mark_of_future_or_of_wrong_form_is_refused_without_its_text(mark, message):
    newest = []
    marks = Marks(lambda *each: newest.append(each))
    with pytest.raises(ValueError, match=message) as refused:
        marks.receive(StoredRecord(json.dumps(mark).encode(), stored_ms=MONDAY_MS))
    assert "secret" not in str(refused.value)
    assert newest == []


def test_newest_mark_of_each_stream_is_named_once_with_the_one_before():
    named = []
    marks = Marks(lambda *each: named.append(each))
    first, of_a, later = (
        Mark(time=MONDAY_MS + at, text=f"v{at}", stream=stream)
        for at, stream in ((1, None), (2, "a"), (3, None))
    )
    for mark in (first, of_a, first, later, Mark(time=MONDAY_MS, text="old"), later):
        marks.receive(StoredRecord(mark.model_dump_json().encode(), stored_ms=MONDAY_MS))
    assert named == [(first, None), (of_a, None), (later, first)]
    for number in range(6_000):
        mark = Mark(time=MONDAY_MS, text="v", stream=f"s{number}")
        marks.receive(StoredRecord(mark.model_dump_json().encode(), stored_ms=MONDAY_MS))
    assert len({mark.stream for mark, _ in named}) == 5_000, "whatever names somebody writes"


@pytest.mark.parametrize("path", ["/", f"/{STREAM}"])
def test_page_needs_nothing_from_elsewhere_and_no_inline_script(page, path):
    response, body = page(path)
    assert response.headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    shown = Elements(body)
    files = shown.every("script", "src") + shown.every("link", "href") + shown.every("img", "src")
    assert files
    for file in (*files, "api/v1/streams"):
        loaded = page(f"/{file}")[0]
        assert loaded.status == 200
        assert loaded.headers["X-Content-Type-Options"] == "nosniff"
        assert loaded.headers["Cache-Control"] == "no-cache"
    assert shown.every("div", "style") == []
    assert ("style", {}) not in shown.tags
    for missing in ("/static/site.py", "/static/..%2Fsite.py"):
        assert page(missing)[0].status == 404


def test_every_link_of_a_stream_with_slashes_in_its_name_is_answered():
    name = "sentence-transformers/all-MiniLM-L6-v2:latest@prod"
    with serving(publish("ok", "drift", stream=name)) as server:
        (link,) = {each for each in Elements(get(server, "/")[1]).every("a", "href") if "stream=" in each}
        shown = Elements(get(server, f"/{link}")[1])
        links = [each for each in shown.every("a", "href") if "stream=" in each]
        assert {get(server, f"/{each}")[0].status for each in links} == {200}
    assert name in shown.text


def test_answer_is_compressed_and_not_sent_again_until_it_changes(results):
    with serving(results) as server:
        compressed, body = get(server, f"/{STREAM}", Accept_Encoding="gzip")
        assert (compressed.headers["Content-Encoding"], "resnet18-fc1" in body) == ("gzip", True)
        response, _ = get(server, f"/{STREAM}", Accept_Encoding="br")
        assert response.headers["Content-Encoding"] is None
        assert response.headers["Vary"] == "Accept-Encoding"
        tag = response.headers["ETag"]
        assert get(server, f"/{STREAM}", If_None_Match=tag)[0].status == 304
        results.publish(6)
        assert get(server, f"/{STREAM}", If_None_Match=tag)[0].status == 200


def test_answers_are_kept_for_five_seconds(results):
    now_ms = MONDAY_MS
    site = Site(results, build_settings(), lambda: now_ms, Marks(), ServiceWatch())
    bodies = []
    with serve_routes(site.routes()) as server:
        for number in range(6, 9):
            bodies.append(get(server, f"/{STREAM}")[1])
            results.publish(number)
            now_ms += 2_500
    assert bodies[0] == bodies[1] != bodies[2]


def test_page_stands_below_prefix_as_well(results):
    with serving(results, path_prefix="/tools/drift") as server:
        response, _ = get(server, "/tools/drift?stream=a")
        assert (response.status, response.headers["Location"]) == (307, "drift/?stream=a")
        for path in ("/", "/tools/drift/"):
            response, body = get(server, path)
            assert response.status == 200
            for link in Elements(body).every("link", "href"):
                assert not link.startswith("/")
                assert get(server, path + link)[0].status == 200
        assert get(server, "/tools/drift/api/v1/streams")[0].status == 200


def test_page_is_ready_once_topic_was_read_and_alive_while_its_reader_is(caplog):
    reader = SimpleNamespace(is_alive=True, has_caught_up=False)
    with serve_routes(page_health_routes(reader)) as server:

        def answer(path):
            response, body = get(server, path)
            return response.status, json.loads(body)

        assert answer("/livez") == (200, {"alive": True})
        assert answer("/readyz") == (503, {"ready": False, "missing": ["results_read"]})
        reader.has_caught_up, reader.is_alive = True, False
        assert answer("/readyz") == (200, {"ready": True, "missing": []})
        assert answer("/livez") == (503, {"alive": False})
    (logged,) = caplog.records
    assert "must be restarted" in logged.getMessage()
