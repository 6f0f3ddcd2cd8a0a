"""The page over HTTP: what it shows in each state, its links, and how it answers."""

import gzip
import json
import re
from html import unescape
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

import pytest

from driftgauge.events.records import StoredRecord
from driftgauge.events.timestamps import parse_timestamp
from driftgauge.page.marks import Marks
from driftgauge.page.probes import page_health_routes
from driftgauge.page.service_watch import ServiceWatch
from driftgauge.page.site import Site
from driftgauge.records.mark import Mark
from driftgauge.web.server import HttpServer
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.html import HOSTILE, Elements, as_shown, main_text
from tests.builders.page import MadeResults, build_settings, every_stream, get, record_tree, serving

STREAM = "?stream=resnet18-fc1"


@pytest.fixture
def results():
    results = MadeResults()
    for number in range(6):
        results.publish(number, "ok" if number < 4 else "drift")
    return results


@pytest.fixture
def page(results):
    with serving(results, now_ms=MONDAY_MS) as server:
        yield lambda path="/", **headers: get(server, path, **headers)


def read(page, path="/", status=200):
    response, body = page(path)
    assert response.status == status, body
    return Elements(body)


def publish_named():
    """An hour that is well, one with drift whose clusters have names, positions and events."""
    results = MadeResults()
    results.publish(0, "ok")
    tree = record_tree(1)
    for cluster in tree["clusters"]:
        cluster |= {"name": f"name {cluster['id']}", "position": [cluster["id"], 1.0]}
    results.publish(**{"number": 1, **tree})
    return results


def publish_all(*verdicts, **changes):
    results = MadeResults()
    for number, verdict in enumerate(verdicts):
        results.publish(number, verdict, **changes)
    return results


@pytest.mark.parametrize(
    ("results", "path", "late_ms", "parts"),
    [
        pytest.param(
            publish_named(),
            f"/{STREAM}",
            0,
            ["Drift", "Began before", "name 1", "went from", "Segments", "Divergence", "Mean shift"],
            id="drift",
        ),
        pytest.param(
            publish_all("ok", "ok", segments=[], kind=None),
            f"/{STREAM}",
            0,
            ["No drift was found in the last 2 windows of 1h."],
            id="ok",
        ),
        pytest.param(
            publish_all("insufficient", "insufficient", count=7),
            f"/{STREAM}",
            0,
            ["Too few events", "The window has 7 events", "None of these windows has enough events"],
            id="insufficient",
        ),
        pytest.param(
            publish_all("ok", "incomplete", incomplete=[{"topic": "embeddings", "partition": 3}]),
            f"/{STREAM}",
            0,
            ["embeddings[3] is not read to the end.", "Nothing is concluded"],
            id="incomplete",
        ),
        pytest.param(
            publish_all("ok", segments=[]),
            f"/{STREAM}",
            2 * DAY_MS,
            [
                "Silent",
                "Before No drift found up to 3 Nov 2025, 01:00 UTC, by windows of 1h.",
                "1h: no new window since 3 Nov 2025, 01:00 UTC",
            ],
            id="silent",
        ),
        pytest.param(
            publish_all("ok", "drift"),
            f"/{STREAM}&at=2025-11-03T01:00:00Z&compare=2025-11-03T00:00:00Z",
            0,
            ["Window of", "Compared with", "Difference"],
            id="compared",
        ),
    ],
)
def test_stream_page_in_each_state(results, path, late_ms, parts, snapshot):
    with serving(results, MONDAY_MS + late_ms) as server:
        text = main_text(get(server, path)[1])
    for part in parts:
        assert part in text.replace("\n", " ")
    assert text == snapshot


def test_overview_sums_up_filters_and_links_to_each_stream(page, results, snapshot):
    results.publish(0, "ok", stream="text")
    results.publish(0, "warning", stream="audio", kind=None, segments=[])
    shown = read(page)
    assert "3 streams: 1 with drift, 1 with drift of a segment, 1 with possible drift" in shown.text
    assert "Shift: inputs moved together" in shown.text
    links = [link for link in shown.every("a", "href") if "stream=" in link]
    assert list(dict.fromkeys(links)) == [
        f"?stream={name}&window=1h" for name in ("resnet18-fc1", "text", "audio")
    ]
    assert main_text(page("/")[1]) == snapshot
    for query, found in (("q=RESNET", 0), ("verdict=segment", 1), ("q=nothing", None)):
        shown = read(page, f"/?{query}&utm=x")
        found_links = {link for link in shown.every("a", "href") if "stream=" in link}
        assert found_links == (set() if found is None else {list(dict.fromkeys(links))[found]})
        assert ("No stream matches" in shown.text) is (found is None)


