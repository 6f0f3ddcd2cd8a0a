"""Windows counted under several baselines, pane lengths, segment keys or unknown streams."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.partial import PaneDelta
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.window import Window
from tests.builders.batches import HOME, at
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.references import FIRST, OTHER
from tests.builders.specs import build_schedule, build_spec
from tests.core.shard import Shard, read_and_commit


def scheduled(from_hour):
    return build_schedule((MONDAY_MS + from_hour * HOUR_MS, OTHER))


def test_baseline_changes_at_scheduled_time():
    shard = Shard(build_spec(baselines=scheduled(2)))
    shard.read(at(0), at(1), at(1.5, 1), baseline=FIRST.key)
    # The other baseline assigns event 0 to cluster 1.
    results = read_and_commit(shard, at(2), at(2.5, 1), at(4), baseline=OTHER.key)
    assert [(result.baseline_id, result.counts.tolist()) for result in results] == [
        (FIRST.baseline_id, [1, 0, 0, 0]),
        (FIRST.baseline_id, [1, 1, 0, 0]),
        (OTHER.baseline_id, [0, 1, 1, 0]),
    ]
    assert {result.incomplete_reason for result in results} == {None}
    assert shard.state.streams["images"].histories.keys() == {(HOUR_MS, each.key) for each in (FIRST, OTHER)}


def test_window_counted_under_two_baselines_is_incomplete():
    # One replica has the old schedule.
    shard = Shard(build_spec(baselines=scheduled(1)))
    shard.read(at(1), at(1), baseline=FIRST.key)
    first, second = read_and_commit(shard, at(1, 1), at(2), at(3), baseline=OTHER.key)
    assert (first.verdict, first.incomplete_reason) == (Verdict.INCOMPLETE, "counted_otherwise")
    assert (first.baseline_id, first.counts.tolist(), first.missing) == (OTHER.baseline_id, [0, 0, 1, 0], ())
    assert (second.incomplete_reason, second.memory.recent) == (None, ())


@pytest.mark.parametrize("sizes_ms", [(2 * HOUR_MS,), (30 * MINUTE_MS,), (HOUR_MS, 30 * MINUTE_MS)])
def test_window_over_panes_of_other_length_is_incomplete(sizes_ms):
    shard = Shard(build_spec(sizes_ms=(HOUR_MS,)))
    read_and_commit(shard, at(0), at(4.1))
    shard.restart(build_spec(sizes_ms=sizes_ms))
    results = read_and_commit(shard, at(4.2, 1), at(4.3, 1), at(6.1), at(8.5))
    reasons = {
        ((result.window.start_ms - MONDAY_MS) / HOUR_MS, result.window.size_ms): result.incomplete_reason
        for result in results
    }
    assert reasons[6, sizes_ms[-1]] is None
    for (start, size_ms), reason in reasons.items():
        if start == 4:
            # The half hour of the events at 4.1 h is unknown.
            assert reason == "counted_otherwise", (start, size_ms)
    assert any(start == 4 for start, _ in reasons)


@pytest.mark.parametrize(("pane_ms", "later"), [(1, None), (10**10, "counted_otherwise")])
def test_pane_of_another_program_concerns_windows_with_own_panes(pane_ms, later):
    shard = Shard(build_spec(lateness_ms=10 * HOUR_MS))
    assert len(read_and_commit(shard, at(0), at(1.5))) == 1
    scheme = replace(shard.specs[0].scheme(FIRST), pane_ms=pane_ms)
    pane = Window.around(MONDAY_MS + HOUR_MS - 1, pane_ms)
    values = np.ones(scheme.length, np.int64)
    shard.state.streams["images"].add_pane(
        PaneDelta("images", scheme, pane.start_ms, None, values, 1, (HOME, 0))
    )
    (revised,) = shard.close()
    assert (revised.revision, revised.incomplete_reason) == (1, "counted_otherwise")
    assert len(shard.state._closer("images")._pending) <= 2
    (result,) = read_and_commit(shard, at(3))
    assert (result.window.start_ms, result.incomplete_reason) == (MONDAY_MS + HOUR_MS, later)


@pytest.mark.parametrize("changes", [{"sizes_ms": (30 * MINUTE_MS,)}, {"baselines": scheduled(0)[1:]}])
def test_window_wholly_counted_otherwise_is_incomplete_unless_published_before(changes):
    spec = build_spec(lateness_ms=10 * HOUR_MS)
    shard = Shard(spec)
    read_and_commit(shard, at(0), at(1.7), baseline=FIRST.key)
    shard.restart(replace(spec, **changes))
    baseline = shard.specs[0].baselines[0].reference.key
    results = read_and_commit(shard, at(3), baseline=baseline)
    found = [((result.window.end_ms - MONDAY_MS) / HOUR_MS, result.count) for result in results]
    # A window of another size is new.
    assert found == ([(0.5, 0), (1, 0), (1.5, 0), (2, 0)] if "sizes_ms" in changes else [(2, 0)])
    assert {result.incomplete_reason for result in results} == {"counted_otherwise"}


@pytest.mark.parametrize(
    "changes", [{"sizes_ms": (HOUR_MS, 30 * MINUTE_MS)}, {"baselines": scheduled(0)[1:]}]
)
def test_published_window_whose_later_events_were_counted_otherwise_is_incomplete(changes):
    spec = build_spec(lateness_ms=10 * HOUR_MS)
    shard = Shard(spec)
    read_and_commit(shard, at(0.7), at(1.7), at(3))
    shard.read(at(0.8))
    shard.write()
    shard.restart(replace(spec, **changes))
    baseline = shard.specs[0].baselines[0].reference.key
    results = read_and_commit(shard, at(3.7), baseline=baseline)
    found = [
        (result.window.start_ms - MONDAY_MS, result.revision, result.incomplete_reason)
        for result in results
        if result.window.size_ms == HOUR_MS
    ]
    assert found == [(0, 1, "counted_otherwise")]
    shard.restart()
    assert read_and_commit(shard, at(3.7), baseline=baseline) == []
    shard.restart(spec)
    revised = next(result for result in read_and_commit(shard, at(3.7)) if result.revision == 2)
    assert (revised.count, revised.incomplete_reason) == (2, None)


@pytest.mark.parametrize("pattern", ["images", "im*"])
def test_histories_go_with_last_window_that_needs_them(pattern):
    """That of a baseline stays for a month after its last window, listed or not."""
    newer = build_spec(pattern, baselines=scheduled(2), lateness_ms=3 * HOUR_MS)
    shard = Shard(newer)
    read_and_commit(shard, at(0), at(1), baseline=FIRST.key)
    read_and_commit(shard, at(2), at(3), at(4), baseline=OTHER.key)

    def held():
        return {baseline for _, baseline in shard.state.streams["images"].histories}

    assert held() == {FIRST.key, OTHER.key}
    # The new baseline may be taken back, as by a replica with the configuration before.
    shard.restart(build_spec(pattern, lateness_ms=0))
    read_and_commit(shard, at(24), at(25))
    assert held() == {FIRST.key, OTHER.key}
    shard.restart(newer)
    read_and_commit(shard, at(24 * 30), baseline=OTHER.key)
    assert held() == {FIRST.key, OTHER.key}
    read_and_commit(shard, at(24 * 31), baseline=OTHER.key)
    assert held() == {OTHER.key}
    shard.restart(build_spec(pattern, lateness_ms=0))
    read_and_commit(shard, at(24 * 62), at(24 * 62 + 1))
    assert held() == {FIRST.key}


@pytest.mark.parametrize("hour", [pytest.param(3, id="moves"), pytest.param(2, id="stands-still")])
def test_size_that_former_owner_did_not_have_is_incomplete(hour):
    """Its panes go with the horizon of the sizes that the former owner has, whether that moves or not."""
    hourly, both = build_spec(lateness_ms=0), build_spec(lateness_ms=0, sizes_ms=(HOUR_MS, DAY_MS))
    shard = Shard(both)
    read_and_commit(shard, at(1), at(2))
    for spec in (hourly, both):
        shard.restart(spec)
        read_and_commit(shard, at(hour if spec is hourly else 6))
    results = read_and_commit(shard, at(25), at(49))
    first, second = (each for each in results if each.window.size_ms == DAY_MS)
    assert (first.verdict, first.incomplete_reason) == (Verdict.INCOMPLETE, "panes_purged")
    assert first.count < 4
    assert (second.verdict, second.count) == (Verdict.OK, 1)
    assert {each.incomplete_reason for each in results if each.window.size_ms == HOUR_MS} == {None}
