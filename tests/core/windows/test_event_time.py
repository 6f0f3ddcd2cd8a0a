"""Event time of a stream in its shard: watermark, idle partitions, those that nobody can read."""

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from driftgauge.core.windows.changelog import BLOCK
from driftgauge.core.windows.result import Verdict
from tests.core.builders import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS, SECOND_MS, build_spec, plain
from tests.core.shard import EVENTS, Shard
from tests.examples import examples

IDLE_MS = 30 * SECOND_MS
INCOMPLETE_MS = 5 * MINUTE_MS
STEP_MS = 5 * SECOND_MS


def minutely(name="images", **changes):
    """A stream by the minute with the timeouts that it has unless configured."""
    fields = {
        "sizes_ms": (MINUTE_MS,),
        "disorder_ms": 0,
        "lateness_ms": 10 * MINUTE_MS,
        "idle_ms": IDLE_MS,
        "incomplete_ms": INCOMPLETE_MS,
        "give_up_ms": HOUR_MS,
    }
    return build_spec(name, **{**fields, **changes})


def minutes(results, stream="images"):
    """(minute since Monday, revision, count, missing indexes) of each result of a stream."""
    return [
        (
            (result.window.start_ms - MONDAY_MS) // MINUTE_MS,
            result.revision,
            result.count,
            tuple(index for _, index in result.missing),
        )
        for result in results
        if result.stream == stream
    ]


def live(shard, *partitions, stream="images", behind_ms=0):
    """Read an event of this moment from each of the partitions."""
    for partition in partitions:
        shard.read((shard.now_ms - behind_ms, 0), stream=stream, partition=partition)


def run(shard, duration_ms, *speaking, step_ms=STEP_MS, **how):
    """Let time pass, with an event of each step on the partitions that speak; return the results."""
    results = []
    end_ms = shard.now_ms + duration_ms
    while shard.now_ms < end_ms:
        live(shard, *speaking)
        results += shard.commit(caught_up=True, **how)
        shard.now_ms += step_ms
    return results


# Credible time


def test_an_event_far_ahead_closes_nothing_early():
    shard = Shard(minutely(disorder_ms=30 * SECOND_MS))
    results = []
    for second in range(600):
        now_ms = shard.now_ms = MONDAY_MS + second * SECOND_MS
        times = [now_ms, now_ms + 500] if second != 200 else [now_ms, now_ms + 299 * SECOND_MS]
        # What is ahead of the reader's clock moves the watermark no further than that clock.
        shard.read(*[(time_ms, 0) for time_ms in times], credible_ms=[min(time, now_ms) for time in times])
        results += shard.commit(caught_up=True)
    assert minutes(results) == [(minute, 0, {3: 119, 8: 121}.get(minute, 120), ()) for minute in range(9)]
    assert shard.late.total() == 0


# Watermark


def test_the_watermark_is_the_least_of_what_partitions_have_reached_less_the_disorder():
    shard = Shard(minutely(disorder_ms=7_000), partitions=2)
    shard.read((MONDAY_MS + 90_000, 0), partition=0)
    shard.commit()
    assert shard.status().watermark_ms is None
    shard.read((MONDAY_MS + 60_000, 0), (MONDAY_MS + 50_000, 0), partition=1)
    shard.commit()
    assert shard.status().watermark_ms == MONDAY_MS + 53_000


def test_an_added_partition_is_waited_for_and_the_watermark_does_not_go_back():
    shard = Shard(minutely())
    live(shard, 0)
    shard.commit()
    shard.sizes[EVENTS] = 2
    assert minutes(run(shard, 2 * MINUTE_MS, 0, unread=(1,))) == []
    watermark_ms = shard.status().watermark_ms
    shard.read((MONDAY_MS, 0), partition=1)
    shard.commit()
    assert shard.status().watermark_ms == watermark_ms
    live(shard, 0, 1)
    assert minutes(shard.commit())[0] == (0, 0, 14, ())


def test_columns_of_many_partitions_are_kept_in_blocks():
    shard = Shard(minutely(), partitions=2 * BLOCK + 1)
    for index in range(2 * BLOCK + 1):
        shard.read((MONDAY_MS + index, 0), partition=index)
    shard.commit()
    shard.restart()
    assert shard.state.streams["images"].times[EVENTS][:, 0].tolist() == [
        MONDAY_MS + index for index in range(2 * BLOCK + 1)
    ]
    before = dict(shard.kept)
    shard.read((MONDAY_MS + 999, 0), partition=BLOCK)
    shard.commit(unread=[index for index in range(2 * BLOCK + 1) if index != BLOCK])
    changed = [key for key, value in shard.kept.items() if before.get(key) != value]
    assert len([key for key in changed if b"/0" in key or b"/2" in key]) == 0