def test_overview_says_what_is_silent_expired_or_still_read():
    results = MadeResults()
    results.publish(0, "ok", segments=[])
    results.publish(-1, "ok", segments=[], size_ms=DAY_MS)
    for late_ms, part in (
        (DAY_MS, "1 stream: 1 silent"),
        # Windows of a day are silent too.
        (
            4 * DAY_MS,
            "1h: no new window since 3 Nov 2025, 01:00 UTC. 1d: no new window since 3 Nov 2025, 00:00",
        ),
        (40 * DAY_MS, "The topic driftgauge.windows holds no window result of the last 31d."),
    ):
        with serving(
            results, MONDAY_MS + late_ms, [{"match": "*", "most": 9, "windows": ["1h", "1d"]}]
        ) as server:
            assert part in Elements(get(server, "/")[1]).text
    results.made.has_caught_up = False
    with serving(results, MONDAY_MS + 40 * DAY_MS) as server:
        assert "still reads the topic driftgauge.windows" in Elements(get(server, "/")[1]).text
    with serving(results, streams=[{"name": "new", "windows": ["1h"]}]) as server:
        assert "Check that producers send events under this name" in Elements(get(server, "/")[1]).text


@pytest.mark.parametrize(
    ("created", "age"),
    [
        ("2025-10-01T00:00:00Z", "33 days before this window."),
        ("2025-11-03T05:00:00Z", "60 min before this window."),
        # As where recorded events are read again.
        ("2026-01-01T00:00:00Z", "after the start of this window."),
    ],
)
def test_baseline_has_an_age(page, results, created, age):
    results.publish(6, baseline_created=created)
    assert age in read(page, f"/{STREAM}").text


def test_stream_with_slashes_in_its_name_is_linked_and_shown():
    name = "sentence-transformers/all-MiniLM-L6-v2:latest@prod"
    with serving(publish_all("ok", "drift", stream=name), now_ms=MONDAY_MS) as server:
        overview = Elements(get(server, "/")[1]).every("a", "href")
        shown = Elements(get(server, f"/{next(link for link in overview if 'stream=' in link)}")[1])
        links = [link for link in shown.every("a", "href") if "stream=" in link]
        assert name in shown.text
        assert {get(server, f"/{each}")[0].status for each in links} == {200}


def test_links_choose_each_shown_window_and_keep_the_comparison(page):
    compared = "compare=2025-11-03T01:00:00Z"
    for own in ("", f"&{compared}"):
        links = read(page, f"/{STREAM}&window=1h{own}").every("a", "href")
        start = f"?stream=resnet18-fc1&window=1h&from=2025-11-03T00:00:00Z{own}"
        assert {f"{start}&at=2025-11-03T0{hour}:00:00Z#over-time" for hour in range(6)} <= set(links)
        assert f"{start}#over-time" not in links, "all are shown"
        others = [link for link in links if link.startswith("?") and "from=" in link and own not in link]
        # The last window that is ok may be compared instead.
        assert [link for link in others if "compare=2025-11-03T03" not in link] == []
    older = read(page, f"/{STREAM}&window=1h&at=2025-11-03T01:00:00Z")
    assert "A segment drifts" in older.text
    assert "go to the newest" in older.text
    own = "2025-11-03T01:00:00Z"
    assert "Compared with" not in read(page, f"/{STREAM}&at={own}&compare={own}").text


