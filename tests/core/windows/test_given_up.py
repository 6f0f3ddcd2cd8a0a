"""Partitions that no count task can read: given up, missing, and back."""

import pytest

from driftgauge.core.judging.verdict import Verdict
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS, SECOND_MS
from tests.builders.references import FIRST
from tests.builders.results import summarize_minutes
from tests.builders.specs import INCOMPLETE_MS, build_minute_spec
from tests.core.shard import EVENTS, STEP_MS, Shard, read_now, run_for


def test_unread_partition_delays_only_its_streams_until_it_is_given_up():
    idle = {"idle_ms": MINUTE_MS, "give_up_ms": 20 * MINUTE_MS}
    specs = build_minute_spec("images", **idle), build_minute_spec("texts", **idle)
    shard = Shard(*specs, topics=(EVENTS, "others"))
    shard.sizes[EVENTS] = 2
    read_now(shard, 1, stream="images")
    results = []
    for step in range(120):
        read_now(shard, 0, stream="images")
        read_now(shard, ("others", 0), stream="texts")
        results += shard.commit(caught_up=True, unread=[1] if step else [], after_ms=30 * SECOND_MS)
        # Kept are the panes and results of 20 minutes of waiting, and of those that events may come late for.
        assert len(shard.changelog) < 2 * (20 + 10 + 10) + 40
    assert len(shard.changelog) < 60
    texts, images = ([each for each in results if each.stream == name] for name in ("texts", "images"))
    assert [(each.count, each.missing, each.revision) for each in texts] == [(2, (), 0)] * 59
    assert max(each.published_ms - each.window.end_ms for each in texts) <= MINUTE_MS
    assert {each.missing for each in images if each.window.start_ms > MONDAY_MS} == {((EVENTS, 1),)}
    after = [each for each in images if each.window.start_ms > MONDAY_MS + 20 * MINUTE_MS]
    assert {each.verdict is Verdict.INCOMPLETE for each in after} == {False}
    assert max(each.published_ms - each.window.end_ms for each in after) <= MINUTE_MS
    history = shard.state.streams["images"].histories[MINUTE_MS, FIRST.key]
    assert history.end_ms == images[-1].window.end_ms


def test_given_up_idle_partition_returns_when_caught_up():
    shard = Shard(build_minute_spec(give_up_ms=20 * MINUTE_MS), partitions=2)
    read_now(shard, 0, 1)
    run_for(shard, 3 * MINUTE_MS, 0)
    run_for(shard, 21 * MINUTE_MS, 0, unread=(1,))
    results = run_for(shard, 10 * MINUTE_MS, 0, unread=(1,))
    assert {(result.verdict is Verdict.INCOMPLETE, result.missing) for result in results} == {
        (False, ((EVENTS, 1),))
    }
    # The partition is readable again; while it is behind, it holds no window.
    read_now(shard, 0)
    shard.read((shard.now_ms - 50 * MINUTE_MS, 1), partition=1)
    shard.commit(caught_up=(0,))
    assert shard.status().given_up == {(EVENTS, 1)}
    results = run_for(shard, 2 * MINUTE_MS, 0)
    assert shard.status().given_up == frozenset()
    assert results[-1].missing == ()


def test_unreported_partition_holds_watermark_for_incomplete_ms():
    shard = Shard(build_minute_spec(), partitions=2)
    results = run_for(shard, INCOMPLETE_MS, 0, unread=(1,))
    assert results == []
    results = run_for(shard, 2 * MINUTE_MS, 0, unread=(1,))
    assert summarize_minutes(results)[:5] == [(minute, 0, 12, (1,)) for minute in range(5)]
    assert {result.verdict is Verdict.INCOMPLETE for result in results} == {False}


@pytest.mark.parametrize("is_restarted", [False, True])
def test_pause_of_all_count_tasks_is_not_waited(is_restarted):
    shard = Shard(build_minute_spec(), partitions=2)
    read_now(shard, 0, 1)
    run_for(shard, MINUTE_MS + STEP_MS, 0, 1)
    stopped_ms = shard.now_ms
    shard.now_ms += 3 * HOUR_MS
    if is_restarted:
        shard.restart()
    # The first replica restarts before the second.
    for _ in range(6):
        shard.read(*[(stopped_ms + minute * MINUTE_MS, 0) for minute in range(60)], partition=0)
        assert shard.commit(unread=(1,), after_ms=STEP_MS) == []
    assert shard.status().given_up == frozenset()
    shard.read(*[(stopped_ms + minute * MINUTE_MS, 0) for minute in range(60)], partition=1)
    results = shard.commit(after_ms=STEP_MS)
    assert {result.missing for result in results} == {()}
    assert shard.late.total() == 0
