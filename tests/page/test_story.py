"""The story of a stream as the page tells it, also of streams whose truth is known."""

import json
import re
from functools import cache, partial
from html import unescape
from pathlib import Path

import pytest
from deploy.generate.alerts import groups

from driftgauge.core.durations import format_duration
from driftgauge.core.statistics.number_change import PARTS
from driftgauge.page.advice import next_steps
from driftgauge.page.overview import Overview
from driftgauge.page.states import STATES
from driftgauge.page.status import Run, whole_run
from driftgauge.page.story import tell_size, tell_start
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.html import Elements
from tests.builders.page import build_rows, get, publish, record_tree, serving, serving_by
from tests.builders.truth import NEW, OLD, SITUATIONS, TRUTHS, TrueResults, configure

SEGMENT = record_tree()["segments"][0]
CLUSTERS = [
    {"id": number, "count": 1, "share": share, "baseline_share": before, "js_contribution": part}
    for number, (share, before, part) in enumerate(
        [(0.58, 0.6, 0.0001), (0.12, 0.3, 0.03), (0.3, 0.1, 0.0365)]
    )
]
NAMED = [CLUSTERS[0], CLUSTERS[1] | {"name": "truck, automobile"}, CLUSTERS[2]]
NOVEL = [CLUSTERS[0] | {"name": "deer", "novelty_contribution": 0.018}, *CLUSTERS[1:]]
MISSING = [{"topic": "embeddings", "partition": number} for number in range(5)]
NO_MIX = record_tree()["findings"]
NO_MIX["js_divergence"] |= {"p_value": 0.02}
QUIET = {"kind": None, "p_value": 0.4, "segments": []}


def read(results, query="", **options):
    """The page of the stream."""
    with serving(results, **options) as server:
        return get(server, f"/?stream=resnet18-fc1{query}")[1]


def part_of(body, start, end):
    (found,) = re.findall(f"{start}.*?{end}", body, re.DOTALL)
    return found


@pytest.mark.parametrize(
    ("verdicts", "at", "changes"),
    [
        pytest.param(
            ["ok", "drift", "drift", "drift"],
            3,
            {"clusters": NAMED, "movers": [2, 1, 0], "segments": []},
            id="drift",
        ),
        pytest.param(["drift"], 0, {}, id="first"),
        pytest.param(["ok", "drift", "warning", "ok"], 1, {}, id="ended"),
        pytest.param(["ok", "drift"], 1, {"kind": "novelty", "clusters": NOVEL}, id="novelty"),
        pytest.param(["ok", "drift"], 1, {"kind": "duplicates"}, id="duplicates"),
        pytest.param(["ok", "drift"], 1, {"kind": "mix"}, id="mix"),
        pytest.param(["ok", "drift"], 1, {"kind": "spread"}, id="spread"),
        pytest.param(
            ["ok", "drift"],
            1,
            {"findings": NO_MIX, "clusters": NAMED, "movers": [2, 1, 0], "segments": []},
            id="shares that moved by chance",
        ),
        pytest.param(["ok", "drift", "insufficient", "drift"], 3, {}, id="night"),
        pytest.param(["ok"] * 4, 3, {"kind": None, "segments": []}, id="ok"),
        pytest.param(["ok"], 0, {}, id="small difference"),
        pytest.param(["ok", "warning"], 1, QUIET, id="slow drift"),
        pytest.param(["drift", "drift"], 1, QUIET | {"slow_drift": None}, id="earlier windows"),
        pytest.param(["ok", "insufficient"], 1, {"count": 17}, id="few"),
        pytest.param(["ok", "incomplete"], 1, {"incomplete": MISSING, "events_lost": True}, id="incomplete"),
        pytest.param(
            ["incomplete"],
            0,
            {"counted_twice": True, "incomplete_reason": "counted_twice"},
            id="counted twice",
        ),
        pytest.param(["incomplete"], 0, {"incomplete_reason": "counted_otherwise"}, id="doubt"),
    ],
)
def test_stream_page_tells_its_story(verdicts, at, changes, snapshot):
    # While an alarm goes on, it is told above.
    body = read(
        publish(*((verdict, changes) for verdict in verdicts), ("ok", QUIET)), f"&at=2025-11-03T0{at}:00:00Z"
    )
    assert Elements(part_of(body, '<section class="story"', "</section>")).text == snapshot