@pytest.mark.parametrize(("seen_ms", "hour"), [(0, 0), (1_999, 1), (2_000, 2), (DAY_MS, 5)])
def test_newest_window_published_by_then_is_shown(page, seen_ms, hour):
    shown = read(page, f"/{STREAM}&seen={MONDAY_MS + seen_ms}").text
    assert f"window of 1h from 3 Nov 2025, 0{hour}:00 UTC" in shown


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
    with serving(publish_all(*verdicts, segments=[])) as server:
        shown = Elements(get(server, f"/{STREAM}{query}")[1])
    starts = {
        (parse_timestamp(each) - MONDAY_MS) // HOUR_MS for each in shown.every("option", "value") if each
    }
    # All but the chosen one may be compared with it.
    assert starts <= set(hours)
    assert len(starts) >= len(hours) - 1


def test_range_of_the_charts_moves_by_links_and_stays_on_the_way():
    with serving(publish_all(*["ok"] * 60, segments=[])) as server:

        def follow(path, name):
            (link,) = re.findall(rf'<a href="([^"]*)">{name}</a>', get(server, path)[1])
            return f"/{unescape(link)}"

        path = f"/{STREAM}&from=2025-11-04T06:00:00Z"
        (download,) = re.findall(
            r'href="([^"]*)" download', get(server, f"{path}&until=2025-11-04T08:00:00Z")[1]
        )
        assert len(get(server, f"/{unescape(download)}")[1].splitlines()) == 1 + 2
        for name, shown in (
            ("← earlier", "from=2025-11-03T15:00:00Z&until=2025-11-04T21:00:00Z"),
            ("closer", "from=2025-11-03T22:00:00Z&until=2025-11-04T14:00:00Z"),
            ("later →", "from=2025-11-04T06:00:00Z&until=2025-11-04T22:00:00Z"),
            ("wider", "from=2025-11-03T22:00:00Z&until=2025-11-05T06:00:00Z"),
            ("the last 50", "from=2025-11-03T10:00:00Z"),
            ("all 60", "from=2025-11-03T00:00:00Z"),
        ):
            path = follow(path, name)
            assert path == f"/{STREAM}&window=1h&{shown}#over-time"
            path = path.removesuffix("#over-time")


def test_links_of_ranges_lead_to_them_from_an_opened_window():
    with serving(publish_all(*["ok"] * 300, segments=[])) as server:
        opened = f"/{STREAM}&at=2025-11-03T14:00:00Z&from=2025-11-03T06:00:00Z&until=2025-11-03T22:00:00Z"
        spans = "← earlier|later →|closer|wider|the last 50|the last 200|all 300"
        links = re.findall(rf'<a href="([^"]*)">({spans})</a>', get(server, opened)[1])
        assert [name for _, name in links] == spans.split("|")
        for link, name in links:
            shown = Elements(get(server, f"/{unescape(link)}")[1])
            # All but the opened one may be compared with it.
            starts = sorted(parse_timestamp(each) for each in shown.every("option", "value") if each)
            (begin,) = re.findall("from=([^&#]*)", link)
            end = [parse_timestamp(each) for each in re.findall("until=([^&#]*)", link)]
            assert parse_timestamp(begin) <= starts[0], name
            assert starts[-1] < min([*end, MONDAY_MS + 300 * HOUR_MS]), name
            assert ("at=2025-11-03T14" in link) == (not name.startswith("the last")), name


@pytest.mark.parametrize(("at", "compare"), [("05", "01"), ("01", "05")])
def test_comparison_with_a_deleted_result_says_why_it_is_empty(page, results, at, compare):
    results.made.values[1] = None
    shown = read(page, f"/{STREAM}&at=2025-11-03T{at}:00:00Z&compare=2025-11-03T{compare}:00:00Z")
    titles = {at: f"Window of 3 Nov 2025, {at}", compare: f"Compared with 3 Nov 2025, {compare}"}
    assert f"{titles['01']}:00 UTC The topic driftgauge.windows no longer holds" in shown.text
    assert f"{titles['05']}:00 UTC" in shown.text
    assert "Over time" in shown.text
    (chosen,) = [each for tag, each in shown.tags if tag == "option" and "selected" in each]
    assert chosen["value"] == f"2025-11-03T{compare}:00:00Z"


def test_windows_of_different_baselines_are_not_compared(page, results):
    results.publish(6, baseline="sha256:00")
    shown = read(page, f"/{STREAM}&compare=2025-11-03T01:00:00Z")
    assert "The two windows have different baselines." in shown.text
    assert "Difference" not in shown.text


