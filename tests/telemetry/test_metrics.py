import logging
import subprocess
import sys

import pytest
from prometheus_client import REGISTRY, generate_latest

from driftgauge.core.result import Verdict
from driftgauge.events.rejection import Reason
from driftgauge.telemetry.health import Condition, Health
from driftgauge.telemetry.metrics import Stage
from tests.telemetry.builders import HOUR_MS, build_result, build_telemetry, busy_table, busy_telemetry

HOURLY = {"stream": "images", "window": "1h"}
HELD = [("embeddings", 0), ("embeddings", 1)]


@pytest.fixture
def telemetry():
    return build_telemetry("images", "texts")


@pytest.fixture
def value(telemetry):
    return lambda name, **labels: telemetry.registry.get_sample_value(f"driftgauge_{name}", labels)


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.INFO, logger="driftgauge")
    return lambda: [record.getMessage() for record in caplog.records]


def test_counters_stand_at_zero_before_anything_has_happened(telemetry, value):
    for stream in ("images", "texts"):
        for outcome in ("accepted", "invalid", "wrong_model", "non_finite", "future", "late"):
            assert value("events_total", stream=stream, outcome=outcome) == 0
        for window in ("1h", "1d"):
            assert value("late_events_total", stream=stream, window=window) == 0
            assert value("window_revisions_total", stream=stream, window=window) == 0
            for verdict in ("ok", "warning", "drift", "insufficient", "incomplete"):
                assert value("windows_closed_total", stream=stream, window=window, verdict=verdict) == 0
    for outcome in ("undecodable", "invalid", "unknown_stream"):
        assert value("events_total", stream="", outcome=outcome) == 0
    for kind in ("assigned", "revoked", "lost"):
        assert value("consumer_rebalances_total", kind=kind) == 0
    for outcome in ("ok", "aborted"):
        assert value("commits_total", outcome=outcome) == 0
    assert value("sessions_lost_total") == 0
    assert value("records_lost_total", topic="embeddings") == 0
    for level in ("debug", "info", "warning", "error", "critical"):
        assert value("log_messages_total", level=level) == 0
    for stage in Stage:
        assert value("batch_duration_seconds_count", stage=stage.value) == 0
    assert value("restore_duration_seconds_count") == 0
    assert value("consumer_assigned_partitions", topic="embeddings") == 0
    assert value("consumer_stopped_partitions", topic="embeddings") == 0


def test_every_reason_of_a_rejection_has_a_counter_from_the_start(value):
    for reason in Reason:
        assert 0 in {value("events_total", stream=stream, outcome=reason.value) for stream in ("images", "")}


def test_a_divergence_is_not_there_at_zero_before_anything_has_happened(value):
    assert value("window_js_divergence", **HOURLY) is None
    assert value("window_noise_floor", **HOURLY) is None


def test_the_configuration_shows_from_the_start(value):
    assert value("baseline_info", stream="images", baseline="sha256:abc", model_version="v7") == 1
    assert value("baseline_created_timestamp_seconds", stream="images") == 1_700_000_000.5
    assert value("baseline_cluster_ratio", stream="images", cluster_id="0") == 0.4
    assert value("window_duration_seconds", stream="texts", window="1d") == 86_400
    assert value("window_min_events", stream="texts", window="1h") == 20
    assert value("build_info", version="0.1.0") == 1


def test_events_are_counted_by_stream_and_outcome(telemetry, value):
    telemetry.accepted("images", 7)
    telemetry.accepted("images", 5)
    telemetry.rejected("images", Reason.NON_FINITE, 2)
    assert value("events_total", stream="images", outcome="accepted") == 12
    assert value("events_total", stream="texts", outcome="accepted") == 0
    assert value("events_total", stream="images", outcome="non_finite") == 2


@pytest.mark.parametrize("stream", [None, "minted-by-a-producer"])
def test_a_rejection_without_a_configured_stream_has_an_empty_stream(telemetry, value, stream):
    telemetry.rejected(stream, Reason.UNKNOWN_STREAM, 4)
    assert value("events_total", stream="", outcome="unknown_stream") == 4
    assert b"minted" not in generate_latest(telemetry.registry)


def test_events_late_for_one_size_of_window_are_counted_by_size(telemetry, value):
    telemetry.late("images", HOUR_MS, 5)
    assert value("late_events_total", **HOURLY) == 5
    assert value("late_events_total", stream="images", window="1d") == 0


