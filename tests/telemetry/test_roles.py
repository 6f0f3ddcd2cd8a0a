"""What a role reports: its metrics, its readiness, and the fields of its log messages."""

import logging
from collections import Counter

import pytest

from driftgauge.core.windows.admission import SurplusEvents
from driftgauge.core.windows.shard import RoundResult
from driftgauge.errors import TransactionFailed
from driftgauge.events.outcomes import IntervalCounts, RecordLoss, RecordOutcome, SkipPlace
from driftgauge.events.rejection import Reason
from driftgauge.records.heartbeat import encode_heartbeat
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from driftgauge.telemetry.roles import Phase, RoleTelemetry
from tests.builders.results import build_result
from tests.builders.telemetry import (
    BOTH,
    CHANGELOG,
    EVENTS,
    IMAGES,
    PARTIALS,
    SHARDS,
    build_shard,
    build_telemetry,
    make_ready,
    render_samples,
    sample_reader,
)

FIRST, SECOND = HELD = [(EVENTS, 0), (EVENTS, 1)]
SHARD = [(PARTIALS, 3)]
MAY_BE_ZERO = ("consumer_lag", "ready")
OF_ROLES = (
    "blocked_partitions",
    "clock_offset",
    "commits",
    "consumer",
    "events_total",
    "offsets_skipped",
    "records",
    "sessions_lost",
    "stable_offset",
    "stream_records",
    "topic_partitions",
    "waiting",
)


@pytest.fixture
def health(clock):
    return Health(BOTH, clock.clock)


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
def exported(metrics):
    read = sample_reader(metrics.registry)
    return lambda name: read(name)[name]


@pytest.fixture
def shown(metrics, health):
    """What health and metrics say of the roles now, without what is zero; a lag and a condition may be."""

    def show():
        return [
            health.missing(),
            health.reasons(),
            health.blocked(),
            *(
                line
                for line in render_samples(metrics.registry).splitlines()
                if line.startswith(MAY_BE_ZERO) or (line.startswith(OF_ROLES) and not line.endswith(" 0"))
            ),
        ]

    return show


def test_matched_streams_are_exported_once_they_have_state():
    telemetry = build_telemetry("im*", "texts")
    for state, alarms, thresholds in (
        (build_shard(), 0, 0),
        (build_shard(watermark_ms=1), 2, 0),
        (build_shard(build_result(), build_result(stream="elsewhere")), 2, 1),
    ):
        RoleTelemetry(telemetry, Role.WINDOWS, SHARDS).show(IMAGES, state)
        samples = sample_reader(telemetry.registry)("alarm_active", "window_overdue_threshold_seconds")
        assert [*map(len, samples.values())] == [alarms, thresholds]


@pytest.fixture
def logged(caplog):
    """The fields of each message logged so far, among these."""
    caplog.set_level(logging.INFO, logger="driftgauge")
    return lambda *names: [tuple(getattr(each, name, None) for name in names) for each in caplog.records]


def test_streams_and_reasons_have_a_series_once_they_occurred(count, shown, snapshot):
    rejected = {(EVENTS, "images", Reason.NON_FINITE): 2, (EVENTS, None, Reason.UNKNOWN_STREAM): 4}
    records, skipped = Counter({(EVENTS, RecordOutcome.FILTERED): 3}), Counter({(EVENTS, SkipPlace.START): 2})
    for events, with_events in ((7, 4), (5, 5)):
        accepted, read = Counter(images=events), Counter(images=with_events)
        count.counted(IntervalCounts(accepted, read, Counter(rejected), records, skipped=skipped))
    count.partitions_known({EVENTS: 12, PARTIALS: 4})
    assert shown() == snapshot


def test_names_beyond_most_share_the_series_of_their_pattern():
    telemetry = build_telemetry("im*", "texts")
    count = RoleTelemetry(telemetry, Role.COUNT, SHARDS)
    for number in range(2):
        accepted = Counter(f"im{number}{name}" for name in ("a", "b", "c"))
        rejected = Counter({(EVENTS, f"im{number}d", Reason.FUTURE): 1})
        count.counted(IntervalCounts(accepted + Counter(texts=1), accepted, rejected))
    assert sample_reader(telemetry.registry)(
        "events_total", "stream_records_total", "records_rejected_total"
    ) == {
        "events_total": {"im0a": 1, "im*": 5, "texts": 2},
        "stream_records_total": {"im0a": 1, "im*": 5},
        "records_rejected_total": {"future im* embeddings": 2, "fault  embeddings": 0},
    }