def test_broken_topic_is_told_beside_what_was_read(page, results):
    results.made.error = "broker 1 does not answer; check it"
    for path in ("/", f"/{STREAM}"):
        shown = read(page, path)
        assert f"cannot be read at the moment. {results.made.error}" in shown.text
        assert "read until 3 Nov 2025, 00:00:05 UTC" in shown.text
        assert "badge v-drift" not in page(path)[1].split('aria-labelledby="over-time"')[0]
    assert "Over time" in shown.text
    assert "Broker 1 does not answer; check it." in shown.text


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
    shown = read(page, f"/{query}", status)
    assert text in shown.text
    assert "?" in shown.every("a", "href")


def test_saved_address_whose_windows_have_expired_shows_what_is_there(page):
    gone = f"{STREAM}&compare=2025-11-02T00:00:00Z&from=2025-11-01T00:00:00Z&until=2025-11-02T00:00:00Z"
    shown = read(page, f"/{gone}")
    gone = "the range of the address has no window · the window to compare with is no longer kept"
    assert gone in shown.text
    assert "no longer kept" not in read(page, f"/{STREAM}").text


def test_address_without_a_window_size_opens_that_of_the_alarm():
    results = MadeResults()
    for number in range(3):
        results.publish(number, "ok", segments=[])
    results.publish(0, "drift", segments=[], size_ms=DAY_MS)
    with serving(results, streams=[{"name": "resnet18-fc1", "windows": ["1h", "1d"]}]) as server:
        assert 'aria-current="page">1d' in get(server, f"/{STREAM}")[1]
        assert 'aria-current="page">1h' in get(server, f"/{STREAM}&window=1h")[1]


def test_hostile_names_are_text(page, results):
    tree = record_tree(7)
    tree["clusters"][1]["name"] = HOSTILE
    tree["examples"][0]["event_ids"] = [HOSTILE]
    tree["examples"][0]["baseline_event_ids"] = [HOSTILE]
    tree["segments"][0] |= {"key": HOSTILE, "value": HOSTILE}
    tree["incomplete"] = [{"topic": HOSTILE, "partition": 0}]
    results.publish(7, **{**tree, "stream": HOSTILE})
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
    whole = read(page, f"/?stream={quote(HOSTILE)}")
    assert sum(as_shown(HOSTILE) in text for text in whole.texts) > 5


def test_examples_are_links_where_configured(results):
    settings = {
        "example_url": "https://shop.example/events/{event_id}",
        "thumbnail_url": "https://pictures.example:8443/{stream}/{event_id}.png",
    }
    results.publish(7, examples=[{"cluster": 1, "event_ids": ["a/b&c"], "baseline_event_ids": ["d"]}])
    with serving(results, streams=every_stream(**settings)) as server:
        response, body = get(server, f"/{STREAM}")
    shown = Elements(body)
    links = ["https://shop.example/events/d", "https://shop.example/events/a%2Fb%26c"]
    assert [link for link in shown.every("a", "href") if link.startswith("https://shop.")] == 2 * links
    pictures = [f"https://pictures.example:8443/resnet18-fc1/{name}.png" for name in ("d", "a%2Fb%26c")]
    # Then and now beside the alarm, and in the table of clusters.
    assert shown.every("img", "src") == 2 * pictures
    assert "img-src 'self' https://pictures.example:8443;" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("marked", "stream", "link", "parts"),
    [
        # Drift begins with the window of 04:00.
        ("03:48", None, None, ["Before it: v2, 3 Nov 2025, 03:48 UTC, 12 min before the first window."]),
        (
            "04:30",
            "resnet18-fc1",
            "https://ci.example/7",
            ["3 Nov 2025, 04:30 UTC, within the first window."],
        ),
        ("05:00", None, None, []),
        ("03:48", "texts", None, None),
    ],
)
def test_mark_is_drawn_and_the_last_before_an_alarm_is_named(results, marked, stream, link, parts):
    marks = Marks()
    mark = Mark(time=f"2025-11-03T{marked}:00Z", text="v2", stream=stream, link=link)
    for value in (Mark(time=MONDAY_MS, text="v1"), mark, mark):
        marks.receive(StoredRecord(value.model_dump_json().encode(), stored_ms=MONDAY_MS))
    for number in range(6):
        results.publish(number, "ok" if number < 4 else "drift", segments=[])
    with serving(results, marks=marks) as server:
        body = get(server, f"/{STREAM}")[1]
    shown = Elements(body)
    # On the chart of the evidence, and on those of the measures.
    assert body.count(" UTC: v2</title>") == (0 if parts is None else 1 + shown.text.count("Dotted"))
    assert [part for part in parts or () if part not in shown.text] == []
    assert ("Before it: v1" in shown.text) is (not parts)
    assert shown.every("a", "href").count("https://ci.example/7") == (2 if link else 0)


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


