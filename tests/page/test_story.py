"""The story of a stream as the page tells it: verdict, since when, how sure, what and where."""

import re

import pytest

from driftgauge.page.status import Run, whole_run
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.html import Elements
from tests.builders.page import MadeResults, build_rows, get, record_tree, serving

SEGMENT = record_tree()["segments"][0]
SEGMENTS = [SEGMENT | {"value": f"v{number}"} for number in range(7)]
CLUSTERS = [
    {"id": number, "count": 1, "share": share, "baseline_share": before, "js_contribution": part}
    for number, (share, before, part) in enumerate(
        [(0.58, 0.6, 0.0001), (0.12, 0.3, 0.03), (0.3, 0.1, 0.0365)]
    )
]
NAMED = [CLUSTERS[0], CLUSTERS[1] | {"name": "truck, automobile"}, CLUSTERS[2]]
NOVEL = [CLUSTERS[0] | {"name": "deer", "novelty_contribution": 0.018}, *CLUSTERS[1:]]
MISSING = [{"topic": "embeddings", "partition": number} for number in range(5)]
QUIET = {"kind": None, "p_value": 0.4, "segments": []}
HOURS = ("00", "01", "02", "03")


@pytest.mark.parametrize(
    ("verdicts", "at", "changes", "parts"),
    [
        pytest.param(
            ["ok", "drift", "drift", "drift"],
            3,
            {"clusters": NAMED, "movers": [2, 1, 0], "segments": []},
            [
                "Since 3 Nov 2025, 01:00 UTC the events of resnet18-fc1 differ",
                "(3 windows of 1h)",
                "Practically certain: chance would not produce this.",
                "Shift: ",
                "(mean shift 0.817, 75 % of the evidence)",
                "The divergence is 0.0666; noise alone makes 0.000700.",
                "Cluster 2 went from 10 % of the events to 30 %, cluster 1 (truck, automobile) went",
            ],
            id="drift",
        ),
        pytest.param(["drift"], 0, {}, ["Since the first window shown, 3 Nov 2025, 00:00 UTC"], id="first"),
        pytest.param(
            ["ok", "drift", "warning", "ok"],
            1,
            {},
            ["from 3 Nov 2025, 01:00 UTC to 3 Nov 2025, 03:00 UTC", "differed", "(2 windows of 1h)"],
            id="ended",
        ),
        pytest.param(
            ["ok", "drift"],
            1,
            {"kind": "novelty", "clusters": NOVEL},
            [
                "Novelty: 7.7 % of the events, beyond the expected ones, lie where",
                "mostly in cluster 0 (deer)",
            ],
            id="novelty",
        ),
        pytest.param(
            ["ok", "drift"],
            1,
            {"kind": "duplicates"},
            ["Duplicates: an item is repeated (duplicates 1.5 %"],
            id="duplicates",
        ),
        pytest.param(["ok", "drift"], 1, {"kind": "mix"}, ["Mix: "], id="mix"),
        pytest.param(["ok", "drift"], 1, {"kind": "spread"}, ["Spread: "], id="spread"),
        pytest.param(
            ["ok", "drift"],
            1,
            {"calibrated": False},
            ["(Not calibrated for bursts of related events.)"],
            id="uncalibrated",
        ),
        pytest.param(
            ["ok", "drift", "insufficient", "drift"],
            3,
            {},
            ["(3 windows of 1h, 1 of them with too few events)"],
            id="night",
        ),
        pytest.param(
            ["ok"] * 4,
            3,
            {"kind": None, "segments": []},
            ["No drift was found in the last 4 windows of 1h.", "a divergence of 0.00800 or more"],
            id="ok",
        ),
        pytest.param(["ok"], 0, {}, ["less than what counts as large"], id="small difference"),
        pytest.param(
            ["ok", "warning"],
            1,
            QUIET,
            ["those since 3 Nov 2025, 00:00 UTC do together."],
            id="slow drift",
        ),
        pytest.param(
            ["drift", "drift"],
            1,
            QUIET | {"slow_drift": None},
            ["This window by itself does not, but those before it do"],
            id="earlier windows",
        ),
        pytest.param(
            ["ok", "ok"],
            1,
            {"segments": [*SEGMENTS, SEGMENT | {"value": "well", "verdict": "ok"}]},
            ["country = v0", "country = v4 and 2 more"],
            id="segments",
        ),
        pytest.param(["ok", "insufficient"], 1, {"count": 17}, ["17 events; 15 are needed."], id="few"),
        pytest.param(
            ["ok", "incomplete"],
            1,
            {"incomplete": MISSING, "events_lost": True},
            [
                "embeddings[2] and 2 more are not",
                "Kafka deleted events",
                "Nothing is",
            ],
            id="incomplete",
        ),
        pytest.param(
            ["incomplete"],
            0,
            {"counted_twice": True, "incomplete_reason": "counted_twice"},
            ["may have been counted twice"],
            id="counted twice",
        ),
        pytest.param(
            ["incomplete"],
            0,
            {"incomplete_reason": "counted_otherwise"},
            ["Counted under another baseline, or in other panes or segments."],
            id="doubt",
        ),
    ],
)
def test_stream_page_tells_its_story(verdicts, at, changes, parts, snapshot):
    results = MadeResults()
    for number, verdict in enumerate(verdicts):
        results.publish(number, verdict, **changes)
    with serving(results) as server:
        _, body = get(server, f"/?stream=resnet18-fc1&at=2025-11-03T{HOURS[at]}:00:00Z")
    (section,) = re.findall(r'<section class="story".*?</section>', body, re.DOTALL)
    story = Elements(section).text
    for part in parts:
        assert part in story
    assert story == snapshot


@pytest.mark.parametrize(
    ("verdicts", "at", "expected"),
    [
        (["ok", "ok", "drift"], 2, ("drift", 1, 2, None)),
        (["ok", "warning", "drift", "drift"], 3, ("drift", 3, 1, None)),
        (["drift", "ok", "drift", "incomplete", "insufficient", "drift"], 5, ("drift", 2, 2, None, 1)),
        (["drift", "ok", "incomplete", "ok"], 3, ("ok", 2, 1, None)),
        (["ok", "insufficient", "insufficient"], 2, ("insufficient", 2, 1, None)),
        (["incomplete", "insufficient"], 1, ("insufficient", 1, 1, None)),
        (["drift"], 0, ("drift", 1, 0, None)),
        (["ok", "drift", "warning", "ok", "drift"], 1, ("warning", 2, 1, 3)),
        (["ok", "drift", "incomplete", "drift", "insufficient"], 3, ("drift", 2, 1, None)),
        (["ok", "drift", "incomplete", "ok"], 1, ("drift", 1, 1, 3)),
        (["ok", "ok", "ok"], 1, ("ok", 2, 0, None)),
    ],
)
def test_run_of_alarms_goes_on_after_the_window_until_one_that_is_well(verdicts, at, expected):
    verdict, windows, since, until, *few = expected
    until_ms = None if until is None else MONDAY_MS + until * HOUR_MS
    run = Run(verdict, windows, MONDAY_MS + since * HOUR_MS, since > 0, until_ms, *few)
    assert whole_run(build_rows(*verdicts), at) == run