@pytest.mark.parametrize("phase", list(Phase))
def test_phase_is_timed(count, exported, phase):
    with count.timed(phase):
        pass
    assert [each for each, number in exported("batch_duration_seconds_count").items() if number] == [phase]


def test_lost_session_ends_readiness_and_holds_nothing_until_assignment(
    windows, health, shown, logged, snapshot
):
    make_ready(health, ReadinessCondition.BASELINES_LOADED, ReadinessCondition.COUNT)
    assert health.missing() == [ReadinessCondition.WINDOWS]
    windows.assigned([], [])
    assert health.missing() == []
    windows.assigned(SHARD, SHARD)
    windows.read_to(PARTIALS, 3, position=4, end=5)
    windows.stopped([*SHARD, (PARTIALS, 1)])
    assert shown() == snapshot(name="held")
    windows.session_lost("the brokers are away", 0.5)
    assert shown() == snapshot(name="lost")
    lost = ("ERROR", "windows", "the brokers are away", 0.5)
    assert logged("levelname", "role", "error", "pause_s")[-1] == lost
    windows.assigned(SHARD, SHARD)
    assert shown() == snapshot(name="assigned")


def test_role_waits_with_a_reason_until_it_is_ready(count, shown, logged, snapshot):
    count.waits("waiting for the cluster", "the login is wrong", "_AUTHENTICATION")
    assert shown() == snapshot(name="waits")
    count.session_lost("no right to read", 0.5, "TOPIC_AUTHORIZATION_FAILED")
    count.lost(HELD)
    assert shown() == snapshot(name="still waits")
    assert logged("error", "reason")[0] == ("the login is wrong", "_AUTHENTICATION")
    count.set_ready(is_ready=True)
    assert shown() == snapshot(name="ready")


def test_role_that_was_refused_is_ready_after_a_commit_only(count, health):
    count.session_lost("no right to read", 0.5, "TOPIC_AUTHORIZATION_FAILED", is_refused=True)
    count.assigned(HELD, HELD)
    count.settled()
    assert health.reasons() == {"count": "no right to read"}
    count.committed()
    assert health.reasons() == {}


@pytest.mark.parametrize(
    "wait",
    [
        lambda count: count.waits("waiting for the cluster", "no broker answers", "_TRANSPORT"),
        lambda count: count.session_lost("the brokers are away", 0.5, "_TRANSPORT"),
        lambda count: count.lost(HELD),
        lambda count: count.session_lost("no right", 0.5, "TOPIC_AUTHORIZATION_FAILED", is_refused=True),
    ],
)
def test_replica_without_partitions_is_ready_once_it_has_joined(count, health, exported, wait):
    wait(count)
    assert health.reasons()
    count.assigned([], [])
    assert (health.reasons(), exported("waiting")) == ({}, {})


def test_aborts_in_a_row_are_counted_by_cause_and_leave_the_role_ready(count, exported, health, logged):
    def in_row():
        return {labels: number for labels, number in exported("commits_aborted_in_row").items() if number}

    make_ready(health)
    for _ in range(2):
        count.aborted(TransactionFailed("slow", is_slow=True))
    count.aborted(TransactionFailed("silent", unwritable=[(EVENTS, 0)]))
    count.aborted(TransactionFailed("no answer"))
    assert logged("levelname", "error")[-1] == ("WARNING", "no answer")
    assert health.missing() == []
    # New clients do not mend what fails.
    count.session_lost("many aborts", 0.5)
    assert in_row() == {"slow count": 2, "unwritable count": 1, "other count": 1}
    count.committed()
    assert in_row() == {}
    commits = exported("commits_total")
    assert commits == {"ok count": 1, "aborted count": 4, "ok windows": 0, "aborted windows": 0}
    # Another member goes on with what this one could not commit.
    for release in (count.revoked, count.lost):
        count.assigned(HELD, HELD)
        count.aborted(TransactionFailed("slow", is_slow=True))
        release([FIRST])
        assert in_row() == {"slow count": 1}
        release([SECOND])
        assert in_row() == {}