# Idle


def test_a_quiet_partition_is_idle_once_it_was_caught_up_for_long_enough():
    shard = Shard(minutely(), partitions=2)
    live(shard, 0, 1)
    results = run(shard, 85 * SECOND_MS, 0)
    assert minutes(results) == [(0, 0, 14, ())]
    assert results[0].published_ms == MONDAY_MS + MINUTE_MS
    shard = Shard(minutely(idle_ms=2 * MINUTE_MS), partitions=2)
    live(shard, 0, 1)
    results = run(shard, 3 * MINUTE_MS, 0)
    assert [result.published_ms for result in results] == [MONDAY_MS + 2 * MINUTE_MS] * 2


def test_silence_alone_makes_no_partition_idle():
    shard = Shard(minutely(incomplete_ms=HOUR_MS), partitions=2)
    live(shard, 0, 1)
    results = []
    for _ in range(100):
        shard.now_ms += STEP_MS
        live(shard, 0)
        results += shard.commit(caught_up=(0,))
    assert results == []


def test_an_idle_partition_that_becomes_unreadable_holds_the_watermark():
    shard = Shard(minutely(incomplete_ms=20 * MINUTE_MS), partitions=2)
    live(shard, 0, 1)
    assert len(run(shard, 3 * MINUTE_MS, 0)) == 2
    assert run(shard, 5 * MINUTE_MS, 0, unread=(1,)) == []
    # Its backlog comes: none of it is late, and the minutes hold it.
    for minute in (3, 4, 5):
        shard.read((MONDAY_MS + minute * MINUTE_MS, 1), partition=1)
    live(shard, 0)
    results = shard.commit(caught_up=(0,))
    assert minutes(results)[:3] == [(2, 0, 12, ()), (3, 0, 13, ()), (4, 0, 13, ())]
    assert shard.late.total() == 0
    results = run(shard, 2 * MINUTE_MS, 0)
    assert minutes(results)[:2] == [(5, 0, 13, ()), (6, 0, 12, ())]


def test_an_idle_partition_that_speaks_again_behind_the_others_closes_nothing():
    shard = Shard(minutely(), partitions=2)
    live(shard, 0, 1)
    run(shard, 55 * SECOND_MS, 0)
    # The other passes the minute; before the idle one is caught up to that, an old event of it is read.
    shard.now_ms = MONDAY_MS + 65 * SECOND_MS
    live(shard, 0)
    assert shard.commit(caught_up=(0,)) == []
    shard.read((MONDAY_MS + 50 * SECOND_MS, 1), partition=1)
    assert shard.commit(caught_up=(0,), after_ms=1) == []
    shard.read((MONDAY_MS + 58 * SECOND_MS, 1), partition=1)
    assert shard.commit(caught_up=(0,), after_ms=1) == []
    shard.read((MONDAY_MS + 61 * SECOND_MS, 1), partition=1)
    assert minutes(shard.commit(caught_up=(0,), after_ms=1)) == [(0, 0, 15, ())]


def test_an_idle_partition_that_nobody_can_read_makes_windows_incomplete():
    shard = Shard(minutely(), partitions=2)
    live(shard, 0, 1)
    run(shard, 3 * MINUTE_MS, 0)
    results = run(shard, 10 * MINUTE_MS, 0, unread=(1,))
    assert minutes(results)[0] == (2, 0, 12, (1,))
    assert {result.verdict for result in results} == {Verdict.INCOMPLETE}
    assert len(results) > 3


# Silence


def test_silence_closes_only_what_every_partition_is_known_to_be_read_up_to():
    shard = Shard(minutely(), partitions=2)
    live(shard, 0, 1)
    results = []
    for _ in range(30):
        shard.now_ms += STEP_MS
        # Partition 1 is known to be read up to 50 s, and no further.
        results += shard.commit(caught_up=(0, 1) if shard.now_ms <= MONDAY_MS + 50_000 else (0,))
    assert results == []
    assert shard.commit(caught_up_ms=MONDAY_MS + MINUTE_MS - 1) == []
    assert minutes(shard.commit(caught_up_ms=MONDAY_MS + MINUTE_MS)) == [(0, 0, 2, ())]


