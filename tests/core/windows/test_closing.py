"""Closing of windows: due, late, final; purging; the work budget of a round."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core import commit_limit
from driftgauge.core.reference import SegmentReference
from driftgauge.core.window import Window
from driftgauge.core.windows import work_budget
from tests.builders.batches import at
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.references import CLUSTERS, FIRST, RICH, build_segment_arrays
from tests.builders.results import plain, summarize_counts, summarize_hours
from tests.builders.specs import ALARM, build_minute_spec, build_spec
from tests.core.judging.judged_stream import MOVED, QUIET
from tests.core.shard import EVENTS, Shard, read_and_commit, read_now, run_for


def test_window_closes_when_all_partitions_passed_its_end():
    shard = Shard(build_spec(), partitions=2)
    assert read_and_commit(shard, at(0), at(0.5, 1), at(1)) == []
    assert read_and_commit(shard, (MONDAY_MS + HOUR_MS - 1, 2), partition=1) == []
    (result,) = read_and_commit(shard, at(1), partition=1)
    assert (result.stream, result.window, result.revision) == ("images", Window(HOUR_MS, MONDAY_MS), 0)
    assert (result.counts.tolist(), result.missing, result.events_lost) == ([1, 1, 1, 0], (), False)
    assert (result.baseline_id, result.published_ms) == (FIRST.baseline_id, shard.now_ms)
    np.testing.assert_array_equal(result.baseline_counts, FIRST.counts)
    assert shard.commit() == []


def test_windows_close_by_end_then_by_size():
    shard = Shard(build_spec(sizes_ms=(HOUR_MS, DAY_MS)))
    results = read_and_commit(shard, at(23), at(0), at(24), at(48))
    assert [(r.window.size_ms, (r.window.start_ms - MONDAY_MS) // HOUR_MS) for r in results] == [
        (HOUR_MS, 0),
        (HOUR_MS, 23),
        (DAY_MS, 0),
        (HOUR_MS, 24),
        (DAY_MS, 24),
    ]


def test_event_before_purge_horizon_is_late():
    shard = Shard(build_spec(lateness_ms=10 * MINUTE_MS, sizes_ms=(MINUTE_MS,)))
    read_and_commit(shard, at(0), (MONDAY_MS + 11 * MINUTE_MS - 1, 0))
    assert len(read_and_commit(shard, at(0, 1))) == 1
    read_and_commit(shard, (MONDAY_MS + 11 * MINUTE_MS, 0))
    results = read_and_commit(shard, at(0, 1), at(0, 1), (MONDAY_MS + MINUTE_MS, 1))
    assert [result.window.start_ms for result in results] == [MONDAY_MS + MINUTE_MS]
    assert shard.late == {("images", MINUTE_MS): 2}


def test_late_events_are_reported_with_first_offset():
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
    assert shard.status().late == {HOUR_MS: 3}


def test_event_late_for_hour_is_counted_in_day():
    shard = Shard(build_spec(sizes_ms=(HOUR_MS, DAY_MS)))
    assert summarize_hours(read_and_commit(shard, at(0), at(2))) == [(0, 0, 1)]
    assert read_and_commit(shard, at(0.5)) == []
    assert shard.late == {("images", HOUR_MS): 1}
    assert summarize_counts(read_and_commit(shard, at(24))) == [
        (HOUR_MS, MONDAY_MS + 2 * HOUR_MS, 0, (1, 0, 0, 0)),
        (DAY_MS, MONDAY_MS, 0, (3, 0, 0, 0)),
    ]


def test_final_results_and_panes_are_deleted_in_portions(monkeypatch):
    monkeypatch.setattr(work_budget, "ENTRY_BYTES", commit_limit.MAX_COMMIT_BYTES // 4 // 3)
    shard = Shard(build_spec(sizes_ms=(MINUTE_MS,), lateness_ms=0))
    read_and_commit(shard, *[(MONDAY_MS + minute * MINUTE_MS, 0) for minute in range(10)])
    shard.read((MONDAY_MS + DAY_MS, 0))

    def kept():
        return {key for key in shard.changelog if key.startswith((b'["pane"', b'["published"'))}

    before = kept()
    for _ in range(8):
        shard.commit()
        assert len(before - kept()) <= 3
        before = kept()
    # The last pane is open, and the newest result stays.
    assert sorted(key[:7] for key in before) == [b'["pane"', b'["publi']


def test_restart_revises_no_complete_window_for_new_partition():
    shard = Shard(build_minute_spec(idle_ms=10 * MINUTE_MS, incomplete_ms=MINUTE_MS, lateness_ms=HOUR_MS))
    read_now(shard, 0)
    (complete,) = run_for(shard, 12 * MINUTE_MS)
    shard.sizes[EVENTS] = 2
    read_now(shard, 0)
    assert (complete.incomplete_reason, run_for(shard, 3 * MINUTE_MS)) == (None, [])
    # The new partition is not idle yet, so it is awaited.
    shard.restart()
    assert shard.commit() == []


def read_hours(shard, *windows, last):
    """Read hours with these counts, and an event after them."""
    events = [
        at(hour, cluster)
        for hour, counts in enumerate(windows)
        for cluster in range(CLUSTERS)
        for _ in range(counts[cluster])
    ]
    shard.read(*events, at(last), baseline=RICH.key)


@pytest.mark.parametrize(
    ("besides", "segment_keys", "work", "a_round"),
    [
        (0, (), 4 * CLUSTERS, 4),
        (0, (), 4 * CLUSTERS - 1, 3),
        (0, ("country",), 4 * CLUSTERS, 2),
        (CLUSTERS, (), 4 * CLUSTERS, 2),
        (0, ("country",), 1, 1),
    ],
)
def test_round_stops_at_work_budget_and_next_continues(monkeypatch, besides, segment_keys, work, a_round):
    monkeypatch.setattr(work_budget, "_WORK_BESIDES_CLUSTERS", besides)
    part = SegmentReference("country", "other", RICH.counts, np.zeros(2), np.eye(2), build_segment_arrays())
    reference = replace(RICH, segments=(part,))
    windows = (MOVED, QUIET, MOVED, QUIET)
    alarm = replace(ALARM, segment_keys=segment_keys)
    at_once = Shard(build_spec(reference=reference, alarm=alarm))
    read_hours(at_once, *windows, last=400)
    expected = at_once.commit()
    monkeypatch.setattr(work_budget, "_MAX_WORK", work)
    by_rounds = Shard(build_spec(reference=reference, alarm=alarm))
    read_hours(by_rounds, *windows, last=400)
    found = []
    while results := by_rounds.commit() if not found else by_rounds.close():
        assert len(results) == min(a_round, 4 - len(found))
        found += results
        if len(found) < 4:
            assert by_rounds.status().final_ms <= results[-1].window.end_ms
    assert [plain(result) for result in found] == [plain(result) for result in expected]
    assert by_rounds.status().final_ms == at_once.status().final_ms == MONDAY_MS + 399 * HOUR_MS


def test_streams_share_work_budget_of_round(monkeypatch):
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