@pytest.mark.parametrize(("report", "level"), [("unwritable", "ERROR"), ("waiting_for_schema", "WARNING")])
def test_partitions_that_wait_are_exported_until_they_do_not(count, shown, logged, report, level, snapshot):
    report = getattr(count, report)
    report([(EVENTS, 3), (EVENTS, 1), ("other", 0)])
    assert shown() == snapshot(name="three")
    report([(EVENTS, 1)])
    assert shown() == snapshot(name="one")
    assert logged("levelname", "partitions") == [(level, ["embeddings[1]", "embeddings[3]", "other[0]"])]
    report([])
    assert shown() == snapshot(name="none")


def test_commit_clears_unwritable_partitions_of_own_role_that_it_wrote(count, windows, exported):
    windows.unwritable([(CHANGELOG, 2)])
    count.committed()
    windows.committed([(CHANGELOG, 2)])
    assert exported("blocked_partitions")[f"unwritable {CHANGELOG}"] == 1
    windows.aborted(TransactionFailed("no answer"))
    assert exported("blocked_partitions")[f"unwritable {CHANGELOG}"] == 1, "nobody has written to it"
    windows.committed()
    assert exported("blocked_partitions")[f"unwritable {CHANGELOG}"] == 0


def test_stalled_stable_offset_is_exported_until_it_moves_and_logged_once(
    count, windows, shown, logged, snapshot
):
    windows.stalled({(PARTIALS, 3): 50})
    for waits in ({FIRST: 41}, {FIRST: 46, SECOND: 41}, {SECOND: 65}):
        count.stalled(waits)
    assert shown() == snapshot(name="stalled")
    count.stalled({})
    assert shown() == snapshot(name="moved")
    assert logged("levelname", "role", "partitions")[1:] == [
        ("ERROR", "count", ["embeddings[0]"]),
        ("ERROR", "count", ["embeddings[1]"]),
    ]
    assert "DriftgaugeTransactionHanging" in logged("remedy")[0][0]


@pytest.mark.parametrize(("kind", "level"), [("revoked", "INFO"), ("lost", "WARNING")])
def test_positions_are_exported_while_partition_is_held(count, shown, health, logged, kind, level, snapshot):
    make_ready(health)
    count.assigned([FIRST], [FIRST])
    count.read_to(EVENTS, 0, position=40, end=30)
    count.assigned([SECOND], HELD)
    count.read_to(EVENTS, 1, position=40, end=100)
    assert shown() == snapshot(name="both")
    getattr(count, kind)([SECOND])
    count.read_to(EVENTS, 1, position=41, end=100)
    assert shown() == snapshot(name="one")
    assert logged("levelname", "partitions")[-1] == (level, ["embeddings[1]"])
    getattr(count, kind)([FIRST])
    assert shown() == snapshot(name="none")


@pytest.mark.parametrize(
    "end",
    [
        lambda windows: windows.started(11.0, SHARD),
        lambda windows: windows.lost(SHARD),
        lambda windows: windows.session_lost("the brokers are away", 0.5),
    ],
)
def test_start_that_waits_long_is_logged_and_reported_until_it_ends(windows, health, logged, end):
    windows.assigned(SHARD, SHARD)
    windows.start_waits(SHARD, "the committed offset", 9.9)
    assert health.blocked() == {}
    for waited_s in (10.0, 61.2):
        windows.start_waits(SHARD, "the committed offset", waited_s)
    assert health.blocked() == {"restore": (f"{PARTIALS}[3]",)}
    found = logged("partitions", "waiting_for", "waited_s")[-2:]
    assert found == [([f"{PARTIALS}[3]"], "the committed offset", waited_s) for waited_s in (10, 61)]
    # The log leaves out lines that differ by a fraction alone.
    assert {type(waited_s) for *_, waited_s in found} == {float}
    assert [("TransactionHanging" in remedy) for (remedy,) in logged("remedy")[-2:]] == [False, True]
    end(windows)
    assert health.blocked() == {}