def number_tree(before, after, *, inside=(0.0, 0.0), **shares):
    """Return the record of a number, of whose change each part, and two clusters, hold these shares.

    Args:
        before: The mean of the baseline.
        after: The mean of the window.
        inside: What comes of other means within the two clusters.
        shares: The parts by name, and of all `first`, that of the first cluster.
    """
    change = after - before
    parts = {name: {"value": shares.get(name, 0.0) * change, "error": 0.01} for name in PARTS}
    clusters = [
        {"id": each, "mean": 0.5, "baseline_mean": 0.75, "change": share * change, "within": within * change}
        for each, (share, within) in enumerate(
            zip((shares["first"], 1 - shares["first"], 0.0), (*inside, 0.0), strict=True)
        )
    ]
    counts = {"count": 900, "missing": 100, "clipped": 7, "partial": False, "overdispersion": 1.0}
    estimates = {"mean": {"value": after, "error": 0.02}, "change": {"value": change, "error": 0.02}}
    flags = {"movers": [0, 1], "changed": abs(change) > 0.04, "exceeds": True, "fires": True}
    return {**counts, **estimates, **parts, **flags, "baseline_mean": before, "clusters": clusters}


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (
            number_tree(0.91, 0.64, within=0.8, mix=0.2, first=0.9, inside=(0.7, 0.1)),
            "Mean confidence fell from 0.910 to 0.640, mostly within cluster 0 (night).",
        ),
        # The cluster that holds most of the change does so by its share, which another cluster offsets.
        (
            number_tree(0.91, 0.64, within=0.8, mix=0.2, first=0.9, inside=(0.1, 0.7)),
            "Mean confidence fell from 0.910 to 0.640, mostly within cluster 1.",
        ),
        (
            number_tree(0.91, 0.64, within=0.8, mix=0.2, first=0.9, inside=(0.4, 0.4)),
            "Mean confidence fell from 0.910 to 0.640, mostly by changes within clusters, most in cluster 0",
        ),
        (
            number_tree(0.5, 0.75, mix=0.9, within=0.1, first=0.9),
            "Mean confidence rose from 0.500 to 0.750, mostly by the mix of clusters, most in cluster 0 "
            "(night) and cluster 1.",
        ),
        (
            number_tree(0.91, 0.64, within=0.5, mix=0.5, first=0.4),
            "Mean confidence fell from 0.910 to 0.640, by changes within clusters and the mix of clusters, ",
        ),
        (
            number_tree(0.91, 0.9, within=1.0, first=0.9),
            "Mean confidence is 0.900, no clear change from the baseline's 0.910.",
        ),
    ],
)
def test_page_tells_and_draws_a_number_below_the_divergence(number, sentence):
    clusters = [CLUSTERS[0] | {"name": "night"}, *CLUSTERS[1:]]
    results = publish(*["drift"] * 3, clusters=clusters, numbers={"confidence": number})
    limits = {"range": [0, 1], "alert_below": 0.7, "alert_change": 0.1}
    streams = [{"match": "*", "most": 100, "numbers": {"confidence": limits}}]
    body = read(results, streams=streams)
    assert sentence in Elements(body).text
    titles = re.findall(r"<figcaption><b>(.*?)</b>", body)
    assert titles[titles.index("Divergence") + 1] == "Mean confidence"
    assert titles.count("Divergence") == 1
    drawn = part_of(body, "<b>Mean confidence</b>", "</figure>")
    assert "Dashed: the baseline's." in Elements(drawn).text
    # The baseline's mean; where alerts begin: below one mean, and beyond a change in either direction.
    assert (drawn.count('class="floor"'), drawn.count('class="limit"')) == (1, 3)
    compared = Elements(read(results, "&compare=2025-11-03T01:00:00Z", streams=streams)).text
    assert "confidence, then now" in compared


FINDINGS = record_tree()["findings"]


def novel(share, **changes):
    """What a window finds whose events are novel in this share."""
    findings = FINDINGS | {"novelty": FINDINGS["novelty"] | {"value": share}}
    return {"findings": findings, "kind": "novelty", "segments": [], "slow_drift": None} | changes


