"""What a report says, in its record and in its HTML: which window, the story, what to do next."""

import pytest

from driftgauge.errors import InputError
from driftgauge.page.queries import MissingWindowError
from driftgauge.page.words import format_moment
from driftgauge.report.document import render_report
from driftgauge.report.record import ReportRecord, report_record
from driftgauge.report.timeline import build_timeline
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.html import main_text
from tests.builders.page import MadeResults, build_record
from tests.builders.reports import STREAM, report_of, report_on


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
    results = MadeResults()
    for hour, verdict in ((0, "ok"), (1, "drift"), (3, "ok")):
        results.publish(hour, verdict)
    assert chosen_hour(report_on(results, at_ms=MONDAY_MS)) == 0
    assert chosen_hour(report_on(results, at_ms=MONDAY_MS + 4 * HOUR_MS - 1)) == 3
    gap_ms = MONDAY_MS + 2 * HOUR_MS + 30 * MINUTE_MS
    for missing_ms in (MONDAY_MS - 1, gap_ms, MONDAY_MS + 4 * HOUR_MS):
        with pytest.raises(
            InputError, match=r"no window of 1h at .* from 2025-11-03T00:.* to 2025-11-03T03:"
        ):
            report_on(results, at_ms=missing_ms)


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
    record = report_record(report_on(publish_three(), **asked))
    assert (record.stream, record.window) == (stream, size)


@pytest.mark.parametrize(
    ("streams", "asked", "message"),
    [
        (0, {}, r"there is no window in the window results in a\.jsonl; check"),
        (0, {"is_replay": True}, r"which was taken for recorded events; check"),
        (
            3,
            {"stream": "b"},
            r"no window of the stream b in .* a\.jsonl; choose one of: s00 1h",
        ),
        (2, {"size_ms": 5}, "no window of 5ms in .*: s00 1h, s01 1h$"),
        (2, {"stream": "s01", "size_ms": 7_200_000}, "no window of 2h of the stream s01 in"),
        (12, {"stream": "b"}, r"s09 1h and 2 more$"),
    ],
)
def test_unknown_stream_or_size_is_told_with_the_known(streams, asked, message):
    results = MadeResults()
    for number in range(streams):
        results.publish(stream=f"s{number:02}")
    with pytest.raises(InputError, match=message):
        report_on(results, **asked)


# The verdicts, what is asked for, and changes of all records.
CASES = {
    "drift": (["ok", "drift", "drift"], {}, {}),
    "drift that ended": (["ok", "drift", "incomplete", "drift", "ok", "ok"], {}, {}),
    "drift in all windows": (["drift"], {}, {}),
    "ok": (["ok", "ok", "ok"], {}, {}),
    "before a drift": (["ok", "insufficient", "warning", "drift"], {"at_ms": MONDAY_MS}, {}),
    "after a drift": (["drift", "ok"], {"at_ms": MONDAY_MS + HOUR_MS}, {}),
    "insufficient": (["insufficient"] * 3, {}, {"count": 40}),
    "no events": (["insufficient"], {}, {"count": 0}),
    "incomplete": (["incomplete"], {}, {}),
    "uncalibrated": (["ok", "drift"], {}, {"calibrated": False}),
    "slow": (["ok", "warning"], {}, {"kind": None, "slow_drift": {"statistic": 7.0, "limit": 6.5}}),
    "slow and sudden": (["ok", "warning"], {}, {"slow_drift": {"statistic": 7.0, "limit": 6.5}}),
    **{
        kind: (["ok", "drift"], {}, {"kind": kind})
        for kind in ("mix", "shift", "novelty", "spread", "duplicates")
    },
}
PARTS = {
    "drift": ["Since 3 Nov 2025, 01:00 UTC", "(2 windows of 1h)", "The divergence is 0.0666; noise alone"],
    "drift that ended": ["From 3 Nov 2025, 01:00 UTC to 3 Nov 2025, 04:00 UTC", "(2 windows of 1h)"],
    "drift in all windows": ["Since the first window shown"],
    "ok": ["No drift was found in the last 3 windows of 1h.", "Nothing needs to be done."],
    "before a drift": ["from 3 Nov 2025, 02:00 UTC on.", "--at 2025-11-03T02:00:00Z."],
    "after a drift": ["No drift was found", "Nothing needs to be done."],
    "insufficient": ["too few to be scored", "driftgauge plan --events-per-hour 40."],
    "no events": ["driftgauge plan --events-per-hour 1."],
    "incomplete": ["Nothing is concluded", "Wait"],
    "uncalibrated": ["Measure the overdispersion"],
    "slow": ["small evidence", "More in the runbook DriftgaugeSlowDrift."],
    "slow and sudden": ["More in the runbook DriftgaugeDrift."],
    "mix": ["Find what else changed at 3 Nov 2025, 01:00 UTC: ", "clusters that gained"],
    "shift": ["preprocessing", "More in the runbook DriftgaugeDrift."],
    "novelty": ["far from every cluster"],
    "spread": ["normalised otherwise"],
    "duplicates": ["a stuck camera"],
}


@pytest.mark.parametrize("case", CASES)
def test_report_tells_what_happened_and_what_to_do_next(case, snapshot):
    verdicts, asked, changes = CASES[case]
    results = MadeResults()
    for number, verdict in enumerate(verdicts):
        results.publish(number, verdict, **changes)
    report = report_on(results, **asked)
    record = report_record(report)
    said = "\n".join([*record.story, *record.next_steps])
    for part in PARTS[case]:
        assert part in said
    assert said == snapshot
    html = render_report(report, dead_letters="dead", made_ms=MONDAY_MS)
    assert all(sentence in main_text(html).replace("\n", " ") for sentence in record.next_steps)


