"""Tests of `driftgauge.report.contents`."""

import pytest

from driftgauge.errors import InputError
from driftgauge.page.queries import MissingWindowError
from driftgauge.page.words import format_moment
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.page import MadeResults
from tests.builders.reports import STREAM, report_of, report_on

NAMED = [
    {"id": 0, "count": 580, "share": 0.58, "baseline_share": 0.6, "js_contribution": 0.0001},
    {
        "id": 1,
        "count": 120,
        "share": 0.12,
        "baseline_share": 0.3,
        "js_contribution": 0.03,
        "name": "truck, automobile",
    },
    {"id": 2, "count": 300, "share": 0.3, "baseline_share": 0.1, "js_contribution": 0.0365},
]


def chosen_hour(report):
    return (report.chosen.start_ms - MONDAY_MS) // HOUR_MS


@pytest.mark.parametrize(
    ("verdicts", "hour"),
    [
        (["ok", "warning", "drift", "drift"], 2),
        (["drift", "ok", "warning", "drift", "ok"], 3),
        (["drift", "drift", "ok", "warning"], 0),
        (["ok", "drift", "incomplete", "drift", "insufficient"], 1),
        (["warning", "ok", "warning", "warning", "ok"], 2),
        (["ok", "ok", "incomplete"], 1),
        (["insufficient", "incomplete"], 1),
        (["ok"], 0),
    ],
)
def test_window_is_where_last_drift_began(verdicts, hour):
    assert chosen_hour(report_of(*verdicts)) == hour


def test_window_is_named_by_any_time_in_it():
    verdicts = ["ok", "drift", "ok"]
    assert chosen_hour(report_of(*verdicts, at_ms=MONDAY_MS)) == 0
    assert chosen_hour(report_of(*verdicts, at_ms=MONDAY_MS + 3 * HOUR_MS - 1)) == 2
    for missing_ms in (MONDAY_MS - 1, MONDAY_MS + 3 * HOUR_MS):
        with pytest.raises(
            InputError, match=r"no window of 1h at .* from 2025-11-03T00:.* to 2025-11-03T02:"
        ):
            report_of(*verdicts, at_ms=missing_ms)


def test_window_in_a_gap_is_missing():
    results = MadeResults()
    results.publish(0)
    results.publish(2)
    with pytest.raises(InputError, match="no window of 1h at 2025-11-03T01:30:00Z"):
        report_on(results, at_ms=MONDAY_MS + HOUR_MS + 30 * MINUTE_MS)


def publish_three():
    """Publish a stream of two sizes with drift of the longer, and one with a warning."""
    results = MadeResults()
    results.publish(0, "warning", stream="a")
    results.publish(0, "warning")
    results.publish(0, "drift", size_ms=2 * HOUR_MS)
    results.publish(1, "drift", size_ms=3 * HOUR_MS)
    results.publish(2, "ok", size_ms=3 * HOUR_MS)
    return results


@pytest.mark.parametrize(
    ("asked", "stream", "size"),
    [
        ({}, STREAM, "2h"),
        ({"stream": "a"}, "a", "1h"),
        ({"stream": STREAM}, STREAM, "2h"),
        ({"size_ms": HOUR_MS}, "a", "1h"),
        ({"size_ms": HOUR_MS, "stream": STREAM}, STREAM, "1h"),
    ],
)
def test_most_urgent_stream_and_its_smallest_size_are_chosen(asked, stream, size):
    report = report_on(publish_three(), **asked)
    assert (report.page.series.stream, report.page.size) == (stream, size)


def test_other_streams_and_sizes_are_listed_by_urgency():
    others = report_on(publish_three()).others
    assert [(each.series.stream, each.size, each.verdict, each.found, each.windows) for each in others] == [
        (STREAM, "3h", "drift", 1, 2),
        ("a", "1h", "warning", 1, 1),
        (STREAM, "1h", "warning", 1, 1),
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"stream": "b"}, r"no window of the stream b in the window results in a\.jsonl; choose one of: res"),
        ({"size_ms": 5}, "no window of 5ms in .*: resnet18-fc1 2h, resnet18-fc1 3h, a 1h, resnet18-fc1 1h$"),
        ({"stream": "a", "size_ms": 7_200_000}, "no window of 2h of the stream a in"),
    ],
)
def test_unknown_stream_or_size_is_told_with_the_known(asked, message):
    with pytest.raises(InputError, match=message):
        report_on(publish_three(), **asked)


def test_long_list_of_streams_is_cut():
    results = MadeResults()
    for number in range(12):
        results.publish(stream=f"s{number:02}")
    with pytest.raises(InputError, match=r"s09 1h and 2 more$"):
        report_on(results, stream="b")


def test_no_window_at_all_is_an_error():
    with pytest.raises(InputError, match=r"there is no window in the window results in a\.jsonl; check"):
        report_on(MadeResults())


def test_story_says_since_when_what_and_how_sure():
    results = MadeResults()
    results.publish(0, "ok")
    for number, divergence in ((1, 0.0666), (2, 0.09), (3, 0.2)):
        results.publish(number, "drift", clusters=NAMED, movers=[2, 1, 0], js_divergence=divergence)
    assert report_on(results).story == (
        "Since 3 Nov 2025, 01:00 UTC the events of resnet18-fc1 differ from the baseline (3 windows of 1h). "
        "The first of the strongest windows is that of 3 Nov 2025, 03:00 UTC, with a divergence of 0.200.",
        "Chance alone makes a window so extreme less than once in 1,000 trillion windows. Shift: the events "
        "moved in one direction (75 % of the evidence). The divergence is 0.0666; noise alone makes "
        "0.000700. Cluster 2 went from 10 % of the events to 30 %, cluster 1 (truck, automobile) went from "
        "30 % of the events to 12 %. Segments that differ by themselves: country = de.",
    )


