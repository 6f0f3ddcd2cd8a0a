"""The HTML of a report: what it shows, and that it loads and runs nothing."""

import base64
import hashlib
import re
from urllib.parse import urlsplit

import pytest

from driftgauge.report.document import render_report
from tests.builders.clocks import MONDAY_MS
from tests.builders.html import HOSTILE, Elements, as_shown, main_text
from tests.builders.page import MadeResults, record_tree
from tests.builders.reports import STREAM, report_of, report_on

# What loads something, runs something or sends something.
ACTIVE = {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "video", "button"}
URLS = {"src", "srcset", "action", "data", "poster", "background", "formaction", "xlink:href"}


def html_of(report):
    return render_report(report, dead_letters="driftgauge.dead-letters", made_ms=MONDAY_MS + 60_000)


def assert_inert(html):
    shown = Elements(html)
    assert not {tag for tag, _ in shown.tags} & ACTIVE
    for tag, attributes in shown.tags:
        assert not URLS & set(attributes)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        if "href" in attributes:
            assert tag == "a"
    assert all(link == "#main" or urlsplit(link).scheme == "https" for link in shown.every("a", "href"))
    (policy,) = [
        attributes["content"]
        for _, attributes in shown.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert html.index("Content-Security-Policy") < html.index("<style>")
    assert not re.search(r"url\(|@import", style)


def with_map(number, verdict="drift", clusters=3):
    """Return a record whose clusters have positions."""
    tree = record_tree(number, verdict)
    shares = {"share": 1 / clusters, "baseline_share": 1 / clusters, "js_contribution": 0.02}
    tree["clusters"] = [
        {"id": each, "count": 1, "name": f"name {each}", "position": [each, each % 7], **shares}
        for each in range(clusters)
    ]
    return tree


def test_report_shows_whole_story_and_loads_nothing(snapshot):
    results = MadeResults()
    for number in range(2):
        results.publish(number, "ok")
    results.publish(**{"number": 2, "verdict": "drift", **with_map(2)})
    results.publish(3, "drift", js_divergence=0.5)
    urls = {"example_url": "https://a.example/{event_id}", "thumbnail_url": "https://b.example/{event_id}"}
    report = report_on(results, ("Refused events of a, undecodable: 3.",), page=urls)
    html = html_of(report)
    assert_inert(html)
    text = Elements(html).text
    for part in (
        "▲ Drift since 3 Nov 2025, 02:00 UTC",
        *report.story,
        *report.steps,
        *("What to do next", "Over time", "Clusters", "Segments", "How complete", "Baseline"),
        "?stream=resnet18-fc1&window=1h&at=2025-11-03T02:00:00Z",
        "The first of the strongest windows, of 3 Nov 2025, 03:00 UTC",
        "Refused events of a, undecodable: 3.",
        "Made 3 Nov 2025, 00:01 UTC by driftgauge",
        "from the window results in a.jsonl",
    ):
        assert part in text
    assert "b.example" not in html
    links = [link for row in report.chosen.clusters for link in row.now]
    assert links
    assert all(link.url.startswith("https://a.example/") for link in links)
    assert main_text(html) == snapshot


@pytest.mark.parametrize(
    ("verdicts", "parts"),
    [
        (["ok"], ["No drift found", "No drift was found."]),
        (["drift"], ["Drift in all windows"]),
        (["ok", "drift", "ok"], ["Drift from 3 Nov 2025, 01:00 UTC to 3 Nov 2025, 02:00 UTC", "differed"]),
        (["insufficient"] * 3, ["Too few events", "None of these windows has enough events to be scored."]),
        (["incomplete"], ["Incomplete", "Nothing is concluded from an incomplete window."]),
    ],
)
def test_every_state_has_words(verdicts, parts):
    html = html_of(report_of(*verdicts))
    assert_inert(html)
    for part in parts:
        assert part in Elements(html).text


def test_hostile_names_are_text():
    tree = with_map(0)
    tree["clusters"][0]["name"] = HOSTILE
    tree["examples"] = [{"cluster": 0, "event_ids": [HOSTILE], "baseline_event_ids": [HOSTILE]}]
    tree["segments"][0] |= {"key": HOSTILE, "value": HOSTILE, "verdict": "drift"}
    tree["incomplete"] = [{"topic": HOSTILE, "partition": 0}]
    tree["incomplete_reason"] = HOSTILE
    results = MadeResults()
    results.publish(**{"number": 0, **tree, "stream": HOSTILE})
    results.publish(**{"number": 0, **tree, "stream": f"z{HOSTILE}"})
    report = report_on(results, (HOSTILE,), page={"example_url": "https://a.example/{stream}/{event_id}"})
    html = html_of(report)
    assert_inert(html)
    shown = Elements(html)
    assert sum(as_shown(HOSTILE) in text for text in shown.texts) > 8
    assert "{{ 7*7 }}" in html
    assert f"Drift: {as_shown(HOSTILE)}" in shown.text
    assert "\u202e" not in html


def test_many_other_streams_are_listed_up_to_a_limit():
    results = MadeResults()
    for number in range(53):
        results.publish(0, "ok", stream=f"s{number:02}")
    results.publish(0, "drift")
    text = Elements(html_of(report_on(results))).text
    assert text.index("s00") < text.index("s49")
    assert "s50" not in text
    assert "3 more are left out here" in text


@pytest.mark.parametrize("is_replay", [False, True])
def test_replay_names_neither_the_page_nor_the_topic_of_dead_letters(is_replay):
    text = Elements(html_of(report_of("drift", is_replay=is_replay))).text
    for part in ("On the page of driftgauge", "?stream=", "driftgauge.dead-letters", "_rejected_total"):
        assert (part in text) is not is_replay


def test_large_report_stays_below_2_mb():
    results = MadeResults()
    for number in range(1_000):
        results.publish(number, "ok" if number < 500 else "drift", stream=STREAM)
    for number, divergence in ((700, 0.1), (999, 0.9)):
        tree = with_map(number, clusters=300) | {"js_divergence": divergence}
        for each in tree["clusters"]:
            each["name"] = "w" * 80
        tree["segments"] = [{**tree["segments"][0], "value": f"segment {each}"} for each in range(200)]
        results.publish(number, **tree)
    html = html_of(report_on(results, at_ms=MONDAY_MS + 700 * 3_600_000))
    assert "The first of the strongest windows" in html
    shown = Elements(html)
    identifiers = [attributes["id"] for _, attributes in shown.tags if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    regions = shown.every("div", "aria-label")
    assert len(set(regions)) == len(regions) > 6
    assert 500_000 < len(html.encode()) < 2_000_000
