"""Tests of `driftgauge.page.story`."""

import pytest

from driftgauge.page.story import Run, cluster_name, current_run, tell, whole_run
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.page import build_record, build_rows, record_tree

RUN = Run("drift", 3, MONDAY_MS, before=True)


def cluster(number, share, baseline_share, contribution, name=None):
    return {
        "id": number,
        "count": round(1_000 * share),
        "share": share,
        "baseline_share": baseline_share,
        "js_contribution": contribution,
        "name": name,
    }


@pytest.mark.parametrize(
    ("verdicts", "since", "windows"),
    [
        (["ok", "ok", "drift"], 2, 1),
        (["ok", "warning", "drift", "drift"], 1, 3),
        (["drift", "ok", "drift", "incomplete", "insufficient", "drift"], 2, 2),
        (["drift", "ok", "incomplete", "ok"], 1, 2),
        (["ok", "insufficient", "insufficient"], 1, 2),
        (["incomplete", "insufficient"], 1, 1),
        (["drift"], 0, 1),
    ],
)
def test_run_ends_with_newest_window(verdicts, since, windows):
    run = current_run(build_rows(*verdicts))
    assert run == Run(verdicts[-1], windows, MONDAY_MS + since * HOUR_MS, before=since > 0)


def test_no_windows_have_no_run():
    assert current_run(build_rows()) is None


def test_drift_is_told_with_start_odds_kind_and_clusters():
    clusters = [
        cluster(0, 0.58, 0.6, 0.0001),
        cluster(1, 0.12, 0.3, 0.03, "truck, automobile"),
        cluster(2, 0.3, 0.1, 0.0365),
    ]
    record = build_record(clusters=clusters, movers=[2, 1, 0], js_divergence=0.0666, segments=[])
    assert tell(record, RUN, HOUR_MS) == [
        "Since 3 Nov 2025, 00:00 UTC the events of resnet18-fc1 differ from the baseline (3 windows of 1h).",
        "Chance alone makes a window so extreme less than once in 1,000 trillion windows.",
        "Shift: the events moved in one direction (75 % of the evidence). The divergence is 0.0666; noise "
        "alone makes 0.000700.",
        "Cluster 2 went from 10 % of the events to 30 %, cluster 1 (truck, automobile) went from 30 % of the "
        "events to 12 %.",
    ]


def test_novelty_is_told_with_its_share():
    story = " ".join(
        tell(build_record(0, kind="novelty", novelty=0.93), Run("drift", 1, MONDAY_MS, before=True), HOUR_MS)
    )
    assert "Novelty: 93 % of the events lie where 1 % of the baseline's do" in story


def test_duplicates_are_told_with_share_of_item():
    record = build_record(0, kind="duplicates", duplicates={"share": 0.12, "p_value": 1e-9})
    story = " ".join(tell(record, Run("drift", 1, MONDAY_MS, before=True), HOUR_MS))
    assert "Duplicates: events repeat as if one item were 12 % of them" in story


def test_novelty_is_told_with_its_cluster():
    record = build_record(0, kind="novelty", novelty=0.03)
    parts = (0.018, 0.001, *[0.0] * len(record.clusters[2:]))
    clusters = tuple(
        cluster.model_copy(update={"novelty_contribution": part})
        for cluster, part in zip(record.clusters, parts, strict=True)
    )
    told = tell(
        record.model_copy(update={"clusters": clusters}),
        Run("drift", 1, MONDAY_MS, before=True),
        HOUR_MS,
    )
    assert "the baseline's do, mostly in cluster 0 (" in " ".join(told)


def test_drift_from_first_window_on_says_so():
    (since, *_) = tell(build_record(), Run("drift", 1, MONDAY_MS, before=False), HOUR_MS)
    assert since.startswith("Since the first window shown, 3 Nov 2025, 00:00 UTC the events")
    assert since.endswith("baseline.")


def test_uncalibrated_window_says_that_odds_are_too_good():
    assert "may be more often" in tell(build_record(calibrated=False), RUN, HOUR_MS)[1]


def test_sound_window_says_what_it_could_have_seen():
    record = build_record(0, "ok", kind=None, segments=[])
    assert tell(record, Run("ok", 4, MONDAY_MS, before=False), HOUR_MS) == [
        "The last 4 windows of 1h look like the baseline.",
        "The divergence is 0.0666; noise alone makes 0.000700.",
        "Four of five windows with a change of mix of 0.0200 or more would have been found.",
    ]


