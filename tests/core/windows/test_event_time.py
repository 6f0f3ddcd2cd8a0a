"""Event time of a stream in its shard: watermark, idle partitions, silence, partitions that nobody reads."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.judging.verdict import Verdict
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS, SECOND_MS
from tests.builders.references import FIRST
from tests.builders.results import plain, summarize_minutes
from tests.builders.specs import INCOMPLETE_MS, build_minute_spec
from tests.core.shard import EVENTS, STEP_MS, Shard, read_and_commit, read_now, run_for
from tests.examples import examples


def test_event_far_ahead_closes_nothing_early():
    shard = Shard(build_minute_spec(disorder_ms=30 * SECOND_MS))
    results = []
    for second in range(600):
        now_ms = shard.now_ms = MONDAY_MS + second * SECOND_MS
        times = [now_ms, now_ms + 500] if second != 200 else [now_ms, now_ms + 299 * SECOND_MS]
        # The reader's clock limits how far an event ahead of it moves the watermark.
        shard.read(*[(time_ms, 0) for time_ms in times], credible_ms=[min(time, now_ms) for time in times])
        results += shard.commit(caught_up=True)
    assert summarize_minutes(results) == [
        (minute, 0, {3: 119, 8: 121}.get(minute, 120), ()) for minute in range(9)
    ]
    assert shard.late.total() == 0


def test_watermark_is_least_partition_time_less_disorder():
    shard = Shard(build_minute_spec(disorder_ms=7_000), partitions=2)
    read_and_commit(shard, (MONDAY_MS + 90_000, 0), partition=0)
    assert shard.status().watermark_ms is None
    read_and_commit(shard, (MONDAY_MS + 60_000, 0), (MONDAY_MS + 50_000, 0), partition=1)
    assert shard.status().watermark_ms == MONDAY_MS + 53_000


def test_caught_up_quiet_partition_becomes_idle():
    shard = Shard(build_minute_spec(), partitions=2)
    read_now(shard, 0, 1)
    results = run_for(shard, 85 * SECOND_MS, 0)
    assert summarize_minutes(results) == [(0, 0, 14, ())]
    assert results[0].published_ms == MONDAY_MS + MINUTE_MS
    shard = Shard(build_minute_spec(idle_ms=2 * MINUTE_MS), partitions=2)
    read_now(shard, 0, 1)
    results = run_for(shard, 3 * MINUTE_MS, 0)
    assert [result.published_ms for result in results] == [MONDAY_MS + 2 * MINUTE_MS] * 2


def test_unreadable_idle_partition_holds_watermark():
    shard = Shard(build_minute_spec(incomplete_ms=20 * MINUTE_MS), partitions=2)
    read_now(shard, 0, 1)
    assert len(run_for(shard, 3 * MINUTE_MS, 0)) == 2
    assert run_for(shard, 5 * MINUTE_MS, 0, unread=(1,)) == []
    # Its backlog is read: no event is late, and each is counted in its minute.
    for minute in (3, 4, 5):
        shard.read((MONDAY_MS + minute * MINUTE_MS, 1), partition=1)
    read_now(shard, 0)
    results = shard.commit(caught_up=(0,))
    assert summarize_minutes(results)[:3] == [(2, 0, 12, ()), (3, 0, 13, ()), (4, 0, 13, ())]
    assert shard.late.total() == 0
    results = run_for(shard, 2 * MINUTE_MS, 0)
    assert summarize_minutes(results)[:2] == [(5, 0, 13, ()), (6, 0, 12, ())]


def test_silence_closes_only_up_to_time_read_everywhere():
    shard = Shard(build_minute_spec(), partitions=2)
    read_now(shard, 0, 1)
    results = []
    for _ in range(30):
        shard.now_ms += STEP_MS
        # Partition 1 is read up to 50 s.
        results += shard.commit(caught_up=(0, 1) if shard.now_ms <= MONDAY_MS + 50_000 else (0,))
    assert results == []
    assert shard.commit(caught_up_ms=MONDAY_MS + MINUTE_MS - 1) == []
    assert summarize_minutes(shard.commit(caught_up_ms=MONDAY_MS + MINUTE_MS)) == [(0, 0, 2, ())]


def test_silence_is_measured_in_log_time():
    shard = Shard(build_minute_spec())
    read_now(shard, 0)
    for _ in range(30):
        shard.write(caught_up=True)
        shard.now_ms += STEP_MS
    # Everything is read at once, much later: each round closes by the applied log time alone.
    log, shard.log = shard.log, []
    results = []
    for entry in log:
        shard.log.append(entry)
        shard.apply()
        results += shard.close()
    assert summarize_minutes(results) == [(0, 0, 1, ())]
    assert results[0].published_ms == MONDAY_MS + MINUTE_MS


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


PLAN = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 25, 25, 29, 29]),  # seconds; longer steps would be pauses
        st.sets(st.tuples(st.sampled_from(["images", "texts"]), st.integers(0, 1)), max_size=2),
        st.sampled_from([0, 0, 0, 40, 400, 900]),  # age of the events in seconds
        st.sampled_from([(0, 1), (0, 1), (0, 1), (0,), ()]),  # caught-up partitions
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=examples(12))
@given(PLAN, st.sampled_from([(), (1,)]), st.integers(0, 20), st.integers(10, 40))
def test_skipped_rounds_change_nothing(plan, unread, first, number):
    kept = []
    for is_skipped in (True, False):
        specs = [
            build_minute_spec(
                name, sizes_ms=(MINUTE_MS, 5 * MINUTE_MS), incomplete_ms=MINUTE_MS, give_up_ms=3 * MINUTE_MS
            )
            for name in ("images", "texts")
        ]
        shard = Shard(*specs, partitions=2)
        seen = []
        for step, (seconds, speaking, old_s, caught_up) in enumerate(plan):
            shard.now_ms += seconds * SECOND_MS
            missing = unread if first <= step < first + number else ()
            for stream, partition in sorted(speaking):
                if partition not in missing:
                    read_now(shard, partition, stream=stream, behind_ms=old_s * SECOND_MS)
            shard.write(caught_up=caught_up, unread=missing)
            shard.apply()
            if not is_skipped:
                for state in shard.state.streams.values():
                    state.has_changed = True
            seen.append(([plain(result) for result in shard.close()], dict(shard.changelog)))
        kept.append(seen)
    assert kept[0] == kept[1]


def test_loss_of_silent_stream_ends():
    shard = Shard(build_minute_spec())
    read_now(shard, 0)
    shard.commit()
    shard.commit(lost=2)
    assert [each.to_ms for each in shard.status().losses] == [None]
    run_for(shard, 10 * MINUTE_MS)
    assert [each.to_ms is None for each in shard.status().losses] == [False]