def closed(value):
    """How many hourly windows of images were closed, by verdict."""
    counted = {verdict: value("windows_closed_total", **HOURLY, verdict=verdict) for verdict in Verdict}
    return {verdict.value: number for verdict, number in counted.items() if number}


def test_every_window_closed_is_counted_by_verdict(telemetry, value):
    scored = [build_result(number=number) for number in range(1, 4)]
    telemetry.closed([*scored, build_result((1, 1, 1, 1), number=4)])
    telemetry.closed([build_result(number=5, verdict=Verdict.WARNING), build_result(number=6, missing=HELD)])
    telemetry.closed([build_result(number=7, verdict=Verdict.DRIFT)])
    assert closed(value) == {"ok": 3, "insufficient": 1, "warning": 1, "incomplete": 1, "drift": 1}
    assert value("windows_closed_total", stream="images", window="1d", verdict="ok") == 0


def test_a_revision_is_counted_as_a_revision_and_not_as_a_closing(telemetry, value):
    telemetry.closed([build_result(number=2)])
    telemetry.closed([build_result((9, 9, 9, 9), number=1, revision=1)])
    assert closed(value) == {"ok": 1}
    assert value("window_revisions_total", **HOURLY) == 1


def test_a_revision_that_says_something_else_counts_under_that_as_well(telemetry, value):
    telemetry.closed([build_result(missing=HELD)])
    telemetry.closed([build_result(revision=1, superseded=Verdict.INCOMPLETE)])
    telemetry.closed([build_result(revision=2)])
    assert closed(value) == {"incomplete": 1, "ok": 1}
    assert value("window_revisions_total", **HOURLY) == 2


def test_a_closing_is_logged_as_it_is_counted(telemetry, caplog, messages):
    missing = (("embeddings", 1), ("embeddings", 12))
    telemetry.closed(
        [build_result(), build_result((1, 0, 0, 0), revision=1, missing=missing, events_lost=True)]
    )
    assert messages() == ["window closed", "window revised"]
    closed, revised = caplog.records
    assert (closed.stream, closed.window, closed.start_ms, closed.end_ms) == (
        "images",
        "1h",
        HOUR_MS,
        2 * HOUR_MS,
    )
    assert (closed.events, closed.js_divergence) == (100, build_result().score.js_divergence)
    assert (closed.verdict, closed.noise_floor, closed.p_value) == ("ok", 0.0011, 0.23)
    assert (closed.missing, closed.events_lost) == ([], False)
    assert (revised.revision, revised.js_divergence, revised.noise_floor) == (1, None, None)
    assert (revised.verdict, revised.p_value) == ("insufficient", None)
    assert (revised.missing, revised.events_lost) == (["embeddings[1]", "embeddings[12]"], True)


def test_who_closes_a_window_shows_it_by_the_table_as_every_other_replica_does(telemetry, value):
    telemetry.closed([build_result()])
    assert value("window_end_timestamp_seconds", **HOURLY) is None
    telemetry.show(busy_table())
    assert value("window_end_timestamp_seconds", **HOURLY) == 2 * 3600
    assert value("watermark_timestamp_seconds", stream="images") == 2 * 86_400 - 30
    assert value("windows_open", **HOURLY) == 1
    assert value("windows_open", stream="texts", window="1h") == 0


def test_what_was_published_before_the_start_shows_and_counts_as_no_closing(telemetry, value):
    telemetry.show(busy_table())
    assert value("window_events", **HOURLY) == 100
    assert closed(value) == {}


def test_each_condition_of_readiness_is_told_apart():
    health = Health(lambda: 0)
    telemetry = build_telemetry(health=health)
    health.set_ready(Condition.BASELINES_LOADED, met=True)
    health.refreshed()

    def ready(condition):
        return telemetry.registry.get_sample_value("driftgauge_ready", {"condition": condition})

    assert [ready(condition) for condition in Condition] == [1, 0, 1]
    health.set_ready(Condition.RESTORED, met=True)
    assert [ready(condition) for condition in Condition] == [1, 1, 1]


def test_what_makes_an_alarm_is_exported_before_the_first_window():
    telemetry = build_telemetry(severity="critical")
    sample = telemetry.registry.get_sample_value
    of_stream = {"stream": "images"}
    assert sample("driftgauge_alarm_p_value", of_stream) == 0.001
    assert sample("driftgauge_alarm_js_excess", of_stream) == 0.005
    assert sample("driftgauge_alarm_mean_shift_excess", of_stream) == 0.025
    assert sample("driftgauge_window_overdue_seconds", {**of_stream, "window": "1h"}) == 7_530
    patient = build_telemetry(overdue_ms=43_200_000).registry
    assert (
        patient.get_sample_value("driftgauge_window_overdue_seconds", {**of_stream, "window": "1h"}) == 43_200
    )
    assert sample("driftgauge_alarm_severity_info", {**of_stream, "severity": "critical"}) == 1