def test_silence_is_of_log_time_whatever_the_time_of_the_window_task():
    shard = Shard(minutely())
    live(shard, 0)
    for _ in range(30):
        shard.write(caught_up=True)
        shard.now_ms += STEP_MS
    # All is read at once, long after: a round in between closes by what was applied alone.
    log, shard.log = shard.log, []
    results = []
    for entry in log:
        shard.log.append(entry)
        shard.apply()
        results += shard.close()
    assert minutes(results) == [(0, 0, 1, ())]
    assert results[0].published_ms == MONDAY_MS + MINUTE_MS


# Partitions that nobody can read


def test_a_partition_unread_for_a_day_holds_up_its_own_streams_for_a_while_and_no_others():
    specs = minutely("images", idle_ms=MINUTE_MS), minutely("texts", idle_ms=MINUTE_MS)
    shard = Shard(*specs, topics=(EVENTS, "others"), partitions=2)
    both = [(EVENTS, 0), (EVENTS, 1)]
    step_ms = 30 * SECOND_MS
    results, largest = [], 0

    def step(*speaking, **how):
        for at in speaking:
            live(shard, at, stream="images")
        for at in (("others", 0), ("others", 1)):
            live(shard, at, stream="texts")
        shard.now_ms += step_ms
        return shard.commit(caught_up=True, **how)

    for _ in range(30):
        results += step(*both)
    begun_ms = shard.now_ms
    for _ in range(DAY_MS // step_ms):
        results += step(both[0], unread=[both[1]])
        largest = max(largest, len(shard.kept))
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
    assert len(after) > 1_300
    assert max(result.published_ms - result.window.end_ms for result in after) <= MINUTE_MS
    history = shard.state.streams["images"].histories[MINUTE_MS]
    assert history.end_ms == images[-1].window.end_ms
    # A day has 1,440 panes: what is kept is what an hour of waiting needs.
    assert largest < 2 * (60 + 10 + 10) + 40
    assert len(shard.kept) < 60
    # It returns, and holds again when it is level.
    shard.read(*[(begun_ms + each * MINUTE_MS, 1) for each in range(1_400)], partition=both[1])
    late_before = shard.late["images", MINUTE_MS]
    results = step(both[0])
    assert [result.missing for result in results if result.stream == "images"] in ([], [(both[1],)])
    assert shard.late["images", MINUTE_MS] - late_before == 1_400
    for _ in range(6):
        results = step(*both)
    assert shard.status().given_up == frozenset()
    results = []
    for _ in range(6):
        results += step(both[0], unread=[both[1]])
    assert len([result for result in results if result.stream == "images"]) <= 1


def test_a_partition_that_was_given_up_while_idle_is_missing_and_back_when_it_is_caught_up():
    shard = Shard(minutely(give_up_ms=20 * MINUTE_MS), partitions=2)
    live(shard, 0, 1)
    run(shard, 3 * MINUTE_MS, 0)
    run(shard, 21 * MINUTE_MS, 0, unread=(1,))
    results = run(shard, 10 * MINUTE_MS, 0, unread=(1,))
    assert {(result.verdict is Verdict.INCOMPLETE, result.missing) for result in results} == {
        (False, ((EVENTS, 1),))
    }
    # It can be read again and is behind: as long as it is, it holds nothing up.
    live(shard, 0)
    shard.read((shard.now_ms - 50 * MINUTE_MS, 1), partition=1)
    shard.commit(caught_up=(0,))
    assert shard.status().given_up == {(EVENTS, 1)}
    results = run(shard, 2 * MINUTE_MS, 0)
    assert shard.status().given_up == frozenset()
    assert results[-1].missing == ()


def test_what_comes_of_a_partition_that_was_given_up_is_a_revision_or_late():
    shard = Shard(minutely(give_up_ms=20 * MINUTE_MS), partitions=2)
    run(shard, STEP_MS, 0, 1)
    run(shard, 40 * MINUTE_MS, 0, unread=(1,))
    shard.read((shard.now_ms - 5 * MINUTE_MS, 1), (shard.now_ms - 30 * MINUTE_MS, 1), partition=1)
    results = shard.commit(caught_up=(0,))
    assert [result.revision for result in results] == [1]
    assert shard.late == {("images", MINUTE_MS): 1}
    assert shard.status().late == {MINUTE_MS: 1}


def test_a_restart_every_50_s_begins_no_wait_again():
    results = {}
    for is_restarted in (False, True):
        shard = Shard(minutely(give_up_ms=30 * MINUTE_MS), partitions=3)
        live(shard, 0, 1, 2)
        seen = []
        for step in range(HOUR_MS // STEP_MS):
            shard.now_ms += STEP_MS
            live(shard, 0)
            # Partition 1 falls idle, partition 2 becomes unreadable after ten minutes.
            seen += shard.commit(caught_up=True, unread=(2,) if step > 120 else ())
            if is_restarted and step % 10 == 9:
                shard.restart()
        results[is_restarted] = [(each.published_ms, *minutes([each])[0]) for each in seen]
    assert results[True] == results[False]
    assert {minute for _, minute, *_ in results[True]} == set(range(60))


def test_partitions_not_heard_of_hold_the_watermark_until_incomplete_after():
    shard = Shard(minutely(), partitions=2)
    results = run(shard, INCOMPLETE_MS, 0, unread=(1,))
    assert results == []
    results = run(shard, 2 * MINUTE_MS, 0, unread=(1,))
    assert minutes(results)[:5] == [(minute, 0, 12, (1,)) for minute in range(5)]
    assert {result.verdict is Verdict.INCOMPLETE for result in results} == {False}


@pytest.mark.parametrize("is_restarted", [False, True])
def test_time_in_which_nobody_counted_is_no_wait(is_restarted):
    shard = Shard(minutely(), partitions=2)
    live(shard, 0, 1)
    run(shard, MINUTE_MS + STEP_MS, 0, 1)
    stopped_ms = shard.now_ms
    shard.now_ms += 3 * HOUR_MS
    if is_restarted:
        shard.restart()
    # The first replica is back before the second.
    for _ in range(6):
        shard.read(*[(stopped_ms + minute * MINUTE_MS, 0) for minute in range(60)], partition=0)
        assert shard.commit(unread=(1,), after_ms=STEP_MS) == []
    assert shard.status().given_up == frozenset()
    shard.read(*[(stopped_ms + minute * MINUTE_MS, 0) for minute in range(60)], partition=1)
    results = shard.commit(after_ms=STEP_MS)
    assert {result.missing for result in results} == {()}
    assert shard.late.total() == 0


# Rounds of silent streams

PLAN = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 25, 25, 29, 29]),  # seconds; of longer ones nobody counts
        st.sets(st.tuples(st.sampled_from(["images", "texts"]), st.integers(0, 1)), max_size=2),
        st.sampled_from([0, 0, 0, 40, 400, 900]),  # by how many seconds events are old
        st.sampled_from([(0, 1), (0, 1), (0, 1), (0,), ()]),  # caught up
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=examples(60))
@given(PLAN, st.sampled_from([(), (1,)]), st.integers(0, 20), st.integers(10, 40))
def test_rounds_that_are_skipped_change_nothing(plan, unread, first, number):
    kept = []
    for is_skipped in (True, False):
        specs = [
            minutely(
                name, sizes_ms=(MINUTE_MS, 5 * MINUTE_MS), incomplete_ms=MINUTE_MS, give_up_ms=3 * MINUTE_MS
            )
            for name in ("images", "texts")
        ]
        shard = Shard(*specs, partitions=2)
        seen, skipped = [], 0
        for step, (seconds, speaking, old_s, caught_up) in enumerate(plan):
            shard.now_ms += seconds * SECOND_MS
            missing = unread if first <= step < first + number else ()
            for stream, partition in sorted(speaking):
                if partition not in missing:
                    live(shard, partition, stream=stream, behind_ms=old_s * SECOND_MS)
            shard.write(caught_up=caught_up, unread=missing)
            shard.apply()
            for stream, closer in shard.state._closers.items():
                skipped += closer._can_skip(shard.state.sources, shard.state.position.log_ms)
                if not is_skipped:
                    shard.state.streams[stream].has_changed = True
            seen.append(([plain(result) for result in shard.close()], dict(shard.kept)))
        kept.append(seen)
    assert kept[0] == kept[1]
    event("skipped" if skipped else "nothing skipped")


def test_a_silent_stream_gives_up_a_partition_that_nobody_can_read():
    shard = Shard(minutely(give_up_ms=10 * MINUTE_MS), partitions=2)
    run(shard, 2 * MINUTE_MS, 0, 1)
    run(shard, 5 * MINUTE_MS)
    assert shard.status().given_up == frozenset()
    run(shard, 11 * MINUTE_MS, unread=(1,))
    assert shard.status().given_up == {(EVENTS, 1)}
    run(shard, MINUTE_MS)
    assert shard.status().given_up == frozenset()
