"""Tests of `driftgauge.telemetry.metrics`."""

import pytest
from prometheus_client import REGISTRY, generate_latest

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.events.rejection import Reason
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from driftgauge.telemetry.roles import RoleTelemetry, Stage
from tests.builders.telemetry import (
    EVENTS,
    HOURLY,
    PARTIALS,
    SHARDS,
    build_busy_telemetry,
    build_telemetry,
    make_ready,
    sample_reader,
    show_busy_shard,
)
from tests.processes import run_python


@pytest.fixture
def telemetry():
    return build_telemetry("images", "texts")


@pytest.fixture
def value(telemetry):
    return sample_reader(telemetry.registry)


def test_counters_start_at_zero(value):
    for reason in ("undecodable", "invalid", "unknown_stream"):
        assert value("events_total", stream="", outcome=reason) == 0
    for role in ("count", "windows"):
        for kind in ("assigned", "revoked", "lost"):
            assert value("consumer_rebalances_total", role=role, kind=kind) == 0
        for outcome in ("ok", "aborted"):
            assert value("commits_total", role=role, outcome=outcome) == 0
        assert value("sessions_lost_total", role=role) == 0
        assert value("restore_duration_seconds_count", role=role) == 0
        assert value("last_poll_timestamp_seconds", role=role) == 0
    assert value("records_lost_total", topic=EVENTS) == 0
    for level in ("debug", "info", "warning", "error", "critical"):
        assert value("log_messages_total", level=level) == 0
    for stage in Stage:
        assert value("batch_duration_seconds_count", stage=stage.value) == 0
    for topic in (EVENTS, PARTIALS):
        assert value("consumer_assigned_partitions", topic=topic) == 0
        assert value("consumer_stopped_partitions", topic=topic) == 0
    assert value("build_info", version="0.1.0") == 1


@pytest.mark.parametrize(
    ("role", "other", "topic", "stage"),
    [(Role.COUNT, Role.WINDOWS, PARTIALS, "close"), (Role.WINDOWS, Role.COUNT, EVENTS, "decode")],
)
def test_series_of_unserved_role_are_absent(role, other, topic, stage):
    value = sample_reader(build_telemetry(roles=[role]).registry)
    assert value("commits_total", role=role, outcome="ok") == 0
    assert value("commits_total", role=other, outcome="ok") is None
    assert value("sessions_lost_total", role=other) is None
    assert value("ready", condition=role.value) == 0
    assert value("ready", condition=other.value) is None
    assert value("consumer_assigned_partitions", topic=topic) is None
    assert value("batch_duration_seconds_count", stage=stage) is None


def test_streams_have_no_series_before_shard_or_event(telemetry):
    assert b'stream="images"' not in generate_latest(telemetry.registry)
    assert b'stream="texts"' not in generate_latest(telemetry.registry)


def test_stream_has_series_only_for_outcomes_that_occurred(telemetry, value):
    count = RoleTelemetry(telemetry, Role.COUNT, SHARDS)
    count.counted({"images": 7}, {("images", Reason.NON_FINITE): 2}, {})
    count.counted({"images": 5}, {}, {})
    assert value("events_total", stream="images", outcome="accepted") == 12
    assert value("events_total", stream="images", outcome="non_finite") == 2
    assert value("events_total", stream="images", outcome="future") is None
    assert value("events_total", stream="texts", outcome="accepted") is None


@pytest.mark.parametrize("stream", [None, "minted-by-a-producer"])
def test_rejection_without_configured_stream_has_empty_label(telemetry, value, stream):
    RoleTelemetry(telemetry, Role.COUNT, SHARDS).counted({}, {(stream, Reason.UNKNOWN_STREAM): 4}, {})
    assert value("events_total", stream="", outcome="unknown_stream") == 4
    assert b"minted" not in generate_latest(telemetry.registry)


def test_each_readiness_condition_has_own_series():
    health = Health(tuple(Role), SYSTEM_CLOCK)
    value = sample_reader(build_telemetry(health=health).registry)
    assert {condition: value("ready", condition=condition) for condition in ReadinessCondition} == {
        ReadinessCondition.BASELINES_LOADED: 0,
        ReadinessCondition.COUNT: 0,
        ReadinessCondition.WINDOWS: 0,
        ReadinessCondition.CLOCK: 1,
    }
    make_ready(health)
    health.set_condition(ReadinessCondition.CLOCK, is_met=False)
    assert {condition for condition in ReadinessCondition if not value("ready", condition=condition)} == {
        ReadinessCondition.CLOCK
    }


def test_held_shard_exports_only_its_streams(telemetry, value):
    show_busy_shard(telemetry)
    assert value("window_end_timestamp_seconds", **HOURLY) == 2 * 3600
    assert value("window_duration_seconds", **HOURLY) == 3600
    assert b'stream="texts"' not in generate_latest(telemetry.registry)


@pytest.mark.parametrize(
    ("level", "name"),
    [(5, "debug"), (10, "debug"), (20, "info"), (25, "info"), (40, "error"), (90, "critical")],
)
def test_messages_are_counted_by_standard_level(telemetry, value, level, name):
    telemetry.logged(level)
    assert value("log_messages_total", level=name) == 1


def test_no_created_series_is_exported():
    text = generate_latest(build_busy_telemetry().registry)
    assert b"_created{" not in text
    assert b"_created " not in text


def test_process_metrics_are_exported_and_global_registry_is_unchanged(telemetry):
    text = generate_latest(telemetry.registry)
    assert b"process_resident_memory_bytes" in text
    assert b"python_gc_collections_total" in text
    assert b"python_info" in text
    assert b"driftgauge" not in generate_latest(REGISTRY)


def test_two_telemetries_share_no_counter():
    first, second = build_telemetry(), build_telemetry()
    RoleTelemetry(first, Role.COUNT, SHARDS).committed()
    assert sample_reader(first.registry)("commits_total", role="count", outcome="ok") == 1
    assert sample_reader(second.registry)("commits_total", role="count", outcome="ok") == 0


def test_telemetry_imports_no_scikit_learn():
    program = (
        "import sys, driftgauge.telemetry.roles, driftgauge.telemetry.server, driftgauge.telemetry.logs;"
        "sys.exit('scipy.stats' in sys.modules"
        " or any(name.split('.')[0] in {'sklearn', 'confluent_kafka'} for name in sys.modules))"
    )
    run_python(program)
