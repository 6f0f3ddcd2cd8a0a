"""Tests of `driftgauge.telemetry.roles`."""

import logging

import pytest
from prometheus_client import generate_latest

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.windows.shard import RoundResult
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from driftgauge.telemetry.record_loss import RecordLoss
from driftgauge.telemetry.roles import RoleTelemetry, Stage
from tests.builders.results import build_result
from tests.builders.telemetry import (
    BOTH,
    CHANGELOG,
    EVENTS,
    HOURLY,
    IMAGES,
    PARTIALS,
    SHARDS,
    build_busy_shard,
    build_shard,
    build_telemetry,
    make_ready,
    sample_reader,
)

FIRST, SECOND = HELD = [(EVENTS, 0), (EVENTS, 1)]
STALLED = "stable_offset_stalled_seconds"


@pytest.fixture
def health():
    return Health(BOTH, SYSTEM_CLOCK)


@pytest.fixture
def metrics(clock, health):
    return build_telemetry("images", "texts", clock=clock, health=health)


@pytest.fixture
def count(metrics):
    return RoleTelemetry(metrics, Role.COUNT, SHARDS)


@pytest.fixture
def windows(metrics):
    return RoleTelemetry(metrics, Role.WINDOWS, SHARDS)


@pytest.fixture
def value(metrics):
    return sample_reader(metrics.registry)


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.INFO, logger="driftgauge")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("stage", list(Stage))
def test_stage_is_timed(count, value, stage):
    with count.timed(stage):
        pass
    timed = {each for each in Stage if value("batch_duration_seconds_count", stage=each.value)}
    assert timed == {stage}


def test_poll_sets_time_of_role_and_keeps_process_alive(count, value, clock, metrics):
    clock.wall_ms = 1_700_000_000_750
    count.polled()
    assert value("last_poll_timestamp_seconds", role="count") == 1_700_000_000.75
    assert value("last_poll_timestamp_seconds", role="windows") == 0
    assert metrics.health.is_alive()


def test_role_is_ready_after_empty_assignment(count, health):
    make_ready(health, ReadinessCondition.BASELINES_LOADED, ReadinessCondition.WINDOWS)
    assert health.missing() == [ReadinessCondition.COUNT]
    count.assigned([], [])
    assert health.missing() == []


def test_role_with_lost_session_is_not_ready_until_next_assignment(count, health, value, caplog):
    make_ready(health)
    count.session_lost("the brokers are away", 0.5)
    assert health.missing() == [ReadinessCondition.COUNT]
    assert (value("sessions_lost_total", role="count"), value("sessions_lost_total", role="windows")) == (
        1,
        0,
    )
    assert [(r.levelname, r.role, r.error, r.pause_s) for r in caplog.records] == [
        ("ERROR", "count", "the brokers are away", 0.5)
    ]
    count.assigned(HELD, HELD)
    assert health.missing() == []


def test_lost_session_resets_held_and_stopped_partitions(windows, value):
    windows.assigned([(PARTIALS, 3)], [(PARTIALS, 3)])
    windows.read_to(PARTIALS, 3, position=4, end=5)
    windows.stopped(PARTIALS, 1)
    windows.session_lost("the brokers are away", 0.5)
    assert value("consumer_assigned_partitions", topic=PARTIALS) == 0
    assert value("consumer_stopped_partitions", topic=PARTIALS) == 0
    assert value("consumer_lag_messages", topic=PARTIALS, partition="3") is None
    windows.assigned([(PARTIALS, 3)], [(PARTIALS, 3)])
    assert value("consumer_assigned_partitions", topic=PARTIALS) == 1


def test_abort_is_counted_and_logged_without_ending_readiness(count, value, health, caplog):
    make_ready(health)
    count.committed()
    count.committed()
    count.aborted("the coordinator is not available")
    assert value("commits_total", role="count", outcome="ok") == 2
    assert value("commits_total", role="count", outcome="aborted") == 1
    assert value("commits_total", role="windows", outcome="ok") == 0
    assert [(r.levelname, r.getMessage(), r.error) for r in caplog.records] == [
        ("WARNING", "transaction aborted", "the coordinator is not available")
    ]
    assert health.missing() == []


def test_unwritable_partitions_are_exported_until_commit(count, value, messages):
    count.unwritable([(PARTIALS, 3), (PARTIALS, 1), ("dead-letters", 0)])
    assert value("unwritable_partitions", topic=PARTIALS) == 2
    assert value("unwritable_partitions", topic="dead-letters") == 1
    count.unwritable([(PARTIALS, 1)])
    assert value("unwritable_partitions", topic=PARTIALS) == 1
    assert value("unwritable_partitions", topic="dead-letters") is None
    assert len(messages()) == 1, "nothing is new about the partition that remains"
    count.committed()
    assert value("unwritable_partitions", topic=PARTIALS) is None
    count.committed()