WELL = [("ok", novel(0.001 * number, kind=None)) for number in range(25)]
GROWING = [("drift", novel(0.02 + 0.01 * number)) for number in range(9)]
ONE = [SEGMENT | {"value": "dock", "verdict": "drift"}, SEGMENT | {"value": "other", "verdict": "ok"}]


@pytest.mark.parametrize(
    ("windows", "parts"),
    [
        pytest.param(
            WELL + GROWING,
            [
                "What Novelty: some events lie where the baseline has none. Where",
                "How large Novelty 10 %; the last 24 ok windows had at most 2.3 %. When Began between ",
                "Trend Novelty grows from 3.0 % to 9.0 % over 9 windows of 1h.",
            ],
            id="growing",
        ),
        pytest.param(
            WELL + GROWING[::-1], ["Trend Novelty shrinks from 9.0 % to 3.0 % over 9"], id="shrinking"
        ),
        pytest.param(
            WELL + GROWING[:1] * 9, ["Trend No clear trend of the novelty over 9 windows of 1h."], id="steady"
        ),
        pytest.param(
            WELL[:19] + GROWING[:3],
            ["Novelty 4.0 %; from 1.0 % on it is large.", "Trend Too early to say: 3 windows of 1h."],
            id="few windows",
        ),
        # The last window's kind is the one that stands out least over all of them.
        pytest.param(
            [*WELL, *[("drift", {"segments": []})] * 3, ("drift", novel(0.02, p_value=1e-9))],
            ["What Shift: inputs moved together", "How large Mean shift 0.817; the last 25 ok"],
            id="kind over the run",
        ),
        pytest.param(
            [*WELL, ("drift", {"segments": ONE})],
            [
                "Where In country = dock; other segments do not drift.",
                "How large In country = dock mean shift 0.812; from 0.0250 on it is large.",
            ],
            id="one segment",
        ),
        pytest.param(
            [*WELL, ("ok", {"segments": ONE})],
            ["What Shift: inputs moved together", "Where In country = dock; other segments do not drift."],
            id="one segment alone",
        ),
        pytest.param(
            [*WELL, ("drift", {"clusters": NAMED, "movers": [2, 1, 0], "segments": []})],
            ["Where Cluster 2 went from 10 % of the events to 30 %, cluster 1 (truck, automobile) went from"],
            id="clusters that moved",
        ),
        pytest.param(
            [*WELL, ("drift", {"clusters": NAMED, "findings": NO_MIX, "segments": []})],
            ["Where No cluster's share moved by more than chance."],
            id="clusters that moved by chance",
        ),
        pytest.param(
            [*WELL, ("drift", novel(0.1, clusters=NOVEL))], ["Where Mostly near cluster 0 (deer)."], id="near"
        ),
    ],
)
def test_alarm_is_told_in_five_sentences(windows, parts):
    told = part_of(read(publish(*windows)), '<dl class="told">', "</dl>")
    text = Elements(told).text
    assert [part for part in parts if part not in text] == [], text
    assert re.findall(r"<dt>(.*?)</dt>", told) == ["What", "Where", "How large", "When", "Trend"]


@pytest.mark.parametrize(
    ("verdicts", "at", "expected"),
    [
        (["ok", "ok", "drift"], 2, ("drift", 1, 2, 1, None)),
        (["ok", "insufficient", "incomplete", "drift"], 3, ("drift", 1, 3, 0, None)),
        (["insufficient", "drift"], 1, ("drift", 1, 1, None, None)),
        (["ok", "warning", "drift", "drift"], 3, ("drift", 3, 1, 0, None)),
        (["drift", "ok", "drift", "incomplete", "insufficient", "drift"], 5, ("drift", 2, 2, 1, None, 1)),
        (["drift", "ok", "incomplete", "ok"], 3, ("ok", 2, 1, 0, None)),
        (["ok", "insufficient", "insufficient"], 2, ("insufficient", 2, 1, 0, None)),
        (["incomplete", "insufficient"], 1, ("insufficient", 1, 1, 0, None)),
        (["drift"], 0, ("drift", 1, 0, None, None)),
        (["ok", "drift", "warning", "ok", "drift"], 1, ("warning", 2, 1, 0, 3)),
        (["ok", "drift", "incomplete", "drift", "insufficient"], 3, ("drift", 2, 1, 0, None)),
        (["ok", "drift", "incomplete", "ok"], 1, ("drift", 1, 1, 0, 3)),
        (["ok", "ok", "ok"], 1, ("ok", 2, 0, None, None)),
    ],
)
def test_run_of_alarms_goes_on_after_the_window_until_one_that_is_well(verdicts, at, expected):
    verdict, windows, since, *others = expected
    after_ms, until_ms = (None if hour is None else MONDAY_MS + hour * HOUR_MS for hour in others[:2])
    run = Run(verdict, windows, MONDAY_MS + since * HOUR_MS, after_ms, until_ms, *others[2:])
    assert whole_run(build_rows(*verdicts), at) == run