def test_start_is_logged(windows, logged):
    windows.started(0.3004, [(PARTIALS, 3), (PARTIALS, 1)])
    assert logged("partitions", "waited_s") == [([f"{PARTIALS}[1]", f"{PARTIALS}[3]"], 0.3)]


def test_heartbeat_is_short_whatever_it_has_to_say(clock, health, metrics, count, windows, snapshot):
    count.unwritable([("t" * 245, number) for number in range(28_000)])
    count.topics_missing([f"{number:0249}" for number in range(4_000)])
    count.set_ready(is_ready=False, why="x" * 2_001)
    windows.set_ready(is_ready=False, why="x" * 2_000)
    for number in (3, 4):
        windows.closed(0, RoundResult([], surplus=[SurplusEvents("cam-*", 2, number, ("cam-9",))]))
    clock.advance(60.001)
    health.polled(Role.WINDOWS)
    heartbeat = metrics.activity.take("a")
    assert heartbeat == snapshot
    assert sum(map(len, encode_heartbeat(heartbeat))) < 100_000


def test_heartbeat_says_what_is_not_read_yet_of_each_held_topic(count, windows, metrics):
    count.assigned(HELD, HELD)
    windows.assigned(SHARD, SHARD)
    windows.read_to(PARTIALS, 3, position=0, end=900)
    assert metrics.activity.take("a").unread == {EVENTS: None}
    for partition, lag, unread in ((0, 30, None), (1, 31, 61), (0, 0, 31), (1, 0, 0)):
        count.read_to(EVENTS, partition, position=10, end=10 + lag)
        count.counted(IntervalCounts(records=Counter({(EVENTS, RecordOutcome.ACCEPTED): 60})))
        assert metrics.activity.take("a").unread == {EVENTS: unread}
    count.revoked(HELD)
    assert metrics.activity.take("a").unread == {}


def test_hours_between_records_and_events_are_said_of_small_streams_too(caplog):
    """Of a large stream far more is read than what is compared together."""
    role = RoleTelemetry(build_telemetry("large", "small"), Role.COUNT, SHARDS)
    for _ in range(6):
        read = Counter(large=90_000, small=1)
        role.counted(IntervalCounts(with_events=read, gaps=Counter({("small", 10): 1})))
    assert [each.stream for each in caplog.records if "whole hours" in each.message] == ["small"]


def test_clock_offset_and_missing_topics_end_readiness(count, shown, health, snapshot):
    make_ready(health)
    count.clock_is_off(-2_500, is_off=True)
    count.topics_missing({"other"})
    assert shown() == snapshot(name="ended")
    count.clock_is_off(-100, is_off=False)
    count.topics_missing(set())
    assert shown() == snapshot(name="ready again")


def test_lost_records_are_counted_and_logged_with_remedy(count, exported, logged):
    deleted = {(EVENTS, 3): RecordLoss(120, 880), (EVENTS, 1): RecordLoss(2, 7)}
    for losses in (deleted, {(EVENTS, 3): RecordLoss(1, 300, is_truncated=True)}):
        count.counted(IntervalCounts(losses=losses))
    assert exported("offsets_skipped_total")[f"deleted {EVENTS}"] == 123
    assert logged("levelname", "role", "partition", "records", "first_offset", "last_offset") == [
        ("ERROR", "count", f"{EVENTS}[1]", 2, 7, 8),
        ("ERROR", "count", f"{EVENTS}[3]", 120, 880, 999),
        ("ERROR", "count", f"{EVENTS}[3]@300", "at least 1", None, None),
    ]
    *_, deletion, truncation = (remedy for (remedy,) in logged("remedy"))
    assert "retention" in deletion
    assert "min.insync.replicas" in truncation


def test_each_shard_exports_its_own_streams_while_held(windows, exported):
    windows.closed(IMAGES, RoundResult([build_result()]))
    assert exported("window_end_timestamp_seconds") == {}, "only a shard's state is exported"
    for shard in range(SHARDS):
        windows.show(shard, build_shard())
    assert set(exported("p_value_threshold")) == {"images", "texts"}
    windows.show(IMAGES, build_shard(build_result(), build_result(stream="texts")))
    assert exported("window_events") == {"images 1h": 100}
    windows.shards_held([])
    assert exported("window_end_timestamp_seconds") == {}