def test_clusters_and_segments_have_trends(page, results):
    assert page(f"/{STREAM}")[1].count('class="trend"') == 3 + 2
    # Windows of another baseline are not comparable.
    results.publish(6, "ok", baseline="sha256:" + "0" * 64)
    assert page(f"/{STREAM}")[1].count('class="trend"') == 0


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


def test_window_where_a_segment_drifts_is_neither_ok_nor_drift():
    results = MadeResults()
    results.publish(0, "ok", segments=[])
    results.publish(1, "ok")
    results.publish(2, "drift")
    with serving(results) as server:
        body = get(server, f"/{STREAM}")[1]
    (link,) = (each for each in Elements(body).every("a", "href") if "compare=" in each)
    assert "compare=2025-11-03T00" in link
    # Its bands in the charts, and its row in the table, have the colour of neither verdict.
    bands = re.findall(r'class="band v-(\w+)"', body.split("<figure")[1])
    assert bands[:3] == ["ok", "segment", "drift"]
    assert re.findall(r'<td><span class="badge v-(\w+)"', body)[:3] == ["drift", "segment", "ok"]


def test_window_of_an_alarm_is_compared_with_one_from_before_it():
    results = MadeResults()
    for number, verdict in enumerate(["ok", "ok", "warning", "ok", "warning"]):
        results.publish(number, verdict, segments=[])
    # The longer windows see the alarm from the hour on in which the shorter ones warn first.
    for number, verdict in enumerate(["ok", "drift"]):
        results.publish(number, verdict, segments=[], size_ms=2 * HOUR_MS)
    streams = [{"name": "resnet18-fc1", "windows": ["1h", "2h"]}]
    for at, hour in (("04", "01"), ("03", "01"), ("01", "00")):
        with serving(results, streams=streams) as server:
            links = Elements(get(server, f"/{STREAM}&at=2025-11-03T{at}:00:00Z")[1]).every("a", "href")
        (link,) = (each for each in links if "compare=" in each)
        assert f"compare=2025-11-03T{hour}" in link


@pytest.mark.parametrize("has_login", [True, False])
def test_texts_of_events_are_shown_behind_a_login_only(has_login):
    results = MadeResults(shows_snippets=has_login)
    results.publish(0)
    with serving(results) as server:
        for path in (f"/{STREAM}", f"/api/v1/window{STREAM}&window=1h&at=2025-11-03T00:00:00Z"):
            body = get(server, path)[1]
            assert ("a red truck" in body) is has_login
            assert "<b>zwei" not in body or path.startswith("/api")


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


def test_answer_is_compressed_and_not_sent_again_until_it_changes(results):
    with serving(results) as server:
        response, _ = get(server, f"/{STREAM}", Accept_Encoding="br")
        assert response.headers["Content-Encoding"] is None
        connection = HTTPConnection("127.0.0.1", server.port, timeout=300)
        connection.request("GET", f"/{STREAM}", headers={"Accept-Encoding": "gzip"})
        assert b"resnet18-fc1" in gzip.decompress(connection.getresponse().read())
        connection.close()
        assert response.headers["Vary"] == "Accept-Encoding"
        tag = response.headers["ETag"]
        assert get(server, f"/{STREAM}", If_None_Match=tag)[0].status == 304
        results.publish(6)
        assert get(server, f"/{STREAM}", If_None_Match=tag)[0].status == 200