RUNBOOKS = Path(__file__).parents[2] / "deploy/runbooks"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return configure(tmp_path_factory.mktemp("truth"))


@pytest.fixture(scope="module")
def true_results(settings):
    return cache(partial(TrueResults, settings))


def sides(body):
    """The headings and the texts of then and now."""
    return {
        Elements(heading).text.replace(" :", ":"): [
            unescape(each) for each in re.findall(r"<q>(.*?)</q>", events)
        ]
        for heading, events in re.findall(r"<div><p>(<b>(?:Then|Now).*?)</p>(.*?)</div>", body, re.DOTALL)
    }


@pytest.mark.parametrize(
    ("daily", "hours", "expected"),
    [
        (["ok"], range(24, 26), "1d: no conclusion since it began. Each size judges by itself."),
        (["ok"], range(20, 22), "1d: no drift found. Each size judges by itself."),
        (["ok", "warning"], range(24, 26), "1d: possible drift. Each size judges by itself."),
        (["incomplete"], range(20, 22), "1d: no conclusion since it began. Each size judges by itself."),
        (["ok", "drift"], range(24, 26), None),
    ],
)
def test_other_size_is_told_by_what_its_windows_have_seen_of_the_drift(daily, hours, expected):
    days = [(verdict, {"number": number, "size_ms": DAY_MS}) for number, verdict in enumerate(daily)]
    windows = [*days, *(("drift", {"number": number}) for number in hours)]
    results = publish(*windows, segments=[])
    streams = [{"name": "resnet18-fc1", "windows": ["1h", "1d"]}]
    body = read(results, "&window=1h", now_ms=MONDAY_MS + 26 * HOUR_MS, streams=streams)
    assert re.findall(r"<dt>Other sizes</dt> <dd>(.*?)</dd>", body) == ([expected] if expected else [])


def test_heat_strip_shows_the_segment_that_drifted_first_and_the_hour_all_did(settings, true_results):
    results = true_results("images")
    with serving_by(settings, results, results.now_ms) as server:
        _, body = get(server, "/?stream=images&window=1d&from=2025-11-03T00:00:00Z")
    figure = part_of(body, '<figure class="chart heat">', "</figure>")
    # The dock drifts from the fourth day on, all cameras from the sixth.
    assert re.findall(r'aria-label="(.*?)"', figure) == [
        "camera = dock-2: No drift found from 3 Nov 2025, 00:00 UTC, "
        "Possible drift from 6 Nov 2025, 00:00 UTC, Drift from 7 Nov 2025, 00:00 UTC",
        "camera = other: No drift found from 3 Nov 2025, 00:00 UTC, "
        "Possible drift from 8 Nov 2025, 00:00 UTC, Drift from 9 Nov 2025, 00:00 UTC",
    ]
    assert re.findall(r"<text[^>]*>(.)</text>", figure) == [*"✓!▲"] * 2


def test_new_topic_is_shown_beside_the_farthest_of_the_baseline(settings, true_results):
    results = true_results("texts")
    with serving_by(settings, results, results.now_ms) as server:
        _, body = get(server, "/?stream=texts&window=1d")
    shown = sides(body)
    assert list(shown) == [
        f"{when}: the farthest from their clusters" for when in ("Then, in the baseline", "Now")
    ]
    then, now = shown.values()
    assert now == [NEW]
    assert f"<q>{NEW}</q> <small>\N{MULTIPLICATION SIGN} 6</small>" in body
    assert {text.startswith(OLD) for text in then} == {True}