def test_rate_of_few_events_is_that_of_an_hour():
    results = MadeResults()
    results.publish(0, "insufficient", count=48, size_ms=DAY_MS)
    assert report_record(report_on(results)).next_steps[0].endswith(" 2.")


@pytest.mark.parametrize(
    ("windows", "chosen", "strongest"),
    [
        ([("drift", 0.0666), ("drift", 0.09), ("drift", 0.2)], 0, 2),
        # The first of a plateau.
        ([("drift", each) for each in (0.1, 0.3, 0.46, 0.48, 0.5, 0.47)], 0, 2),
        # As strong, of another run, or without a verdict.
        (
            [
                *[("drift", 0.5), ("ok", 0.5)],
                *[("drift", 0.1), ("incomplete", 0.5), ("drift", 0.149), ("ok", 0.1)],
                ("warning", 0.5),
            ],
            2,
            None,
        ),
        ([("ok", 0.1), ("ok", 0.5)], 1, None),
    ],
)
def test_strongest_window_of_run_is_shown_where_it_is_much_stronger(windows, chosen, strongest):
    results = MadeResults()
    for number, (verdict, divergence) in enumerate(windows):
        results.publish(number, verdict, js_divergence=divergence)
    report = report_on(results)
    assert chosen_hour(report) == chosen
    if strongest is None:
        assert report_record(report).strongest is None
        return
    verdict, divergence = windows[strongest]
    assert report_record(report).strongest == build_record(strongest, verdict, js_divergence=divergence)
    assert f"UTC, with a divergence of {divergence:.3f}" in report.story[0]
    assert f"windows is that of 3 Nov 2025, {strongest:02}:00" in report.story[0]


def test_strongest_window_of_another_kind_says_so():
    results = MadeResults()
    results.publish(0, "drift")
    results.publish(1, "drift", js_divergence=0.5, kind="novelty")
    report = report_on(results)
    assert "0.500 (novelty: some events lie where the baseline has none)." in report.story[0]
    assert report.strongest.story[1].startswith("Novelty: ")


def test_record_has_the_facts_of_the_report():
    results = publish_three()
    results.publish(1, "drift", size_ms=2 * HOUR_MS)
    results.publish(2, "ok", size_ms=2 * HOUR_MS)
    results.publish(3, "insufficient", size_ms=2 * HOUR_MS)
    report = report_on(results, ("A note.",))
    record = report_record(report)
    assert (record.stream, record.window, record.verdict) == (STREAM, "2h", "drift")
    assert (record.since, record.until) == ("2025-11-03T00:00:00Z", "2025-11-03T04:00:00Z")
    assert record.windows_since == 2
    assert record.chosen == build_record(0, "drift", size_ms=2 * HOUR_MS)
    assert [each.verdict for each in record.windows] == ["drift", "drift", "ok", "insufficient"]
    assert [tuple(other.model_dump().values()) for other in record.others] == [
        (STREAM, "3h", "drift", 1, 2),
        ("a", "1h", "warning", 1, 1),
        (STREAM, "1h", "warning", 1, 1),
    ]
    assert (record.origin, record.notes) == ("the window results in a.jsonl", ("A note.",))
    assert ReportRecord.model_validate_json(record.model_dump_json()) == record
    assert report_record(report_of("drift")).until is None
    timeline = build_timeline(report.page)
    assert (timeline.stream, timeline.size_ms, timeline.segment) == (STREAM, 2 * HOUR_MS, None)
    first, *_, unscored = timeline.points
    scored = record.chosen
    assert (first.window.start_ms, first.verdict, first.count) == (MONDAY_MS, "drift", scored.count)
    assert (first.js_divergence, first.noise_floor) == (scored.js_divergence, scored.noise_floor)
    assert (first.p_value, first.mean_shift) == (
        scored.p_value,
        pytest.approx(scored.findings["mean_shift"].excess),
    )
    assert {unscored.js_divergence, unscored.noise_floor, unscored.p_value, unscored.mean_shift} == {None}


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
    report = report_of(
        *("drift" if number in drifting else "ok" for number in range(2_000)), notes=("A note.",), **asked
    )
    shown = ((report.page.rows["start_ms"] - MONDAY_MS) // HOUR_MS).tolist()
    assert shown == list(hours)
    first, last = (format_moment(MONDAY_MS + each * HOUR_MS) for each in (hours[0], hours[-1]))
    assert report.notes == (
        f"750 of 2,000 windows are shown over time, from {first} to {last}.",
        "A note.",
    )


def test_series_of_750_windows_is_shown_whole():
    assert report_of(*["ok"] * 750).notes == ()


def test_unknown_time_of_publication_is_left_out():
    results, unknown = MadeResults(), MadeResults()
    results.publish(0)
    unknown.made.values = results.made.values
    unknown.receive(unknown.made.values[0], partition=0, offset=0, published_ms=0)
    for each, published, text in (
        (results, "2025-11-03T00:00:00Z", "Revision 0, published"),
        (unknown, None, "Revision 0."),
    ):
        report = report_on(each)
        assert report_record(report).windows[0].published == published
        assert text in main_text(render_report(report, dead_letters="dead", made_ms=0)).replace("\n", " ")
    results.made.values[0] = None
    with pytest.raises(MissingWindowError, match=r"retention\.ms"):
        report_on(results)