def test_windows_are_shown_only_while_the_table_is_fresh_and_the_rest_always(value):
    now_ms = [0]
    health = Health(lambda: now_ms[0])
    health.refreshed()
    telemetry = build_telemetry(health=health)
    telemetry.accepted("images", 7)
    telemetry.show(busy_table())
    assert b"\ndriftgauge_window_js_divergence{" in generate_latest(telemetry.registry)
    now_ms[0] = 60_000
    text = generate_latest(telemetry.registry)
    for name in (
        b"window_js_divergence",
        b"window_end_timestamp_seconds",
        b"windows_open",
        b"watermark_timest",
    ):
        assert b"\ndriftgauge_" + name + b"{" not in text
    assert b'driftgauge_events_total{outcome="accepted",stream="images"} 7.0' in text
    assert b"driftgauge_window_min_events{" in text, "the configuration is never stale"


def test_a_stage_is_timed(telemetry, value):
    with telemetry.timed(Stage.COMMIT):
        pass
    assert value("batch_duration_seconds_count", stage="commit") == 1
    assert value("batch_duration_seconds_count", stage="decode") == 0


def test_assigned_partitions_show_their_position_and_lag(telemetry, value, messages):
    telemetry.assigned([("embeddings", 0), ("embeddings", 1)])
    telemetry.read_to("embeddings", 1, position=40, end=100)
    assert value("consumer_assigned_partitions", topic="embeddings") == 2
    assert value("consumer_rebalances_total", kind="assigned") == 1
    assert value("consumer_position_offset", topic="embeddings", partition="1") == 40
    assert value("consumer_lag_messages", topic="embeddings", partition="1") == 60
    assert messages() == ["partitions assigned"]


def test_an_end_older_than_the_position_is_no_lag(telemetry, value):
    telemetry.assigned([("embeddings", 0)])
    telemetry.read_to("embeddings", 0, position=40, end=30)
    assert value("consumer_lag_messages", topic="embeddings", partition="0") == 0


@pytest.mark.parametrize("kind", ["revoked", "lost"])
def test_partitions_given_up_leave_no_frozen_series(telemetry, value, messages, kind):
    telemetry.assigned(HELD)
    telemetry.read_to("embeddings", 0, position=1, end=2)
    telemetry.read_to("embeddings", 1, position=1, end=2)
    getattr(telemetry, kind)([("embeddings", 1)])
    telemetry.read_to("embeddings", 1, position=2, end=2)
    assert value("consumer_rebalances_total", kind=kind) == 1
    assert value("consumer_assigned_partitions", topic="embeddings") == 1
    assert value("consumer_position_offset", topic="embeddings", partition="0") == 1
    assert value("consumer_position_offset", topic="embeddings", partition="1") is None
    assert value("consumer_lag_messages", topic="embeddings", partition="1") is None
    assert messages()[-1] == f"partitions {kind}"


@pytest.mark.parametrize("kind", ["revoked", "lost"])
def test_a_replica_that_holds_nothing_shows_the_windows_all_the_same(telemetry, value, kind):
    telemetry.assigned(HELD)
    telemetry.show(busy_table())
    getattr(telemetry, kind)(HELD)
    assert value("consumer_assigned_partitions", topic="embeddings") == 0
    assert value("window_end_timestamp_seconds", **HOURLY) == 2 * 3600


def test_a_restore_is_timed_and_logged(telemetry, value, caplog):
    caplog.set_level(logging.INFO, logger="driftgauge")
    telemetry.assigned(HELD)
    telemetry.restored(0.3004, lost={}, stopped={})
    assert value("restore_duration_seconds_count") == 1
    assert value("restore_duration_seconds_sum") == 0.3004
    assert value("restore_duration_seconds_bucket", le="0.25") == 0
    assert value("restore_duration_seconds_bucket", le="0.5") == 1
    (restored,) = caplog.records[1:]
    assert (restored.getMessage(), restored.partitions, restored.waited_s) == ("restored", 2, 0.3)