FAR = {
    "event_ids": ["far"],
    "snippets": ["far now"],
    "baseline_event_ids": ["edge"],
    "baseline_snippets": ["far"],
}
NEAR = [
    {
        "cluster": cluster,
        "event_ids": [f"e{cluster}"],
        "snippets": [f"now {cluster}"],
        "baseline_event_ids": [],
    }
    for cluster in (1, 2)
]


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("novelty", {}, "Now: the farthest from their clusters far now"),
        ("spread", {"farthest": None}, "Now: some near cluster 2 now 2"),
        ("spread", {}, "Now: the farthest from their clusters far now"),
        ("mix", {}, "Now: some near cluster 2 now 2"),
        ("mix", {"segments": ONE}, "Now: some near cluster 2, of all events now 2"),
    ],
)
def test_then_and_now_are_chosen_by_the_kind(kind, changes, expected):
    tree = {"kind": kind, "clusters": CLUSTERS, "movers": [2, 1, 0], "segments": [], "examples": NEAR}
    body = read(publish(("drift", tree | {"farthest": FAR} | changes), shows_snippets=True))
    assert [f"{heading} {' '.join(texts)}" for heading, texts in sides(body).items()][1:] == [expected]


def alert_links(results):
    """The links of alerts about each window size: all name the newest window, by the last moment in it."""
    pages = {rule["annotations"].get("page", "") for group in groups() for rule in group["rules"]} - {""}
    assert all("window_end_timestamp_seconds%s * 1000 - 1" in page for page in pages)
    for series in results.history.series():
        end_ms = int(results.history.windows(series)["start_ms"][-1]) + series.size_ms
        yield f"/?stream={series.stream}&window={format_duration(series.size_ms)}&at={end_ms - 1}"


@pytest.mark.parametrize(
    ("stream", "parts", "runbook"),
    [
        # It is night, so the newest hours have too few events.
        pytest.param(
            "images",
            [
                "When Began between 8 Nov 2025, 07:00 UTC and 8 Nov 2025, 10:00 UTC, by windows of 1h.",
                "What Shift: inputs moved together",
                "Where First in camera = dock-2, between 5 Nov 2025, 00:00 UTC and 7 Nov 2025, 00:00 UTC, ",
                "Last confirmed 10 Nov 2025, 00:00 UTC",
                "1h: too few events to see anything since 9 Nov 2025, 22:00 UTC (",
                "Find what changed for camera = dock-2 between 5 Nov 2025, 00:00 UTC and 7 Nov 2025, "
                "00:00 UTC, then for all events between 8 Nov 2025, 07:00 UTC and",
                "Look for what moves many inputs at once",
            ],
            "DriftgaugeDrift",
            id="one segment first, then everywhere",
        ),
        pytest.param(
            "texts",
            [
                "When Began between 5 Nov 2025, 00:00 UTC and 8 Nov 2025, 00:00 UTC, by windows of 1d",
                "What Novelty: some events lie where the baseline has none.",
                "How large Novelty 2.7 %; from 1.0 % on it is large.",
                "Other sizes 1h: possible drift. Each size judges by itself.",
                "Log some events far from every cluster",
            ],
            "DriftgaugeDrift",
            id="a topic grows slowly",
        ),
        pytest.param(
            "gaps",
            [
                "Incomplete",
                "Before No drift found up to 7 Nov 2025, 13:00 UTC, by windows of 1h.",
                "1h: embeddings[1] not read to the end since 7 Nov 2025, 13:00 UTC",
                "a corrected window follows",
            ],
            "DriftgaugeWindowsInconclusive",
            id="gaps, nights and an incomplete window",
        ),
        pytest.param(
            "frames",
            [
                "No drift found",
                # Two windows of three: the alarm ends an hour after the frame.
                "Last alarm Duplicates: an item is repeated.",
                "How large Duplicates 28 %;",
                "and 4 Nov 2025, 10:00 UTC, by windows of 1h. Ended At 4 Nov 2025, 15:00 UTC.",
                "find what the drift was",
            ],
            None,
            id="one frame repeated for five hours",
        ),
        # It began at 06:00; the warnings that go on began at 16:00.
        pytest.param(
            "little",
            [
                "When Began at about 4 Nov 2025, 07:00 UTC, by windows of 1h.",
                "How large Together 1.10 times the limit of slow drift; the last ",
                "No single window stands out, but together they do",
                "Find what changed at about 4 Nov 2025, 07:00 UTC",
            ],
            "DriftgaugeSlowDrift",
            id="slow drift",
        ),
    ],
)
def test_link_of_an_alert_shows_alarm_start_cause_and_next_step(
    settings, true_results, stream, parts, runbook
):
    results = true_results(stream)
    with serving_by(settings, results, results.now_ms) as server:
        links = list(alert_links(results))
        assert links
        for link in links:
            response, body = get(server, link)
            assert response.status == 200
            shown = Elements(part_of(body, '<section class="verdict ', "</section>"))
            assert [part for part in parts if part not in shown.text] == [], shown.text
            runbooks = [url.rsplit("/", 1)[1] for url in shown.every("a", "href") if "/runbooks/" in url]
            assert runbooks == ([f"{runbook}.md"] if runbook else [])
            assert "mailto:vision@example.com" in shown.every("a", "href")
    assert runbook is None or (RUNBOOKS / f"{runbook}.md").exists()