def test_unwritable_partition_left_out_of_commit_stays_exported(windows, value):
    windows.unwritable([(CHANGELOG, 2)])
    windows.committed([(CHANGELOG, 2)])
    assert value("unwritable_partitions", topic=CHANGELOG) == 1
    windows.committed()
    assert value("unwritable_partitions", topic=CHANGELOG) is None


def test_commit_keeps_unwritable_partitions_of_other_role(count, windows, value):
    windows.unwritable([(CHANGELOG, 2)])
    count.committed()
    assert value("unwritable_partitions", topic=CHANGELOG) == 1


def test_stalled_stable_offset_is_exported_until_it_moves(count, windows, value):
    count.stalled({FIRST: 40.5, SECOND: 60})
    windows.stalled({(PARTIALS, 3): 50})
    count.stalled({SECOND: 65})
    assert value(STALLED, topic=EVENTS, partition="0") is None
    assert value(STALLED, topic=EVENTS, partition="1") == 65
    assert value(STALLED, topic=PARTIALS, partition="3") == 50
    count.stalled({})
    assert value(STALLED, topic=EVENTS, partition="1") is None
    assert value(STALLED, topic=PARTIALS, partition="3") == 50


def test_hanging_transaction_log_names_partition_producer_and_remedy(count, caplog):
    count.transaction_hangs(FIRST, 40, 61.4, "producer 7, epoch 0")
    count.transaction_hangs(FIRST, 40, 61.4, None)
    first, second = caplog.records
    assert (first.levelname, first.role, first.partition, first.open_since_s, first.producer) == (
        "ERROR",
        "count",
        "embeddings[0]@40",
        61,
        "producer 7, epoch 0",
    )
    assert second.producer == "unknown"
    assert "driftgauge kafka transactions list" in first.remedy


def test_assigned_partition_exports_position_and_lag(count, value, messages):
    count.assigned(HELD, HELD)
    count.read_to(EVENTS, 1, position=40, end=100)
    assert value("consumer_assigned_partitions", topic=EVENTS) == 2
    assert value("consumer_rebalances_total", role="count", kind="assigned") == 1
    assert value("consumer_position_offset", topic=EVENTS, partition="1") == 40
    assert value("consumer_lag_messages", topic=EVENTS, partition="1") == 60
    assert messages()[-1] == "partitions assigned"


def test_assigned_shard_exports_lag(windows, value):
    windows.assigned([(PARTIALS, 3)], [(PARTIALS, 3)])
    windows.read_to(PARTIALS, 3, position=4, end=5)
    assert value("consumer_assigned_partitions", topic=PARTIALS) == 1
    assert value("consumer_lag_messages", topic=PARTIALS, partition="3") == 1


def test_assignment_adds_to_held_partitions(count, value):
    count.assigned([FIRST], [FIRST])
    count.read_to(EVENTS, 0, position=1, end=2)
    count.assigned([SECOND], HELD)
    assert value("consumer_assigned_partitions", topic=EVENTS) == 2
    assert value("consumer_position_offset", topic=EVENTS, partition="0") == 1


def test_end_before_position_is_zero_lag(count, value):
    count.assigned([FIRST], [FIRST])
    count.read_to(EVENTS, 0, position=40, end=30)
    assert value("consumer_lag_messages", topic=EVENTS, partition="0") == 0


@pytest.mark.parametrize("kind", ["revoked", "lost"])
def test_partition_given_up_leaves_no_series(count, value, messages, kind):
    count.assigned(HELD, HELD)
    for _, partition in HELD:
        count.read_to(EVENTS, partition, position=1, end=2)
    getattr(count, kind)([SECOND])
    count.read_to(EVENTS, 1, position=2, end=2)
    assert value("consumer_rebalances_total", role="count", kind=kind) == 1
    assert value("consumer_assigned_partitions", topic=EVENTS) == 1
    assert value("consumer_position_offset", topic=EVENTS, partition="0") == 1
    assert value("consumer_position_offset", topic=EVENTS, partition="1") is None
    assert value("consumer_lag_messages", topic=EVENTS, partition="1") is None
    assert messages()[-1] == f"partitions {kind}"


@pytest.mark.parametrize("kind", ["revoked", "lost"])
def test_unread_partitions_can_be_given_up(count, value, kind):
    count.assigned(HELD, HELD)
    getattr(count, kind)(HELD)
    assert value("consumer_assigned_partitions", topic=EVENTS) == 0
    assert value("consumer_lag_messages", topic=EVENTS, partition="0") is None


def test_partition_numbers_are_exported_by_topic(count, value):
    count.partitions_known({EVENTS: 12, PARTIALS: 4})
    assert (value("topic_partitions", topic=EVENTS), value("topic_partitions", topic=PARTIALS)) == (12, 4)


