"""Partitions that no count task can read: given up, missing, and back."""

import pytest

from driftgauge.core.judging.verdict import Verdict
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS, SECOND_MS
from tests.builders.references import FIRST
from tests.builders.results import summarize_minutes
from tests.builders.specs import INCOMPLETE_MS, build_minute_spec
from tests.core.shard import EVENTS, STEP_MS, Shard, read_now, run_for


def test_partition_unread_for_hours_delays_only_its_streams():
    specs = build_minute_spec("images", idle_ms=MINUTE_MS), build_minute_spec("texts", idle_ms=MINUTE_MS)
    shard = Shard(*specs, topics=(EVENTS, "others"), partitions=2)
    both = [(EVENTS, 0), (EVENTS, 1)]
    step_ms = 30 * SECOND_MS
    results, largest = [], 0

    def step(*speaking, **how):
        for at in speaking:
            read_now(shard, at, stream="images")
        for at in (("others", 0), ("others", 1)):
            read_now(shard, at, stream="texts")
        shard.now_ms += step_ms
        return shard.commit(caught_up=True, **how)

    for _ in range(30):
        results += step(*both)
    begun_ms = shard.now_ms
    for _ in range(4 * HOUR_MS // step_ms):
        results += step(both[0], unread=[both[1]])
        largest = max(largest, len(shard.changelog))
    texts = [result for result in results if result.stream == "texts"]
    assert len(texts) == (shard.now_ms - MONDAY_MS) // MINUTE_MS - 1
    assert {(result.revision, result.verdict is Verdict.INCOMPLETE) for result in texts} == {(0, False)}
    assert max(result.published_ms - result.window.end_ms for result in texts) <= MINUTE_MS
    images = [result for result in results if result.stream == "images"]
    complete = [result for result in images if result.verdict is not Verdict.INCOMPLETE]
    incomplete = [result for result in images if result.verdict is Verdict.INCOMPLETE]
    assert {result.missing for result in incomplete} == {(both[1],)}
    assert all(result.published_ms < begun_ms + HOUR_MS + MINUTE_MS for result in incomplete)
    given_up = [result for result in complete if result.missing]
    assert {result.missing for result in given_up} == {(both[1],)}
    after = [result for result in given_up if result.window.start_ms > begun_ms + HOUR_MS]
    assert len(after) > 170
    assert max(result.published_ms - result.window.end_ms for result in after) <= MINUTE_MS
    history = shard.state.streams["images"].histories[MINUTE_MS, FIRST.key]
    assert history.end_ms == images[-1].window.end_ms
    # Four hours have 240 panes; the state holds only those of an hour of waiting.
    assert largest < 2 * (60 + 10 + 10) + 40
    assert len(shard.changelog) < 60
    # The partition returns, and holds windows again once it has caught up.
    shard.read(*[(begun_ms + each * MINUTE_MS, 1) for each in range(200)], partition=both[1])
    late_before = shard.late["images", MINUTE_MS]
    results = step(both[0])
    assert [result.missing for result in results if result.stream == "images"] in ([], [(both[1],)])
    assert shard.late["images", MINUTE_MS] - late_before == 200
    for _ in range(6):
        results = step(*both)
    assert shard.status().given_up == frozenset()
    results = []
    for _ in range(6):
        results += step(both[0], unread=[both[1]])
    assert len([result for result in results if result.stream == "images"]) <= 1


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


def test_restarts_do_not_restart_waits():
    results = {}
    for is_restarted in (False, True):
        shard = Shard(build_minute_spec(give_up_ms=30 * MINUTE_MS), partitions=3)
        read_now(shard, 0, 1, 2)
        seen = []
        for step in range(HOUR_MS // STEP_MS):
            shard.now_ms += STEP_MS
            read_now(shard, 0)
            # Partition 1 becomes idle, and partition 2 unreadable after ten minutes.
            seen += shard.commit(caught_up=True, unread=(2,) if step > 120 else ())
            if is_restarted and step % 10 == 9:
                shard.restart()
        results[is_restarted] = [(each.published_ms, *summarize_minutes([each])[0]) for each in seen]
    assert results[True] == results[False]
    assert {minute for _, minute, *_ in results[True]} == set(range(60))


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