TOLD = {
    "shelf-cameras": ("segment", "shift", "camera = dock-2", (0.25, 0.5)),
    "parcel-photos": ("misfit", "shift", "", (0.25, 0.45)),
    "returns-photos": ("ok", "shift", "", (0.25, 0.45)),
    "gate-cameras": ("incomplete", None, "", None),
    "support-tickets": ("ok", None, "", None),
}
"""State, kind, leading segment and size of what is told in no other test; a shift is 0.32 by its truth."""


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    return configure(tmp_path_factory.mktemp("pictured"), {name: SITUATIONS[name] for name in TOLD})


@pytest.mark.parametrize("stream", TOLD)
def test_facts_of_each_pictured_situation_are_its_truth(pictured, stream):
    truth = SITUATIONS[stream]
    results = TrueResults(pictured, stream, truth)
    status = Overview(results.history, pictured).status(stream, results.now_ms)
    state, kind, segments, sizes = TOLD[stream]
    assert status.state == state
    alarms = [*status.alarms, *status.passed][:1]
    assert [(alarm.kind, alarm.segments) for alarm in alarms] == [(kind, segments)] * (kind is not None)
    for alarm in alarms:
        assert sizes[0] <= alarm.value <= sizes[1]
        assert (alarm.after_ms or 0) <= truth.began_ms <= alarm.seen_ms
        # Its first window only warned of the segment.
        assert not segments or alarm.since_ms == truth.began_ms
        renewed_ms = alarm.replaced and alarm.replaced[0]
        assert renewed_ms == (truth.renewed and MONDAY_MS + truth.renewed * HOUR_MS)
    with serving_by(pictured, results, results.now_ms) as server:
        row, body, streams = (
            get(server, path)[1] for path in (f"/?q={stream}", f"/?stream={stream}", "/api/v1/streams")
        )
    (served,) = (each for each in json.loads(streams)["streams"] if each["stream"] == stream)
    assert served["state"] == state
    box = part_of(body, '<section class="verdict ', "</section>")
    texts = [Elements(row.split("</form>")[1]).text, Elements(box).text]
    said = [STATES[state].words]
    if status.leading is not None:
        # The row, the box, the next step and the API tell one date and one size.
        assert served["alarms"][0]["window"] == status.leading.size
        said += [tell_start(status.leading), tell_size(status.leading)[1:]]
        # Of a baseline that does not fit no change of the events is looked for.
        assert (tell_start(status.leading) in " ".join(next_steps(status))) is (state != "misfit")
    assert [part for part in said for text in texts if part not in text] == []
    assert ("/runbooks/" in box, "Severity" in box) == (state != "ok", bool(status.alarms))


@pytest.mark.parametrize("stream", ["images", "texts", "little"])
def test_change_began_in_the_time_that_is_told(settings, true_results, stream):
    results = true_results(stream)
    status = Overview(results.history, settings).status(stream, results.now_ms)
    first = min(status.alarms, key=lambda each: each.after_ms)
    assert first.after_ms <= TRUTHS[stream].began_ms <= first.began_ms + first.size_ms