def test_strongest_window_of_another_kind_says_so():
    results = MadeResults()
    results.publish(0, "drift")
    results.publish(1, "drift", js_divergence=0.5, kind="novelty")
    report = report_on(results)
    assert "0.500 (novelty: some events lie where the baseline has none)." in report.story[0]
    assert report.strongest.story[1].startswith("Novelty: ")
    assert (report.strongest.start_ms, chosen_hour(report)) == (MONDAY_MS + HOUR_MS, 0)


def test_strongest_window_is_the_first_of_a_plateau():
    results = MadeResults()
    for number, divergence in enumerate([0.1, 0.3, 0.46, 0.48, 0.5, 0.47]):
        results.publish(number, "drift", js_divergence=divergence)
    assert report_on(results).strongest.start_ms == MONDAY_MS + 2 * HOUR_MS


def test_window_as_strong_or_of_another_run_is_not_shown():
    results = MadeResults()
    results.publish(0, "drift", js_divergence=0.5)
    results.publish(1, "ok", js_divergence=0.5)
    results.publish(2, "drift", js_divergence=0.1)
    results.publish(3, "incomplete", js_divergence=0.5)
    results.publish(4, "drift", js_divergence=0.149)
    results.publish(5, "ok")
    results.publish(6, "warning", js_divergence=0.5)
    report = report_on(results)
    assert chosen_hour(report) == 2
    assert report.strongest is None


def test_drift_that_ended_is_told_in_the_past():
    report = report_of("ok", "drift", "incomplete", "drift", "ok", "ok")
    assert report.story[0] == (
        "From 3 Nov 2025, 01:00 UTC to 3 Nov 2025, 04:00 UTC the events of resnet18-fc1 differed from the "
        "baseline (2 windows of 1h)."
    )


def test_sound_stream_is_told_of_its_newest_window():
    report = report_of("ok", "ok", "ok")
    assert report.story[0] == "The last 3 windows of 1h look like the baseline."
    assert report.strongest is None
    assert report.steps[0].startswith("Nothing needs to be done.")


def test_window_before_a_drift_names_it():
    verdicts = ["ok", "insufficient", "ok", "warning", "drift", "ok"]
    later = "Later windows differ from the baseline, from 3 Nov 2025, 03:00 UTC on."
    clean = report_of(*verdicts, at_ms=MONDAY_MS)
    assert clean.story[-1] == later
    assert clean.steps == ("Make the report of the later drift: --at 2025-11-03T03:00:00Z.",)
    assert report_of(*verdicts, at_ms=MONDAY_MS + HOUR_MS).story[-1] == later
    after = report_of(*verdicts, at_ms=MONDAY_MS + 5 * HOUR_MS)
    assert "Later" not in " ".join(after.story)
    assert after.steps[0].startswith("Nothing needs to be done.")


def test_unscored_windows_have_a_story_and_no_charts():
    report = report_of("insufficient", "insufficient")
    assert "too few to be scored" in report.story[0]
    assert report.page.charts == ()


def publish_long(*drifting, windows=2_000):
    """Publish hours of which those in some ranges drift."""
    results = MadeResults()
    for number in range(windows):
        results.publish(number, "drift" if any(number in each for each in drifting) else "ok")
    return results


@pytest.mark.parametrize(
    ("drifting", "asked", "hours"),
    [
        (range(1_000, 2_000), {}, range(925, 1_675)),
        (range(1_000, 2_000), {"at_ms": MONDAY_MS + 1_999 * HOUR_MS}, range(925, 1_675)),
        (range(1_900, 2_000), {}, range(1_250, 2_000)),
        (range(10, 20), {}, range(750)),
        (range(1_000, 2_000), {"at_ms": MONDAY_MS + 500 * HOUR_MS}, range(425, 1_175)),
    ],
)
def test_long_series_is_shown_from_before_its_onset(drifting, asked, hours):
    report = report_on(publish_long(drifting), ("A note.",), **asked)
    shown = ((report.page.rows["start_ms"] - MONDAY_MS) // HOUR_MS).tolist()
    assert shown == list(hours)
    first, last = (format_moment(MONDAY_MS + each * HOUR_MS) for each in (hours[0], hours[-1]))
    assert report.notes == (
        f"750 of 2,000 windows are shown over time, from {first} to {last}.",
        "A note.",
    )


def test_series_that_is_shown_whole_has_no_note():
    assert report_on(publish_long(windows=750)).notes == ()


def test_no_picture_is_loaded_and_events_are_links():
    urls = {"example_url": "https://a.example/{event_id}", "thumbnail_url": "https://b.example/{event_id}"}
    report = report_of("drift", page=urls)
    links = [link for row in report.chosen.clusters for link in row.now]
    assert links
    assert {link.thumbnail for link in links} == {None}
    assert all(link.url.startswith("https://a.example/") for link in links)


def test_unknown_time_of_publication_is_left_out():
    results = MadeResults()
    results.publish(0)
    assert report_on(results).chosen.published_ms == MONDAY_MS
    unknown = MadeResults()
    unknown.made.values = results.made.values
    unknown.receive(unknown.made.values[0], partition=0, offset=0, published_ms=0)
    assert report_on(unknown).chosen.published_ms is None


def test_deleted_result_is_an_error_with_remedy():
    results = MadeResults()
    results.publish(0)
    results.made.values[0] = None
    with pytest.raises(MissingWindowError, match=r"retention\.ms"):
        report_on(results)
