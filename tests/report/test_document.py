"""A report: which window it shows, that its parts are those of the page, and that its file loads nothing."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest

from driftgauge.errors import InputError
from driftgauge.events.timestamps import parse_timestamp
from driftgauge.page.queries import MissingWindowError
from driftgauge.report.document import render_report, report_record
from driftgauge.report.pictures import MOST_BYTES, MOST_PICTURES, picture_loader
from driftgauge.report.reading import read_results
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.html import HOSTILE, Elements, as_shown
from tests.builders.page import (
    EVERY_STREAM,
    MadeResults,
    build_record,
    build_settings,
    every_stream,
    get,
    record_tree,
    serving,
)
from tests.builders.reports import STREAM, report_of, report_on, results_of, write_results

# What loads something, runs something or sends something.
ACTIVE = {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "video", "button"}
URLS = {"src", "srcset", "action", "data", "poster", "background", "formaction", "xlink:href"}


def assert_inert(html):
    shown = Elements(html)
    assert not {tag for tag, _ in shown.tags} & ACTIVE
    for tag, attributes in shown.tags:
        assert not URLS & set(attributes)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        if "href" in attributes:
            assert tag == "a"
    links = shown.every("a", "href")
    assert all(link == "#main" or urlsplit(link).scheme in ("https", "mailto") for link in links)
    (policy,) = [
        attributes["content"]
        for _, attributes in shown.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert html.index("Content-Security-Policy") < html.index("<style>")
    assert not re.search(r"url\(|@import", style)


def hour_of(report):
    return (parse_timestamp(report_record(report).window.start) - MONDAY_MS) // HOUR_MS


@pytest.mark.parametrize(
    ("verdicts", "asked", "hour"),
    [
        (["ok", "warning", "drift", "drift"], {}, 3),
        (["drift", "ok", "warning", "drift", "ok", "ok"], {}, 3),
        (["ok", "drift", "incomplete", "drift", "insufficient"], {}, 3),
        (["ok", "ok", "incomplete"], {}, 2),
        (["ok", "drift", "ok", "ok"], {"at_ms": MONDAY_MS + HOUR_MS - 1}, 0),
        (["ok", "drift"], {"at_ms": MONDAY_MS + 9 * HOUR_MS}, 1),
    ],
)
def test_window_is_evidence_of_last_alarm_or_the_one_asked_for(verdicts, asked, hour):
    assert hour_of(report_of(*verdicts, **asked)) == hour


BOTH = build_settings([{"name": STREAM, "windows": ["1h", "2h"]}, *EVERY_STREAM])


def publish_three():
    """Publish a stream of two sizes with drift of the longer, one with a warning, and one where it passed."""
    results = MadeResults()
    results.publish(0, "warning", stream="a")
    results.publish(0, "warning")
    results.publish(0, "drift", size_ms=2 * HOUR_MS)
    for number, verdict in enumerate(["drift", "ok"]):
        results.publish(number, verdict, stream="z", segments=[])
    return results


@pytest.mark.parametrize(
    ("asked", "stream", "size"),
    [
        ({}, STREAM, "2h"),
        ({"stream": "a"}, "a", "1h"),
        ({"stream": STREAM}, STREAM, "2h"),
        ({"size_ms": HOUR_MS, "stream": STREAM}, STREAM, "1h"),
        ({"stream": "z"}, "z", "1h"),
    ],
)
def test_most_urgent_stream_and_size_are_chosen(asked, stream, size):
    record = report_record(report_on(publish_three(), settings=BOTH, **asked))
    assert (record.status.stream, record.window.stream, record.window.window) == (stream, stream, size)
    assert {stream, *(each.stream for each in record.others)} == {"a", STREAM, "z"}


def test_of_streams_without_alarm_the_one_whose_alarm_passed_is_chosen():
    results = MadeResults()
    for stream, verdict in (("a", "ok"), ("b", "drift"), ("c", "ok")):
        for number, each in enumerate([verdict, "ok"]):
            results.publish(number, each, stream=stream, segments=[])
    report = report_on(results)
    assert (report.status.stream, hour_of(report)) == ("b", 0)


@pytest.mark.parametrize(
    ("streams", "asked", "message"),
    [
        (0, {}, r"there is no window in the window results in a\.jsonl; check"),
        (3, {"stream": "b"}, r"no window of the stream b in .* a\.jsonl; choose one of: s00 1h"),
        (2, {"stream": "s01", "size_ms": 7_200_000}, "no window of 2h of the stream s01 in"),
        (12, {"stream": "b"}, r"s09 1h and 2 more$"),
        (1, {"at_ms": MONDAY_MS - 1}, "s00 has no window of 1h that starts then or before"),
    ],
)
def test_unknown_stream_size_or_time_is_told_with_the_known(streams, asked, message):
    results = MadeResults()
    for number in range(streams):
        results.publish(stream=f"s{number:02}")
    with pytest.raises(InputError, match=message):
        report_on(results, **asked)


URL = "https://a.example/{stream}/{event_id}"
PAGE = {"grafana_url": "https://grafana.example"}
LINKED = every_stream(example_url=URL, thumbnail_url=URL)


def part_of(html, start, end="</section>"):
    (found,) = re.findall(f"{re.escape(start)}.*?{end}", html, re.DOTALL)
    return found


def test_status_and_comparison_are_those_of_the_page():
    results = results_of("ok", "ok", "drift", "drift")
    html = render_report(
        report_on(
            results,
            ("Refused events of a, undecodable: 3.",),
            streams=LINKED,
            page=PAGE,
        )
    )
    assert_inert(html)
    # The second chart is the measure of the kind of drift, here a shift.
    assert re.findall("<figcaption><b>(.*?)</b>", html) == ["Evidence", "Mean shift"]
    with serving(results, MONDAY_MS + MINUTE_MS, [LINKED[0]], **PAGE) as server:
        opened = "at=2025-11-03T03:00:00Z&compare=2025-11-03T01:00:00Z"
        body = get(server, f"/?stream={STREAM}&{opened}")[1]
    # A report, which loads nothing, shows the ids of events instead of their pictures.
    events = re.compile(r"<img[^>]*>|(?<=noopener\">)<code>.*?</code>")
    for start, end in (
        ('<section class="verdict', "</section>"),
        ("<h3>Compared with", "</table>"),
        ('<dl class="facts">', "</dl>"),
        ('<div class="scroll" tabindex="0" role="region" aria-label="Segments', "</table>"),
        ("<figcaption><b>Evidence</b>", "</figcaption>"),
    ):
        assert events.sub("", part_of(html, start, end)) == events.sub("", part_of(body, start, end))
    shown = Elements(html)
    for part in (
        "When Began before 3 Nov 2025, 03:00 UTC, by windows of 1h.",
        "Next steps",
        "Refused events of a, undecodable: 3.",
        "Made 3 Nov 2025, 00:01 UTC by driftgauge",
        "from the window results in a.jsonl",
    ):
        assert part in shown.text


@pytest.mark.parametrize(
    ("verdicts", "parts"),
    [
        (["ok"], ["No drift found", "Nothing needs to be done.", "Clusters"]),
        (["drift"], ["Drift", "Began before 3 Nov 2025, 01:00 UTC, by windows of 1h."]),
        (["ok", "drift", "ok"], ["No drift found", "Last alarm", "Ended At 3 Nov 2025, 02:00 UTC"]),
        (["insufficient"] * 3, ["Too few events", "None of these windows has enough events to be scored."]),
        (
            ["ok", "incomplete"],
            ["Incomplete", "not read to the end since 3 Nov 2025, 0", "Nothing is concluded"],
        ),
    ],
)
def test_every_state_has_words(tmp_path, verdicts, parts):
    missing = [{"topic": "embeddings", "partition": 1}] if "incomplete" in verdicts else []
    path = write_results(tmp_path / "a.jsonl", *verdicts, segments=[], incomplete=missing)
    html = render_report(report_on(read_results([path], build_settings()).results))
    assert_inert(html)
    text = Elements(html).text
    assert [part for part in parts if part not in text] == []
    # Records in a file have no time of publication, so their age is counted to the end of the last window.
    assert [part for part in ("published", "dead letters") if part in text] == []


def test_hostile_names_are_text():
    tree = record_tree(0)
    tree["clusters"][0]["name"] = HOSTILE
    tree["examples"] = [{"cluster": 0, "event_ids": [HOSTILE], "baseline_event_ids": [HOSTILE]}]
    tree["segments"][0] |= {"key": HOSTILE, "value": HOSTILE, "verdict": "drift"}
    tree["incomplete"] = [{"topic": HOSTILE, "partition": 0}]
    tree["incomplete_reason"] = HOSTILE
    results = MadeResults()
    results.publish(**{"number": 0, **tree, "stream": HOSTILE})
    results.publish(**{"number": 0, **tree, "stream": f"z{HOSTILE}"})
    html = render_report(report_on(results, (HOSTILE,), streams=every_stream(example_url=URL)))
    assert_inert(html)
    shown = Elements(html)
    assert sum(as_shown(HOSTILE) in text for text in shown.texts) > 8
    assert "{{ 7*7 }}" in html
    assert f"Drift: {as_shown(HOSTILE)}" in shown.text
    assert "\u202e" not in html


def test_lists_end_at_a_limit_and_say_so():
    results = MadeResults()
    for number in range(13):
        results.publish(0, "ok", stream=f"s{number:02}", segments=[])
    (first, *_), tree = record_tree()["segments"], record_tree()
    tree["segments"] = [
        {**first, "value": f"segment {number}", "adjusted_p_value": number / 99} for number in range(14)
    ]
    results.publish(**{"number": 0, **tree})
    text = Elements(render_report(report_on(results, tuple(f"Note {number}." for number in range(9))))).text
    for shown, hidden, said in (
        ("s04", "s05", "8 more are left out here; --json lists all."),
        ("segment 7", "segment 8", "6 more segments are less significant."),
        ("Note 3.", "Note 4.", "5 more notes are left out here; --json lists all."),
    ):
        assert shown in text
        assert hidden not in text
        assert said in text


def test_record_has_the_facts_of_the_report():
    results = publish_three()
    results.publish(1, "ok", size_ms=2 * HOUR_MS, segments=[])
    record = report_record(
        report_on(results, ("A note.",), settings=BOTH, stream=STREAM, size_ms=2 * HOUR_MS)
    )
    assert record.window == build_record(0, "drift", size_ms=2 * HOUR_MS)
    assert [each.verdict for each in record.windows] == ["drift", "ok"]
    assert [each.stream for each in record.others] == ["a", "z"]
    assert (record.origin, record.notes) == ("the window results in a.jsonl", ("A note.",))
    status = json.loads(record.model_dump_json())["status"]
    assert [status[name] for name in ("stream", "state", "old")] == [STREAM, record.status.state, False]
    assert {each["window"]: each["newest"]["verdict"] for each in status["sizes"]} == {
        "1h": "warning",
        "2h": "ok",
    }


@pytest.mark.parametrize("verdicts", [["drift"], ["ok", "incomplete"]])
def test_window_that_the_topic_no_longer_holds_is_reported(verdicts):
    results = results_of(*verdicts)
    results.made.values[:] = [None] * len(verdicts)
    report = report_on(results)
    assert "no longer holds this window" in Elements(render_report(report)).text
    with pytest.raises(MissingWindowError, match=r"retention\.ms"):
        report_record(report)


PIXEL = b"<svg xmlns='http://www.w3.org/2000/svg'/>"


class Pictures(BaseHTTPRequestHandler):
    """Pictures by their names: broken ones fail, large ones are too large, others moved, or are text."""

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.send_response({"broken": 404, "moved": 302}.get(name, 200))
        self.send_header("location", self.path.replace("moved", "a"))
        self.send_header("content-type", "text/html" if name == "text" else "image/svg+xml")
        self.end_headers()
        self.wfile.write(PIXEL + b" " * MOST_BYTES * (name == "large"))

    def log_message(self, *_):
        pass


@pytest.fixture
def pictures():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{{stream}}/{{event_id}}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_pictures_are_not_waited_for_beyond_ten_seconds(pictures):
    # The loader looks when it begins, before each picture, and after each part of one.
    url = pictures.format(stream="s", event_id="a")
    assert picture_loader(iter([0.0, 9.9, 10.0]).__next__)(url)
    load = picture_loader(iter([0.0, 9.9, 10.1, 10.1]).__next__)
    assert load(url) is None
    assert load(f"{url}?next") is None


def test_pictures_and_texts_of_then_and_now_are_in_the_file_if_asked_for(pictures):
    far = {"event_ids": ["a", "broken", "large", "moved", "text"], "snippets": ["<i>ship</i>", *[""] * 4]}
    results = results_of("drift", kind="novelty", farthest=far | {"baseline_event_ids": ["b"]})
    streams = every_stream(thumbnail_url=pictures)
    html = render_report(report_on(results, streams=streams, shows_examples=True))
    data = f"data:image/svg+xml;base64,{base64.b64encode(PIXEL).decode()}"
    (sides,) = re.findall(r'<div class="sides">.*?</section>', html, re.DOTALL)
    assert re.findall(r'<img src="([^"]*)" alt="(\w+)"', sides) == [(data, "b"), (data, "a")]
    assert "&lt;i&gt;ship&lt;/i&gt;" in sides
    assert set(re.findall(r"<code>(\w+)</code>", sides)) == {"broken", "large", "moved", "text"}
    assert "127.0.0.1" not in html
    assert len(re.findall("<img", html)) <= MOST_PICTURES
    assert not re.search("<img|ship", render_report(report_on(results, streams=streams)))