def test_answers_are_kept_for_five_seconds(results):
    now_ms = MONDAY_MS
    site = Site(results, build_settings(), lambda: now_ms, Marks(), ServiceWatch())
    server = HttpServer("127.0.0.1", 0, site.routes())
    server.start()
    bodies = []
    try:
        for number in range(6, 9):
            bodies.append(get(server, f"/{STREAM}")[1])
            results.publish(number)
            now_ms += 2_500
    finally:
        server.stop()
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


class MadeReader:
    """A reader in the middle of its work."""

    is_alive = True
    has_caught_up = False


def test_page_is_ready_once_topic_was_read_and_alive_while_its_reader_is(caplog):
    reader = MadeReader()
    server = HttpServer("127.0.0.1", 0, page_health_routes(reader))
    server.start()

    def answer(path):
        response, body = get(server, path)
        return response.status, json.loads(body)

    try:
        assert answer("/livez") == (200, {"alive": True})
        assert answer("/readyz") == (503, {"ready": False, "missing": ["results_read"]})
        reader.has_caught_up, reader.is_alive = True, False
        assert answer("/readyz") == (200, {"ready": True, "missing": []})
        assert answer("/livez") == (503, {"alive": False})
    finally:
        server.stop()
    (logged,) = caplog.records
    assert "must be restarted" in logged.getMessage()


def test_alarms_are_listed_by_state_and_severity_with_their_owner():
    results = MadeResults()
    streams = [
        {"name": name, "labels": {"severity": severity, "owner": f"{name}@example.com"}}
        for name, severity in (("a", "info"), ("b", "warning"), ("c", "critical"), ("d", "warning"))
    ]
    for name, verdict in (("a", "drift"), ("b", "drift"), ("c", "warning"), ("d", "drift")):
        results.publish(0, "ok", stream=name, segments=[])
        results.publish(1 if name == "b" else 2, verdict, stream=name, segments=[])
    with serving(results, MONDAY_MS + 3 * HOUR_MS, streams) as server:
        text = Elements(get(server, "/")[1]).text
    order = ("d", "warning"), ("b", "warning"), ("a", "info"), ("c", "critical")
    rows = [f"{name} severity {severity} {name}@example.com" for name, severity in order]
    places = [text.find(row) for row in rows]
    assert -1 not in places
    assert places == sorted(places), "the newest first where state and severity are the same"
    assert "before 3 Nov 2025, 03:00 UTC (1h) 60 min ago" in text


def test_chart_marks_start_and_other_baseline_and_names_verdicts_and_kinds():
    results = MadeResults()
    for number in range(12):
        changes = {} if number < 5 else {"baseline": "sha256:" + "1" * 64}
        results.publish(number, "drift" if number > 8 else "ok", segments=[], **changes)
    with serving(results) as server:
        body = get(server, f"/{STREAM}")[1]
    chart = body.split("<figure")[1].split("</figure>")[0]
    assert re.findall(r"<g class=\"mark\"><title>(.*?)</title>", chart) == [
        "3 Nov 2025, 05:00 UTC: another baseline",
        "3 Nov 2025, 09:00 UTC: first seen",
    ]
    assert re.findall(r'class="sign v-(\w+)"', chart) == ["ok", "drift"]
    # Also a window that is ok may differ, and by what.
    assert re.findall(r'class="kind"><title>(\w+)', chart) == ["shift"]
    assert re.findall(r'class="tick y"[^>]*>([^<]*)<', chart)[:2] == ["drift from here", "10 times the limit"]


def test_runbooks_are_those_of_the_configured_base(results):
    with serving(results, runbooks_url="https://wiki.example/books/") as server:
        links = Elements(get(server, f"/{STREAM}")[1]).every("a", "href")
        status = json.loads(get(server, "/api/v1/streams")[1])["streams"][0]
    assert status["runbook"] == "https://wiki.example/books/DriftgaugeDrift.md"
    assert status["runbook"] in links


def test_grafana_opens_at_the_time_of_the_chart(results):
    with serving(results, grafana_url="https://grafana.example/") as server:
        links = Elements(get(server, f"/{STREAM}&from=2025-11-03T02:00:00Z")[1]).every("a", "href")
    (link,) = (each for each in links if each.startswith("https://grafana.example/d/driftgauge-drift?"))
    assert link.endswith(f"&from={MONDAY_MS + 2 * HOUR_MS}&to={MONDAY_MS + 6 * HOUR_MS}")
