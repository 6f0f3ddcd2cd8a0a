"""What a role reports: its metrics, its readiness, and its log messages."""

import json
import logging
from collections import Counter
from operator import attrgetter
from types import SimpleNamespace
from typing import Any
from unittest.mock import call

import pytest

from driftgauge.core.windows.admission import SurplusEvents
from driftgauge.core.windows.deltas import LateEvents
from driftgauge.core.windows.shard import RoundResult
from driftgauge.errors import TransactionFailed
from driftgauge.events.outcomes import CommitOutcomes, RecordLoss, RecordOutcome, SkipPlace
from driftgauge.events.rejection import Reason
from driftgauge.records.heartbeat import encode_heartbeat
from driftgauge.telemetry.health import Health, Role
from driftgauge.telemetry.logs import extra_fields
from driftgauge.telemetry.roles import Phase, RoleTelemetry
from tests.builders.clocks import DAY_MS
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
    render_samples,
    sample_reader,
)

# A call of a role's method, to be made by the test.
count: Any = call.count
windows: Any = call.windows
FIRST, SECOND = HELD = [(EVENTS, 0), (EVENTS, 1)]
SHARD = [(PARTIALS, 3)]
MAY_BE_ZERO = (
    "alarm_active",
    "clock_offset",
    "consumer_lag",
    "ready",
    "stable_offset",
    "topic_partitions",
    "waiting",
)
OF_ROLES = (
    "blocked_partitions",
    "clock_offset",
    "commits",
    "consumer",
    "events_total",
    "offsets_skipped",
    "p_value_threshold",
    "records",
    "sessions_lost",
    "stable_offset",
    "stream_records",
    "topic_partitions",
    "waiting",
    "window_events",
    "window_overdue",
)
ALL_READY = [windows.assigned([], []), count.assigned([], [])]
DENIED = "TOPIC_AUTHORIZATION_FAILED"
SLOW = TransactionFailed("slow", is_slow=True)
UNWRITABLE = [(CHANGELOG, 2)]
REJECTED = {(EVENTS, "images", Reason.NON_FINITE): 2, (EVENTS, None, Reason.UNKNOWN_STREAM): 4}
NO_EVENT = (Counter(REJECTED), Counter({(EVENTS, RecordOutcome.FILTERED): 3}))
SKIPPED = Counter({(EVENTS, SkipPlace.START): 2})
DELETED = {(EVENTS, 3): RecordLoss(120, 880), (EVENTS, 1): RecordLoss(2, 7)}
TRUNCATED = {(EVENTS, 3): RecordLoss(1, 300, is_truncated=True)}
REVISED = build_result(
    (1, 0, 0, 0),
    revision=1,
    missing=((EVENTS, 12), (EVENTS, 1)),
    incomplete_reason="counted_otherwise",
    events_lost=True,
    counted_twice=True,
)
OF_MATCHED = [build_result(stream="im1"), build_result(stream="elsewhere")]


@pytest.fixture
def health(clock):
    return Health(BOTH, clock.clock)


@pytest.fixture
def metrics(clock, health):
    return build_telemetry("images", "texts", "im*", clock=clock, health=health)


@pytest.fixture
def roles(metrics):
    return SimpleNamespace(**{role: RoleTelemetry(metrics, role, SHARDS) for role in BOTH})