def test_records_that_are_no_longer_kept_are_counted_and_said_for_each_partition(telemetry, value, caplog):
    telemetry.assigned(HELD)
    telemetry.restored(0.1, lost={("embeddings", 0): 40, ("embeddings", 1): 2}, stopped={})
    assert value("records_lost_total", topic="embeddings") == 0, "they count with the commit"
    telemetry.records_lost("embeddings", 42)
    assert value("records_lost_total", topic="embeddings") == 42
    assert [(r.levelname, r.topic, r.partition, r.lost) for r in caplog.records] == [
        ("ERROR", "embeddings", 0, 40),
        ("ERROR", "embeddings", 1, 2),
    ]


@pytest.mark.parametrize("kind", ["revoked", "lost"])
def test_a_partition_that_does_not_fit_its_state_counts_as_stopped_while_it_is_held(
    telemetry, value, caplog, kind
):
    telemetry.assigned(HELD)
    telemetry.restored(0.1, lost={}, stopped={("embeddings", 1): "the offsets were reset"})
    assert value("consumer_stopped_partitions", topic="embeddings") == 1
    assert value("consumer_assigned_partitions", topic="embeddings") == 2
    assert [(r.levelname, r.getMessage(), r.partition, r.reason) for r in caplog.records] == [
        ("ERROR", "partition stopped", 1, "the offsets were reset")
    ]
    getattr(telemetry, kind)(HELD)
    assert value("consumer_stopped_partitions", topic="embeddings") == 0


def test_a_partition_that_fits_again_is_stopped_no_longer(telemetry, value):
    telemetry.assigned(HELD)
    telemetry.restored(0.1, lost={}, stopped={("embeddings", 1): "the offsets were reset"})
    telemetry.restored(0.1, lost={}, stopped={})
    assert value("consumer_stopped_partitions", topic="embeddings") == 0


def test_giving_up_everything_leaves_no_partition(telemetry, value):
    telemetry.assigned([("embeddings", 0)])
    telemetry.revoked([("embeddings", 0)])
    assert value("consumer_assigned_partitions", topic="embeddings") == 0


def test_transactions_are_counted_by_outcome_and_an_abort_is_logged(telemetry, value, caplog):
    telemetry.committed()
    telemetry.committed()
    telemetry.aborted("the coordinator is not available")
    assert value("commits_total", outcome="ok") == 2
    assert value("commits_total", outcome="aborted") == 1
    assert [(r.levelname, r.getMessage(), r.error) for r in caplog.records] == [
        ("WARNING", "transaction aborted", "the coordinator is not available")
    ]


def test_a_session_that_is_lost_is_counted_and_logged_with_the_pause_after_it(telemetry, value, caplog):
    telemetry.session_lost("the brokers are away", 0.5)
    assert value("sessions_lost_total") == 1
    assert [(r.levelname, r.error, r.pause_s) for r in caplog.records] == [
        ("ERROR", "the brokers are away", 0.5)
    ]


def test_the_last_poll_shows_in_seconds(telemetry, value):
    telemetry.polled(1_700_000_000_750)
    assert value("last_poll_timestamp_seconds") == 1_700_000_000.75


@pytest.mark.parametrize(
    ("level", "name"),
    [(5, "debug"), (10, "debug"), (20, "info"), (25, "info"), (40, "error"), (90, "critical")],
)
def test_messages_are_counted_by_level_and_no_level_mints_a_name(telemetry, value, level, name):
    telemetry.logged(level)
    assert value("log_messages_total", level=name) == 1


def test_no_created_series_is_exported():
    assert b"_created{" not in generate_latest(busy_telemetry().registry)
    assert b"_created " not in generate_latest(busy_telemetry().registry)


def test_the_process_is_described_and_the_global_registry_is_left_alone(value, telemetry):
    text = generate_latest(telemetry.registry)
    assert b"process_resident_memory_bytes" in text
    assert b"python_gc_collections_total" in text
    assert b"python_info" in text
    assert b"driftgauge" not in generate_latest(REGISTRY)


def test_two_telemetries_do_not_share_a_count():
    first, second = build_telemetry(), build_telemetry()
    first.accepted("images", 1)
    labels = {"stream": "images", "outcome": "accepted"}
    assert second.registry.get_sample_value("driftgauge_events_total", labels) == 0


def test_the_telemetry_does_not_bring_in_scikit_learn():
    program = (
        "import sys, driftgauge.telemetry.metrics, driftgauge.telemetry.server, driftgauge.telemetry.logs;"
        "sys.exit('scipy.stats' in sys.modules"
        " or any(name.split('.')[0] in {'sklearn', 'confluent_kafka'} for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