def test_small_difference_is_told_without_a_kind():
    story = tell(build_record(0, "ok"), Run("ok", 1, MONDAY_MS, before=False), HOUR_MS)
    assert story[1] == "It differs by more than chance makes, but by less than what counts as large."
    assert "Shift" not in " ".join(story)


def test_unscored_window_says_how_few_events_it_has():
    record = build_record(0, "insufficient", count=17)
    story = tell(record, Run("insufficient", 1, MONDAY_MS, before=False), HOUR_MS)
    assert story == ["The window has 17 events, too few to be scored."]


def test_incomplete_window_says_why():
    missing = [{"topic": "embeddings", "partition": number} for number in range(5)]
    run = Run("incomplete", 1, MONDAY_MS, before=False)
    record = build_record(0, "incomplete", incomplete=missing, events_lost=True)
    assert tell(record, run, HOUR_MS) == [
        "The events of embeddings[0], embeddings[1], embeddings[2] and 2 more are not all read.",
        "Kafka deleted events before they were read.",
        "Nothing is concluded from an incomplete window.",
    ]
    twice = build_record(0, "incomplete", counted_twice=True, incomplete_reason="counted_twice")
    assert tell(twice, run, HOUR_MS)[0] == "Some events may have been counted twice."
    otherwise = build_record(0, "incomplete", incomplete_reason="counted_otherwise")
    assert tell(otherwise, run, HOUR_MS)[0] == "The counts are in doubt: counted otherwise."


def test_cluster_is_named_by_number_and_name():
    named, unnamed = build_record(clusters=[cluster(7, 1, 1, 0, "truck"), cluster(8, 0, 0, 0)]).clusters
    assert [cluster_name(named), cluster_name(unnamed)] == ["cluster 7 (truck)", "cluster 8"]


@pytest.mark.parametrize(
    ("verdicts", "at", "run"),
    [
        (["ok", "drift", "warning", "ok", "drift"], 1, ("warning", 2, 1, 3)),
        (["ok", "drift", "incomplete", "drift", "insufficient"], 3, ("drift", 2, 1, None)),
        (["ok", "drift", "incomplete", "ok"], 1, ("drift", 1, 1, 3)),
        (["ok", "ok", "ok"], 1, ("ok", 2, 0, None)),
    ],
)
def test_whole_run_goes_on_after_the_window(verdicts, at, run):
    whole = whole_run(build_rows(*verdicts), at)
    verdict, windows, since, until = run
    until_ms = None if until is None else MONDAY_MS + until * HOUR_MS
    assert whole == Run(verdict, windows, MONDAY_MS + since * HOUR_MS, since > 0, until_ms)


def test_run_that_ended_is_told_in_the_past():
    ended = Run("drift", 3, MONDAY_MS, before=True, until_ms=MONDAY_MS + 4 * HOUR_MS)
    assert tell(build_record(), ended, HOUR_MS)[0] == (
        "From 3 Nov 2025, 00:00 UTC to 3 Nov 2025, 04:00 UTC the events of resnet18-fc1 differed from the "
        "baseline (3 windows of 1h)."
    )


def test_slow_drift_is_told_without_odds():
    slow = build_record(0, "warning", kind=None, p_value=0.4, segments=[])
    assert tell(slow, Run("warning", 1, MONDAY_MS, before=True), HOUR_MS)[1:] == [
        "Small evidence has built up over many windows (13.5, and 6.75 is the limit); no single one need "
        "show it.",
        "The divergence is 0.0666; noise alone makes 0.000700.",
    ]


def test_drift_by_earlier_windows_is_told_as_such():
    quiet = build_record(0, "drift", kind=None, p_value=0.4, slow_drift=None, segments=[])
    assert tell(quiet, RUN, HOUR_MS)[1] == (
        "This window by itself does not; the two before it differ significantly, and by much."
    )


@pytest.mark.parametrize("verdict", ["ok", "drift"])
def test_drifting_segments_are_named(verdict):
    (segment, *_) = record_tree()["segments"]
    many = [segment | {"value": f"v{number}"} for number in range(7)]
    record = build_record(0, verdict, segments=[*many, segment | {"value": "well", "verdict": "ok"}])
    assert tell(record, Run(verdict, 1, MONDAY_MS, before=True), HOUR_MS)[-1] == (
        "Segments that differ by themselves: country = v0, country = v1, country = v2, country = v3, "
        "country = v4 and 2 more."
    )
