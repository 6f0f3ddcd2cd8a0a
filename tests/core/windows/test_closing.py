"""Windows of one stream: due, incomplete, revised, final; by which baseline; what is kept and forgotten."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.reference import SegmentReference
from driftgauge.core.windows import purging, work_budget
from driftgauge.core.windows.result import Verdict
from driftgauge.core.windows.window import Window
from tests.core.builders import (
    ALARM,
    CLUSTERS,
    DAY_MS,
    FIRST,
    HOUR_MS,
    MINUTE_MS,
    MONDAY_MS,
    OTHER,
    build_reference,
    build_schedule,
    build_spec,
    plain,
    summary,
)
from tests.core.shard import EVENTS, Shard

RICH = build_reference("rich", count=100_000)
MOVED, QUIET = (2_000, 1_000, 680, 320), (1_600, 1_200, 800, 400)


def at(hours, cluster=0):
    return MONDAY_MS + round(hours * HOUR_MS), cluster


def hours(results):
    """(hour since Monday, revision, count) of each hourly result."""
    return [
        ((result.window.start_ms - MONDAY_MS) / HOUR_MS, result.revision, result.count)
        for result in results
        if result.window.size_ms == HOUR_MS
    ]


def ask(shard, *events, **how):
    """Read events of one partition, commit, and return the results."""
    shard.read(*events, **how)
    return shard.commit()


def status(shard):
    return shard.state.streams["images"].status


# Due, late, final


def test_a_window_is_published_when_all_partitions_have_passed_its_end():
    shard = Shard(build_spec(), partitions=2)
    shard.read(at(0), at(0.5, 1), at(1))
    assert shard.commit() == []
    shard.read((MONDAY_MS + HOUR_MS - 1, 2), partition=1)
    assert shard.commit() == []
    (result,) = ask(shard, at(1), partition=1)
    assert (result.stream, result.window, result.revision) == ("images", Window(HOUR_MS, MONDAY_MS), 0)
    assert (result.counts.tolist(), result.missing, result.events_lost) == ([1, 1, 1, 0], (), False)
    assert (result.baseline_id, result.published_ms) == (FIRST.baseline_id, shard.now_ms)
    np.testing.assert_array_equal(result.baseline_counts, FIRST.counts)
    assert shard.commit() == []


def test_windows_close_oldest_end_first_and_the_smaller_of_equals_before_the_larger():
    shard = Shard(build_spec(sizes_ms=(HOUR_MS, DAY_MS)))
    results = ask(shard, at(23), at(0), at(24), at(48))
    assert [(r.window.size_ms, (r.window.start_ms - MONDAY_MS) // HOUR_MS) for r in results] == [
        (HOUR_MS, 0),
        (HOUR_MS, 23),
        (DAY_MS, 0),
        (HOUR_MS, 24),
        (DAY_MS, 24),
    ]


def test_an_event_within_the_allowed_lateness_gives_the_next_revision_with_the_whole_count():
    shard = Shard(build_spec())
    assert summary(ask(shard, at(0), at(1))) == [(HOUR_MS, MONDAY_MS, 0, (1, 0, 0, 0))]
    assert summary(ask(shard, at(0.5, 3))) == [(HOUR_MS, MONDAY_MS, 1, (1, 0, 0, 1))]
    assert status(shard).revised == {HOUR_MS: 1}


def test_many_commits_in_one_interval_give_one_revision():
    shard = Shard(build_spec())
    ask(shard, at(0), at(1))
    for cluster in range(3):
        shard.read(at(0.5, cluster))
        shard.write()
        shard.apply()
    assert summary(shard.close()) == [(HOUR_MS, MONDAY_MS, 1, (2, 1, 1, 0))]


def test_the_horizon_is_exact_to_the_pane_and_what_is_behind_it_is_late():
    shard = Shard(build_spec(lateness_ms=10 * MINUTE_MS, sizes_ms=(MINUTE_MS,)))
    ask(shard, at(0), (MONDAY_MS + 11 * MINUTE_MS - 1, 0))
    assert len(ask(shard, at(0, 1))) == 1
    shard.read((MONDAY_MS + 11 * MINUTE_MS, 0))
    shard.commit()
    shard.read(at(0, 1), at(0, 1), (MONDAY_MS + MINUTE_MS, 1))
    results = shard.commit()
    assert [result.window.start_ms for result in results] == [MONDAY_MS + MINUTE_MS]
    assert shard.late == {("images", MINUTE_MS): 2}


def test_late_events_are_told_once_a_commit_with_a_place_where_they_stand():
    shard = Shard(build_spec(), partitions=2)
    for partition in (0, 1):
        shard.read(at(0), at(5), partition=partition)
    shard.commit()
    shard.read(at(0.1), at(0.2), at(5.5), at(2.5), partition=1)
    shard.write()
    shard.apply()
    (late,) = shard.state.close_windows().late
    assert (late.stream, late.size_ms, late.number) == ("images", HOUR_MS, 3)
    assert late.first in {((EVENTS, 1), 2), ((EVENTS, 1), 5)}
    assert status(shard).late == {HOUR_MS: 3}


def test_an_event_late_for_its_hour_is_still_counted_in_its_day():
    shard = Shard(build_spec(sizes_ms=(HOUR_MS, DAY_MS)))
    assert hours(ask(shard, at(0), at(2))) == [(0, 0, 1)]
    assert ask(shard, at(0.5)) == []
    assert shard.late == {("images", HOUR_MS): 1}
    assert summary(ask(shard, at(24))) == [
        (HOUR_MS, MONDAY_MS + 2 * HOUR_MS, 0, (1, 0, 0, 0)),
        (DAY_MS, MONDAY_MS, 0, (3, 0, 0, 0)),
    ]


def test_streams_share_no_counts_and_no_watermarks():
    shard = Shard(build_spec("images"), build_spec("texts", sizes_ms=(DAY_MS,)))
    shard.read(at(0), at(1), stream="images")
    shard.read(at(0, 2), stream="texts")
    assert [result.stream for result in shard.commit()] == ["images"]
    assert shard.status("images").watermark_ms == MONDAY_MS + HOUR_MS
    assert shard.status("texts").watermark_ms == MONDAY_MS
    assert [(r.stream, r.count) for r in shard.close(has_source_ended=True)] == [("images", 1), ("texts", 1)]


def test_a_partition_far_ahead_in_a_catch_up_purges_and_closes_nothing_early():
    shard = Shard(build_spec(), partitions=2)
    shard.read(at(0, 1), partition=1)
    for hour in range(50):
        assert ask(shard, at(hour)) == []
    results = []
    for hour in range(50):
        results += ask(shard, at(hour, 1), partition=1)
    assert shard.late.total() == 0
    assert [count for _, _, count in hours(results)] == [3] + [2] * 48


@pytest.mark.parametrize(("min_events", "is_scored"), [(3, True), (4, False)])
def test_a_window_with_too_few_events_is_published_without_a_score(min_events, is_scored):
    shard = Shard(build_spec(min_events=min_events))
    (result,) = ask(shard, at(0), at(0, 1), at(0, 1), at(1))
    assert (result.score is not None) is is_scored
    assert (result.verdict is Verdict.INSUFFICIENT) or is_scored


def test_when_the_source_has_ended_every_window_is_due():
    shard = Shard(build_spec(), partitions=2)
    shard.read(at(0), at(7))
    assert shard.commit() == []
    assert hours(shard.close(has_source_ended=True)) == [(0, 0, 1), (7, 0, 1)]
    assert shard.close(has_source_ended=True) == []


# What is kept


def test_panes_and_results_are_forgotten_when_they_are_final_but_for_the_newest_result():
    shard = Shard(build_spec(sizes_ms=(HOUR_MS, 2 * HOUR_MS)))
    for hour in range(20):
        shard.read(at(hour), event_ids=[f"event-{hour}"])
        shard.commit()
    kept = sorted(key for key in shard.kept)
    assert len([key for key in kept if key.startswith(b"pane")]) <= 3, kept
    assert len([key for key in kept if key.startswith(b"examples")]) <= 3
    assert len([key for key in kept if key.startswith(b"published")]) <= 4
    state = shard.state.streams["images"]
    assert {window.size_ms for window in state.published} == {HOUR_MS, 2 * HOUR_MS}
    assert shard.state.open_windows("images") == {HOUR_MS: 2, 2 * HOUR_MS: 1}


def test_panes_that_are_final_are_forgotten_in_portions(monkeypatch):
    monkeypatch.setattr(purging, "_MAX_PURGED_PANES", 3)
    shard = Shard(build_spec(sizes_ms=(MINUTE_MS,), lateness_ms=0))
    ask(shard, *[(MONDAY_MS + minute * MINUTE_MS, 0) for minute in range(10)])
    shard.read((MONDAY_MS + DAY_MS, 0))
    left = []
    for _ in range(5):
        shard.commit()
        left.append(len(shard.state.streams["images"].pane_starts()))
    # Three went with the first commit.
    assert left == [5, 2, 1, 1, 1]


def test_a_shard_that_was_restored_publishes_nothing_again_and_goes_on_with_the_revisions():
    shard = Shard(build_spec(), partitions=2)
    for partition in (0, 1):
        shard.read(at(0), at(1), partition=partition)
    assert hours(shard.commit()) == [(0, 0, 2)]
    shard.restart()
    assert shard.commit() == []
    shard.restart()
    assert hours(ask(shard, at(0.5))) == [(0, 1, 3)]


def test_a_restart_loses_what_was_not_committed_and_applies_it_again():
    shard = Shard(build_spec())
    ask(shard, at(0))
    shard.read(at(0.5), at(1))
    shard.write()
    shard.apply()
    shard.state.close_windows()
    shard.restart()
    shard.apply()
    assert hours(shard.close()) == [(0, 0, 2)]


def test_totals_survive_restarts():
    shard = Shard(build_spec())
    ask(shard, at(0), at(5))
    ask(shard, at(4.5))
    ask(shard, at(0))
    before = status(shard)
    shard.restart()
    assert (status(shard).late, status(shard).closed, status(shard).revised) == (
        {HOUR_MS: 1},
        before.closed,
        before.revised,
    )
    assert sum(before.closed.values()) == 2
    ask(shard, at(0.1))
    assert status(shard).late == {HOUR_MS: 2}


# Baselines in force


def scheduled(from_hour):
    return build_schedule((MONDAY_MS + from_hour * HOUR_MS, OTHER))


def test_the_cut_between_two_baselines_falls_where_the_schedule_says():
    shard = Shard(build_spec(baselines=scheduled(2)))
    shard.read(at(0), at(1), at(1.5, 1), baseline=FIRST.key)
    # Event 0 is of cluster 1 by the other baseline.
    shard.read(at(2), at(2.5, 1), at(4), baseline=OTHER.key)
    results = shard.commit()
    assert [(result.baseline_id, result.counts.tolist()) for result in results] == [
        (FIRST.baseline_id, [1, 0, 0, 0]),
        (FIRST.baseline_id, [1, 1, 0, 0]),
        (OTHER.baseline_id, [0, 1, 1, 0]),
    ]
    assert {result.incomplete_reason for result in results} == {None}
    assert shard.state.streams["images"].histories[HOUR_MS].baseline_id == OTHER.baseline_id


def test_a_window_counted_under_two_baselines_is_incomplete_with_the_reason():
    # One replica did not know the schedule yet.
    shard = Shard(build_spec(baselines=scheduled(1)))
    shard.read(at(1), at(1), baseline=FIRST.key)
    shard.read(at(1, 1), at(2), at(3), baseline=OTHER.key)
    first, second = shard.commit()
    assert (first.verdict, first.incomplete_reason) == (Verdict.INCOMPLETE, "counted_otherwise")
    assert (first.baseline_id, first.counts.tolist(), first.missing) == (OTHER.baseline_id, [0, 0, 1, 0], ())
    assert (second.incomplete_reason, second.memory.recent) == (None, ())


def test_a_window_counted_under_a_baseline_that_is_not_in_force_is_incomplete_with_the_reason():
    shard = Shard(build_spec(baselines=scheduled(1)))
    shard.read(at(1, 2), baseline=FIRST.key)
    shard.read(at(2), at(3), baseline=OTHER.key)
    first, second = shard.commit()
    assert (first.baseline_id, first.counts.tolist()) == (FIRST.baseline_id, [0, 0, 1, 0])
    assert (first.verdict, first.incomplete_reason) == (Verdict.INCOMPLETE, "counted_otherwise")
    assert second.incomplete_reason is None
    assert shard.state.streams["images"].histories[HOUR_MS].end_ms == second.window.end_ms


def test_a_baseline_taken_off_the_schedule_leaves_its_windows_incomplete_or_opaque():
    shard = Shard(build_spec(baselines=scheduled(1), lateness_ms=10 * HOUR_MS))
    shard.read(at(0), baseline=FIRST.key)
    shard.read(at(1), at(1.5), baseline=OTHER.key)
    shard.commit()
    shard.restart(build_spec(lateness_ms=10 * HOUR_MS))
    results = ask(shard, at(1.7, 3), at(2))
    assert [
        (hour, result.incomplete_reason) for (hour, *_), result in zip(hours(results), results, strict=True)
    ] == [(1, "counted_otherwise")]
    assert results[0].counts.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("sizes_ms", [(2 * HOUR_MS,), (30 * MINUTE_MS,), (HOUR_MS, 30 * MINUTE_MS)])
def test_windows_over_panes_of_another_length_are_incomplete_with_the_reason(sizes_ms):
    shard = Shard(build_spec(sizes_ms=(HOUR_MS,)))
    shard.read(at(0), at(4.1))
    shard.commit()
    shard.restart(build_spec(sizes_ms=sizes_ms))
    results = ask(shard, at(4.2, 1), at(4.3, 1), at(6.1), at(8.5))
    reasons = {
        ((result.window.start_ms - MONDAY_MS) / HOUR_MS, result.window.size_ms): result.incomplete_reason
        for result in results
    }
    assert reasons[6, sizes_ms[-1]] is None
    for (start, size_ms), reason in reasons.items():
        if start == 4:
            # Of the events at 4.1 h nobody knows in which half hour they were.
            assert reason == "counted_otherwise", (start, size_ms)
    assert any(start == 4 for start, _ in reasons)


def test_other_segments_make_the_windows_concerned_incomplete():
    part = SegmentReference("country", "other", FIRST.counts, np.zeros(2), np.eye(2))
    reference = replace(FIRST, segments=(part,))
    shard = Shard(build_spec(reference=reference))
    ask(shard, at(0))
    shard.restart(build_spec(reference=reference, alarm=replace(ALARM, segment_keys=("country",))))
    results = ask(shard, at(0.5), at(1), at(2))
    assert [(result.count, result.incomplete_reason) for result in results] == [
        (1, "counted_otherwise"),
        (1, None),
    ]


def test_a_stream_that_is_not_configured_here_is_kept_and_read_when_it_is():
    specs = build_spec("images"), build_spec("texts")
    shard = Shard(*specs)
    shard.read(at(0), at(0.5), stream="texts")
    shard.write()
    shard.restart(specs[0])
    shard.apply()
    assert shard.close() == []
    shard.restart(*specs)
    assert [(r.stream, r.count) for r in ask(shard, at(1), stream="texts")] == [("texts", 2)]


def test_what_is_of_no_known_stream_is_forgotten_after_the_partials_are():
    specs = build_spec("images"), build_spec("texts")
    shard = Shard(*specs)
    shard.read(at(0), stream="texts")
    shard.write()
    shard.restart(specs[0])
    shard.apply()
    shard.close()
    shard.now_ms += 7 * DAY_MS
    shard.commit()
    assert [key for key in shard.kept if key.startswith(b"pane")] != []
    shard.commit(after_ms=2 * HOUR_MS)
    assert [key for key in shard.kept if key.startswith(b"pane")] == []


def test_what_is_of_an_unknown_scheme_goes_with_the_windows_that_it_lies_in():
    shard = Shard(build_spec(baselines=scheduled(1)))
    shard.read(at(0), baseline=OTHER.key)
    shard.write()
    shard.restart(build_spec())
    shard.apply()
    ask(shard, at(0), at(2))
    assert len(shard.state.streams["images"].pane_starts()) == 1


# Work in one round


def rich_spec(**changes):
    return build_spec(**{"reference": RICH, **changes})


def read_hours(shard, *windows, last):
    """Let hours have these counts, and be passed."""
    events = [
        at(hour, cluster)
        for hour, counts in enumerate(windows)
        for cluster in range(CLUSTERS)
        for _ in range(counts[cluster])
    ]
    shard.read(*events, at(last), baseline=RICH.key)


@pytest.mark.parametrize("restarts", [(), (1,), (2,), (1, 2, 3)])
def test_a_restart_between_the_windows_of_a_drift_changes_nothing(restarts):
    whole, broken = Shard(rich_spec()), Shard(rich_spec())
    verdicts = []
    for number, counts in enumerate((MOVED, QUIET, MOVED, QUIET)):
        if number in restarts:
            broken.restart()
        seen = []
        for shard in (whole, broken):
            rows = [at(number, cluster) for cluster in range(CLUSTERS) for _ in range(counts[cluster])]
            shard.read(*rows, baseline=RICH.key)
            shard.read(at(number + 1), baseline=RICH.key)
            seen.append(shard.commit())
        ((expected,), (result,)) = seen
        assert plain(result) == plain(expected)
        verdicts.append(result.verdict)
        assert status(whole).alarms == ({HOUR_MS} if result.verdict is Verdict.DRIFT else frozenset())
    assert verdicts == [Verdict.WARNING, Verdict.OK, Verdict.DRIFT, Verdict.OK]


@pytest.mark.parametrize(
    ("few", "besides", "segment_keys", "work", "a_round"),
    [
        (3, 0, (), 4 * CLUSTERS, 4),
        (3, 0, (), 4 * CLUSTERS - 1, 3),
        (3, 0, ("country",), 4 * CLUSTERS, 2),
        (3, CLUSTERS, (), 4 * CLUSTERS, 2),
        (3, 0, ("country",), 1, 1),
        # As if these were few: each takes as long as of 300.
        (CLUSTERS, 0, (), 2 * 300, 2),
    ],
)
def test_a_round_does_so_much_work_and_the_next_goes_on(
    monkeypatch, few, besides, segment_keys, work, a_round
):
    monkeypatch.setattr(work_budget, "_FEW_CLUSTERS", few)
    monkeypatch.setattr(work_budget, "_WORK_BESIDES_CLUSTERS", besides)
    part = SegmentReference("country", "other", RICH.counts, np.zeros(2), np.eye(2))
    reference = replace(RICH, segments=(part,))
    windows = (MOVED, QUIET, MOVED, QUIET)
    alarm = replace(ALARM, segment_keys=segment_keys)
    at_once = Shard(rich_spec(reference=reference, alarm=alarm))
    read_hours(at_once, *windows, last=400)
    expected = at_once.commit()
    monkeypatch.setattr(work_budget, "_MAX_WORK", work)
    by_rounds = Shard(rich_spec(reference=reference, alarm=alarm))
    read_hours(by_rounds, *windows, last=400)
    found = []
    while results := by_rounds.commit() if not found else by_rounds.close():
        assert len(results) == min(a_round, 4 - len(found))
        found += results
        if len(found) < 4:
            assert status(by_rounds).final_ms <= results[-1].window.end_ms
    assert [plain(result) for result in found] == [plain(result) for result in expected]
    assert status(by_rounds).final_ms == status(at_once).final_ms == MONDAY_MS + 399 * HOUR_MS


def test_the_streams_of_a_shard_share_the_work_of_a_round(monkeypatch):
    specs = [build_spec(name) for name in ("images", "sounds", "texts")]
    shards = Shard(*specs), Shard(*specs)
    for shard in shards:
        for spec in specs:
            shard.read(*[at(hour) for hour in range(4)], at(50), stream=spec.name)
    expected = shards[0].commit()
    assert len(expected) == 12
    work = shards[0].state._closer("images")._work
    monkeypatch.setattr(work_budget, "_MAX_WORK", 5 * work)
    rounds = [shards[1].commit()]
    while results := shards[1].close():
        rounds.append(results)
    assert [len(results) for results in rounds] == [5, 5, 2]
    found = [result for results in rounds for result in results]
    assert sorted(str(plain(result)) for result in found) == sorted(str(plain(result)) for result in expected)
    assert {shards[1].status(spec.name).final_ms for spec in specs} == {MONDAY_MS + 49 * HOUR_MS}
