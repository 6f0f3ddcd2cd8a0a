"""Event time of a stream in its shard: watermark, idle partitions, silence."""

from tests.builders.clocks import MINUTE_MS, MONDAY_MS, SECOND_MS
from tests.builders.results import summarize_minutes
from tests.builders.specs import build_minute_spec
from tests.core.shard import STEP_MS, Shard, read_and_commit, read_now, run_for


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