@pytest.fixture
def reported(metrics, health, caplog):
    """What health, metrics and log say of the roles since the last look.

    A zero is left out if the series has it from the start.
    """
    caplog.set_level(logging.INFO, logger="driftgauge")

    def look():
        metric_lines = [
            line
            for line in render_samples(metrics.registry).splitlines()
            if line.startswith(MAY_BE_ZERO) or (line.startswith(OF_ROLES) and not line.endswith(" 0"))
        ]
        logged = [
            f"{each.levelname} {each.getMessage()} {json.dumps(extra_fields(each))}"
            for each in caplog.records
        ]
        caplog.clear()
        return [health.missing(), health.reasons(), health.blocked(), *metric_lines, *logged]

    return look


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(
            [
                [
                    count.counted(CommitOutcomes(Counter(images=7), Counter(images=4), *NO_EVENT)),
                    count.counted(CommitOutcomes(Counter(images=5), Counter(images=5), *NO_EVENT)),
                    count.counted(CommitOutcomes(skipped=SKIPPED)),
                    count.partitions_known({EVENTS: 12, PARTIALS: 4}),
                ]
            ],
            id="streams and reasons have a series once they occurred",
        ),
        pytest.param(
            [
                [
                    count.counted(CommitOutcomes(losses=DELETED)),
                    count.counted(CommitOutcomes(losses=TRUNCATED)),
                ]
            ],
            id="lost records",
        ),
        pytest.param(
            [
                [windows.assigned([], [])],
                [
                    windows.assigned(SHARD, SHARD),
                    windows.read_to(PARTIALS, 3, position=4, end=5),
                    windows.stopped([*SHARD, (PARTIALS, 1)]),
                ],
                [windows.session_lost("the brokers are away", 0.5)],
                [windows.assigned(SHARD, SHARD)],
            ],
            id="a lost session holds nothing until an assignment",
        ),
        pytest.param(
            [
                [count.waits("waiting for the cluster", "the login is wrong", "_AUTHENTICATION")],
                [count.session_lost("no right to read", 0.5, DENIED), count.lost(HELD)],
                [count.set_ready(is_ready=True)],
            ],
            id="a role waits with a reason until it is ready",
        ),
        pytest.param(
            [
                [
                    count.session_lost("no right to read", 0.5, DENIED, is_refused=True),
                    count.assigned(HELD, HELD),
                    count.settled(),
                ],
                [count.committed(), count.lost([FIRST]), count.assigned([FIRST], HELD)],
            ],
            id="a role that was refused is ready after a commit only",
        ),
        *(
            pytest.param([[wait], [count.assigned([], [])]], id=f"joined without partitions after {name}")
            for name, wait in (
                ("a wait", count.waits("waiting for the cluster", "no broker answers", "_TRANSPORT")),
                ("a lost session", count.session_lost("the brokers are away", 0.5, "_TRANSPORT")),
                ("lost partitions", count.lost(HELD)),
                ("a refusal", count.session_lost("no right", 0.5, DENIED, is_refused=True)),
            )
        ),
        pytest.param(
            [
                [
                    *ALL_READY,
                    count.aborted(SLOW),
                    count.aborted(SLOW),
                    count.aborted(TransactionFailed("silent", unwritable=[FIRST])),
                    count.aborted(TransactionFailed("no answer")),
                ],
                # New clients do not mend what fails.
                [count.session_lost("many aborts", 0.5)],
                [count.committed()],
            ],
            id="aborts in a row are counted by cause until a commit",
        ),
        # Another member goes on with what this one could not commit.
        *(
            pytest.param(
                [[count.assigned(HELD, HELD), count.aborted(SLOW), release([FIRST])], [release([SECOND])]],
                id=f"aborts in a row end with {name}",
            )
            for name, release in (("revocation", count.revoked), ("loss", count.lost))
        ),
        *(
            pytest.param(
                [[report([(EVENTS, 3), (EVENTS, 1), ("other", 0)])], [report([(EVENTS, 1)])], [report([])]],
                id=f"partitions are {name}",
            )
            for name, report in (
                ("unwritable", count.unwritable),
                ("without schema", count.waiting_for_schema),
            )
        ),
        pytest.param(
            [
                [windows.unwritable(UNWRITABLE), count.committed(), windows.committed(UNWRITABLE)],
                # Nobody has written to it.
                [windows.aborted(TransactionFailed("no answer"))],
                [windows.committed()],
            ],
            id="a commit clears unwritable partitions of its role that it wrote",
        ),
        pytest.param(
            [
                [
                    windows.stalled({(PARTIALS, 3): 50}),
                    count.stalled({FIRST: 41}),
                    count.stalled({FIRST: 46, SECOND: 41}),
                    count.stalled({SECOND: 65}),
                ],
                [count.stalled({})],
            ],
            id="a stable offset that stalls is reported until it moves",
        ),
        *(
            pytest.param(
                [
                    [
                        *ALL_READY,
                        count.assigned([FIRST], [FIRST]),
                        count.read_to(EVENTS, 0, position=40, end=30),
                        count.assigned([SECOND], HELD),
                        count.read_to(EVENTS, 1, position=40, end=100),
                    ],
                    [release([SECOND]), count.read_to(EVENTS, 1, position=41, end=100)],
                    [release([FIRST])],
                ],
                id=f"positions are reported until {name}",
            )
            for name, release in (("revocation", count.revoked), ("loss", count.lost))
        ),
        *(
            pytest.param(
                [
                    [windows.assigned(SHARD, SHARD), windows.start_waits(SHARD, "the offset", 9.9)],
                    # The log leaves out lines that differ by a fraction alone.
                    [windows.start_waits(SHARD, "the offset", waited_s) for waited_s in (10.0, 61.2)],
                    [end],
                ],
                id=f"a start that waits long is reported until {name}",
            )
            for name, end in (
                ("it is made", windows.started(11.0004, SHARD)),
                ("loss", windows.lost(SHARD)),
                ("a lost session", windows.session_lost("the brokers are away", 0.5)),
            )
        ),
        pytest.param(
            [
                [*ALL_READY, count.clock_is_off(-2_500, is_off=True), count.topics_missing({"other"})],
                [count.clock_is_off(-100, is_off=False), count.topics_missing(set())],
            ],
            id="clock and missing topics",
        ),
        pytest.param(
            [
                [windows.closed(IMAGES, RoundResult([build_result()]))],
                [windows.show(shard, build_shard()) for shard in range(SHARDS)],
                [windows.show(IMAGES, build_shard(build_result(), build_result(stream="texts")))],
                [windows.shards_held([])],
            ],
            id="each shard exports its own streams while held",
        ),
        pytest.param(
            [
                [windows.show(IMAGES, build_shard(matches=["im*"]))],
                [windows.show(IMAGES, build_shard(stream="im1", matches=["im*"], watermark_ms=1))],
                [windows.show(IMAGES, build_shard(*OF_MATCHED, matches=["im*"]))],
            ],
            id="matched streams are exported once they have state",
        ),
        pytest.param(
            [
                [windows.closed(3, RoundResult([REVISED]))],
                [windows.closed(3, RoundResult([], [LateEvents("images", DAY_MS, 5, ((EVENTS, 1), 40))]))],
                [windows.closed(3, RoundResult(surplus=[SurplusEvents("im*", 2, 5, ("im3", "im4"))]))],
                [windows.closed(3, RoundResult(chain_errors=["embeddings[1]: gap from offset 7 to 9"]))],
            ],
            id="a round of a shard is logged",
        ),
    ],
)
def test_role_reports(roles, reported, steps, snapshot):
    for step in steps:
        for name, arguments, options in step:
            attrgetter(name)(roles)(*arguments, **options)
        assert reported() == snapshot