def test_stopped_shards_are_exported(windows, value):
    windows.stopped(PARTIALS, 2)
    assert value("consumer_stopped_partitions", topic=PARTIALS) == 2
    windows.stopped(PARTIALS, 0)
    assert value("consumer_stopped_partitions", topic=PARTIALS) == 0


def test_restore_is_timed_and_logged(windows, value, caplog):
    caplog.set_level(logging.INFO, logger="driftgauge")
    windows.restored(0.3004, [(PARTIALS, 3), (PARTIALS, 1)])
    assert value("restore_duration_seconds_count", role="windows") == 1
    assert value("restore_duration_seconds_sum", role="windows") == 0.3004
    assert value("restore_duration_seconds_bucket", role="windows", le="0.25") == 0
    assert value("restore_duration_seconds_bucket", role="windows", le="0.5") == 1
    (restored,) = caplog.records
    assert (restored.getMessage(), restored.partitions, restored.waited_s) == (
        "restored",
        [f"{PARTIALS}[1]", f"{PARTIALS}[3]"],
        0.3,
    )


def test_waiting_restore_is_logged_every_10_s(windows, clock, caplog):
    for waited_s in range(31):
        windows.restore_waits([(PARTIALS, 3)], "the committed offset", waited_s)
        clock.advance(1)
    assert [record.waited_s for record in caplog.records] == [10, 20, 30]
    clock.advance(10)
    windows.restore_waits([(PARTIALS, 3)], "the committed offset", 61)
    assert [("transactions list" in r.remedy) for r in caplog.records] == [False, False, False, True]
    assert {record.waiting_for for record in caplog.records} == {"the committed offset"}


def test_every_waiting_shard_is_logged(windows, clock, caplog):
    for _ in range(2):
        for shard in (1, 3):
            windows.restore_waits([(PARTIALS, shard)], "the changelog", 12)
    assert [record.partitions for record in caplog.records] == [[f"{PARTIALS}[1]"], [f"{PARTIALS}[3]"]]


def test_clock_offset_is_exported_and_ends_readiness(count, value, health):
    make_ready(health)
    count.clock_is_off(None, is_off=False)
    assert value("clock_offset_seconds", role="count") is None
    count.clock_is_off(-2_500, is_off=True)
    assert value("clock_offset_seconds", role="count") == -2.5
    assert health.missing() == [ReadinessCondition.CLOCK]
    count.clock_is_off(-100, is_off=False)
    assert health.missing() == []


def test_lost_records_are_counted_and_logged(count, value, caplog):
    count.counted({}, {}, {(EVENTS, 3): RecordLoss(120, 880), (EVENTS, 1): RecordLoss(2, 7)})
    assert value("records_lost_total", topic=EVENTS) == 122
    assert [(r.levelname, r.role, r.partition, r.records) for r in caplog.records] == [
        ("ERROR", "count", f"{EVENTS}[1]", 2),
        ("ERROR", "count", f"{EVENTS}[3]", 120),
    ]
    assert [(r.first_offset, r.last_offset) for r in caplog.records] == [(7, 8), (880, 999)]
    assert all("retention" in r.remedy for r in caplog.records)


def test_truncated_log_is_counted_and_logged_without_offsets(count, value, caplog):
    count.counted({}, {}, {(EVENTS, 3): RecordLoss(1, 300, is_truncated=True)})
    assert value("records_lost_total", topic=EVENTS) == 1
    (line,) = caplog.records
    assert (line.partition, line.records) == (f"{EVENTS}[3]@300", "at least 1")
    assert "truncated" in line.getMessage()
    assert "min.insync.replicas" in line.remedy
    assert not hasattr(line, "first_offset")


def test_shard_is_exported_while_held(windows, value):
    windows.shards_held([IMAGES])
    windows.show(IMAGES, build_busy_shard())
    assert value("window_end_timestamp_seconds", **HOURLY) == 2 * 3600
    assert value("windows_open", **HOURLY) == 1
    windows.shards_held([])
    assert value("window_end_timestamp_seconds", **HOURLY) is None


def test_shard_exports_only_its_streams(windows, value, metrics):
    windows.show(IMAGES, build_shard(build_result(), build_result(stream="texts")))
    assert value("window_events", **HOURLY) == 100
    assert b'stream="texts"' not in generate_latest(metrics.registry)


def test_every_stream_is_exported_by_one_shard(windows, metrics):
    for shard in range(SHARDS):
        windows.show(shard, build_shard())
    text = generate_latest(metrics.registry).decode()
    for stream in ("images", "texts"):
        assert text.count(f'driftgauge_alarm_p_value{{stream="{stream}"}}') == 1


def test_closed_window_is_exported_only_from_shard_state(windows, value):
    windows.closed(IMAGES, RoundResult([build_result()]))
    assert value("window_end_timestamp_seconds", **HOURLY) is None
