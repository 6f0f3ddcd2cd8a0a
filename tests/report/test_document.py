"""A report: which window it shows, that its parts are those of the page, and that its file loads nothing."""

import base64
import hashlib
import json
import re
from urllib.parse import urlsplit

import pytest
from starlette.responses import Response
from starlette.routing import Route

from driftgauge.errors import InputError
from driftgauge.page.queries import MissingWindowError
from driftgauge.report.document import render_report, report_record
from driftgauge.report.pictures import MOST_BYTES, MOST_PICTURES, picture_loader
from driftgauge.report.reading import read_results
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.html import HOSTILE, Elements, as_shown, outline
from tests.builders.page import (
    EVERY_STREAM,
    MadeResults,
    build_record,
    build_settings,
    every_stream,
    record_tree,
)
from tests.builders.reports import STREAM, report_on, results_of, write_results
from tests.harness.registry_server import serve_routes

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
    assert (
        report_record(report_on(results_of(*verdicts), **asked)).window.start == f"2025-11-03T0{hour}:00:00Z"
    )


PAGE = {"grafana_url": "https://grafana.example", "runbooks_url": "https://wiki.example"}
TWO_SIZES = [{"name": STREAM, "windows": ["1h", "2h"]}, *EVERY_STREAM]
BOTH = build_settings(TWO_SIZES, **PAGE)


def publish_streams(**verdicts):
    """Publish some hours of each stream."""
    results = MadeResults()
    for stream, own in verdicts.items():
        for number, verdict in enumerate(own):
            results.publish(number, verdict, stream=stream, segments=[])
    return results


def publish_three():
    """Publish a stream of two sizes with drift of the longer, one with a warning, and one where it passed."""
    results = publish_streams(a=["warning"], z=["drift", "ok"])
    results.publish(0, "warning")
    results.publish(0, "drift", size_ms=2 * HOUR_MS)
    return results


@pytest.mark.parametrize(
    ("results", "asked", "stream", "size"),
    [
        (publish_three(), {}, STREAM, "2h"),
        (publish_three(), {"stream": "a"}, "a", "1h"),
        (publish_three(), {"stream": STREAM}, STREAM, "2h"),
        (publish_three(), {"size_ms": HOUR_MS, "stream": STREAM}, STREAM, "1h"),
        (publish_three(), {"stream": "z"}, "z", "1h"),
        # Without an alarm, the stream whose alarm passed.
        (publish_streams(a=["ok", "ok"], b=["drift", "ok"], c=["ok", "ok"]), {}, "b", "1h"),
    ],
)
def test_most_urgent_stream_and_size_are_chosen(results, asked, stream, size):
    record = report_record(report_on(results, settings=BOTH, **asked))
    assert (record.status.stream, record.window.stream, record.window.window) == (stream, stream, size)
    every = {each.stream for each in results.history.series()}
    assert {stream, *(each.stream for each in record.others)} == every


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
LINKED = every_stream(example_url=URL, thumbnail_url=URL)


def publish_much():
    """Publish many streams, and a window with many segments."""
    results = publish_streams(**{f"s{number:02}": ["ok"] for number in range(13)})
    segment = record_tree()["segments"][0]
    segments = [
        {**segment, "value": f"segment {number}", "adjusted_p_value": number / 99} for number in range(14)
    ]
    results.publish(0, segments=segments)
    return results


def publish_deleted(*verdicts):
    """Publish windows that the topic no longer holds."""
    results = results_of(*verdicts)
    results.made.values[:] = [None] * len(verdicts)
    return results


@pytest.mark.parametrize(
    ("results", "notes", "options"),
    [
        pytest.param(
            results_of("ok", "ok", "drift", "drift"),
            ["Refused events of a, undecodable: 3."],
            {"streams": LINKED},
            id="drift and links",
        ),
        pytest.param(results_of("ok"), [], {}, id="ok"),
        pytest.param(results_of("ok", "drift", "ok"), [], {}, id="passed"),
        pytest.param(results_of(*["insufficient"] * 3), [], {}, id="insufficient"),
        pytest.param(
            results_of("ok", "incomplete", incomplete=[{"topic": "embeddings", "partition": 1}]),
            [],
            {},
            id="incomplete",
        ),
        pytest.param(publish_three(), [], {"streams": TWO_SIZES, "stream": STREAM}, id="other streams"),
        # Lists end at a limit and say so.
        pytest.param(publish_much(), [f"Note {number}." for number in range(9)], {}, id="much"),
        pytest.param(publish_deleted("drift"), [], {}, id="deleted drift"),
        pytest.param(publish_deleted("ok", "incomplete"), [], {}, id="deleted incomplete"),
    ],
)
def test_report_in_each_situation(results, notes, options, snapshot):
    html = render_report(report_on(results, tuple(notes), page=PAGE, **options))
    assert_inert(html)
    assert outline(html) == snapshot
    assert re.search("Made 3 Nov 2025, 00:01 UTC by driftgauge .* from the window results in a.jsonl", html)


def test_age_of_results_in_a_file_is_counted_to_the_end_of_the_last_window(tmp_path):
    path = write_results(tmp_path / "a.jsonl", "ok", "ok", segments=[])
    text = Elements(render_report(report_on(read_results([path], build_settings()).results))).text
    assert "No drift found up to 3 Nov 2025, 02:00 UTC" in text
    # They have no time of publication.
    assert "published" not in text


def test_hostile_names_are_text():
    tree = record_tree(0)
    tree["clusters"][0]["name"] = HOSTILE
    tree["examples"] = [{"cluster": 0, "event_ids": [HOSTILE], "baseline_event_ids": [HOSTILE]}]
    tree["segments"][0] |= {"key": HOSTILE, "value": HOSTILE, "verdict": "drift"}
    tree |= {"incomplete": [{"topic": HOSTILE, "partition": 0}], "incomplete_reason": HOSTILE}
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


def test_record_has_the_facts_of_the_report(snapshot):
    results = publish_three()
    results.publish(1, "ok", size_ms=2 * HOUR_MS, segments=[])
    record = report_record(
        report_on(results, ("A note.",), settings=BOTH, stream=STREAM, size_ms=2 * HOUR_MS)
    )
    assert record.window == build_record(0, "drift", size_ms=2 * HOUR_MS)
    assert json.loads(record.model_dump_json(exclude={"window"})) == snapshot


def test_record_of_a_window_that_the_topic_no_longer_holds_is_missing():
    with pytest.raises(MissingWindowError, match=r"retention\.ms"):
        report_record(report_on(publish_deleted("drift")))


PIXEL = b"<svg xmlns='http://www.w3.org/2000/svg'/>"


def answer(request):
    """Answer with a picture by its name: one is missing, one too large, one has moved, and one is text."""
    name = request.path_params["name"]
    return Response(
        PIXEL + b" " * MOST_BYTES * (name == "large"),
        {"broken": 404, "moved": 302}.get(name, 200),
        {"location": request.url.path.replace("moved", "a")},
        "text/html" if name == "text" else "image/svg+xml",
    )


@pytest.fixture
def pictures():
    with serve_routes([Route("/{stream}/{name}", answer)]) as server:
        yield f"http://127.0.0.1:{server.port}/{{stream}}/{{event_id}}"


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