def test_names_beyond_most_share_the_series_of_their_pattern(metrics, roles):
    for number in range(2):
        accepted = Counter(f"im{number}{name}" for name in ("a", "b", "c"))
        rejected = Counter({(EVENTS, f"im{number}d", Reason.FUTURE): 1})
        roles.count.counted(CommitOutcomes(accepted + Counter(texts=1), accepted, rejected))
    read = sample_reader(metrics.registry)
    assert read("events_total", "stream_records_total", "records_rejected_total") == {
        "events_total": {"im0a": 1, "im*": 5, "texts": 2},
        "stream_records_total": {"im0a": 1, "im*": 5},
        "records_rejected_total": {"future im* embeddings": 2, "fault  embeddings": 0},
    }


@pytest.mark.parametrize("phase", list(Phase))
def test_phase_is_timed(metrics, roles, phase):
    with roles.count.timed(phase):
        pass
    (timed,) = sample_reader(metrics.registry)("batch_duration_seconds_count").values()
    assert [each for each, number in timed.items() if number] == [phase]


def test_heartbeat_is_short_whatever_it_has_to_say(clock, health, metrics, roles, snapshot):
    roles.count.unwritable([("t" * 245, number) for number in range(28_000)])
    roles.count.topics_missing([f"{number:0249}" for number in range(4_000)])
    roles.count.set_ready(is_ready=False, why="x" * 2_001)
    roles.windows.set_ready(is_ready=False, why="x" * 2_000)
    for number in (3, 4):
        roles.windows.closed(0, RoundResult(surplus=[SurplusEvents("cam-*", 2, number, ("cam-9",))]))
    clock.advance(60.001)
    health.polled(Role.WINDOWS)
    heartbeat = metrics.activity.take("a")
    assert heartbeat == snapshot
    assert sum(map(len, encode_heartbeat(heartbeat))) < 100_000


def test_heartbeat_says_what_is_not_read_yet_of_each_held_topic(roles, metrics):
    roles.count.assigned(HELD, HELD)
    roles.windows.assigned(SHARD, SHARD)
    roles.windows.read_to(PARTIALS, 3, position=0, end=900)
    assert metrics.activity.take("a").unread == {EVENTS: None}
    for partition, lag, unread in ((0, 30, None), (1, 31, 61), (0, 0, 31), (1, 0, 0)):
        roles.count.read_to(EVENTS, partition, position=10, end=10 + lag)
        roles.count.counted(CommitOutcomes(records=Counter({(EVENTS, RecordOutcome.ACCEPTED): 60})))
        assert metrics.activity.take("a").unread == {EVENTS: unread}
    roles.count.revoked(HELD)
    assert metrics.activity.take("a").unread == {}


def test_hours_between_records_and_events_are_said_of_small_streams_too(caplog):
    """Of a large stream far more is read than what is compared together."""
    role = RoleTelemetry(build_telemetry("large", "small"), Role.COUNT, SHARDS)
    for _ in range(6):
        read = Counter(large=90_000, small=1)
        role.counted(CommitOutcomes(accepted=read, gaps=Counter({("small", 10): 1})))
    assert [each.stream for each in caplog.records if "whole hours" in each.message] == ["small"]
