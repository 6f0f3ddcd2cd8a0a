"""Tests that plan and workload hold what checks are to meet: every disruption and every kind of event."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.chaos.brokers import java_hash
from tests.chaos.plan import (
    BELOW_MINIMUM_S,
    EXTRA_REPLICA,
    ONE_BROKER,
    RELAY_DISRUPTIONS,
    RELAYED_REPLICA,
    REPLICAS,
    SOCKET_TIMEOUT_S,
    THREE_BROKERS,
    BrokerRole,
    Disruption,
    DisruptionKind,
    Options,
    Profile,
)
from tests.chaos.windows import nearest
from tests.chaos.workload import (
    BURST,
    CENTRES,
    LATE_MS,
    LIVE,
    LIVE_DISORDER_MS,
    START_MS,
    Fault,
    Workload,
    WorkloadSpec,
)

SEEDS = range(50)
SPEC = WorkloadSpec(seed=1, events=20_000, seconds=60.0, live_from_ms=1_800_000_000_000, released_s=20.0)


@pytest.mark.parametrize(
    ("disruptions", "seconds", "profile"),
    [
        (10, 1_500.0, ONE_BROKER),
        (50, 1_500.0, ONE_BROKER),
        (25, 1_500.0, THREE_BROKERS),
        (50, 2_400.0, THREE_BROKERS),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_plan_has_every_kind_of_running_and_distinct_targets(
    seed: int, disruptions: int, seconds: float, profile: Profile
) -> None:
    plan = Options(20_000, disruptions, seconds, seed, profile).steps
    done: Counter[Disruption] = Counter()
    running: set[str] = {*REPLICAS, *BrokerRole}
    for step in plan:
        assert len({each.target for each in step.disruptions}) == len(step.disruptions)
        for each in step.disruptions:
            done[Disruption(each.kind, each.target if each.target in [*BrokerRole] else "")] += 1
            assert (each.target in running) == (each.kind is not DisruptionKind.ADD)
            running ^= {EXTRA_REPLICA} if each.kind in {DisruptionKind.ADD, DisruptionKind.REMOVE} else set()
            assert each.target == RELAYED_REPLICA or each.kind not in RELAY_DISRUPTIONS
            assert each.kind is not DisruptionKind.BROKER_PAUSE or each.away_s > SOCKET_TIMEOUT_S
    assert done.total() == disruptions
    assert done.keys() == {*profile.repeated, *profile.single}
    assert all(done[single] == 1 for single in profile.single)
    assert any(len(step.disruptions) == 2 for step in plan)
    long = [step.at_s for step in plan if step.disruptions[0].kind is DisruptionKind.BELOW_MINIMUM]
    assert disruptions < 50 or all(at_s > seconds / 2 for at_s in long)
    after = [step.at_s - at_s for at_s in long for step in plan if step.at_s > at_s]
    assert min(after, default=BELOW_MINIMUM_S) >= BELOW_MINIMUM_S == 120.0


@pytest.mark.parametrize(("disruptions", "seconds"), [(0, 25.0), (10, 90.0), (8, 240.0), (50, 1_500.0)])
@pytest.mark.parametrize("seed", SEEDS)
def test_burst_is_released_before_a_step(seed: int, disruptions: int, seconds: float) -> None:
    options = Options(20_000, disruptions, seconds, seed)
    after_s = [step.at_s - options.released_s for step in options.steps]
    assert any(each == pytest.approx(3.0) for each in after_s) == bool(disruptions)
    assert 0.3 * seconds <= options.released_s <= 0.6 * seconds


@pytest.mark.parametrize(
    ("text", "value"), [("", 0), ("a", 97), ("hello", 99_162_322), ("polygenelubricants", 0)]
)
def test_java_hash_matches_java(text: str, value: int) -> None:
    assert java_hash(text) == value


def test_workload_has_distinct_events_faults_late_events_and_fast_clocks() -> None:
    workload = Workload.make(SPEC)
    values = [workload.value(row) for row in range(len(workload))]
    again, other = (Workload.make(replace(SPEC, seed=seed)) for seed in (1, 2))
    assert [again.value(row) for row in range(100)] == values[:100]
    assert [other.value(row) for row in range(100)] != values[:100]
    assert len(set(values)) == len(workload)
    assert {*workload.fault.tolist()} == {*Fault}
    # Late events follow the horizon, and others precede it, as 30 s and 30 minutes are allowed.
    rows = ~np.isin(workload.stream, (LIVE, BURST))
    late, times_ms = workload.late[rows], workload.time_ms[rows]
    behind_ms = np.maximum.accumulate(times_ms) - times_ms
    assert late.any()
    assert behind_ms[late].min() >= LATE_MS[0] - 30_000
    assert behind_ms[~late].max() < 1_800_000 / 4
    assert not workload.late[~rows].any()
    # Live events have the time of sending, but for fast clocks.
    sent_ms = workload.sent_ms[workload.stream == LIVE]
    ahead_ms = workload.time_ms[workload.stream == LIVE] - SPEC.live_from_ms - sent_ms
    fast = ahead_ms > 0
    assert ahead_ms[~fast].min() > -LIVE_DISORDER_MS - 1
    assert ahead_ms[fast].max() <= SPEC.fast_ms == 48_000


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("seconds", "held_ms"), [(60.0, (6_000, 18_000)), (1_500.0, (9_000, 27_000))])
def test_burst_is_behind_an_event_that_holds_the_watermark(
    seed: int, seconds: float, held_ms: tuple[int, int]
) -> None:
    workload = Workload.make(replace(SPEC, seed=seed, seconds=seconds, released_s=500.0))
    assert len(workload) == SPEC.events
    assert (np.diff(workload.sent_ms) >= 0).all()
    rows = np.flatnonzero(workload.stream == BURST)
    first, *others, last = zip(
        workload.sent_ms[rows].tolist(), workload.partition[rows].tolist(), strict=True
    )
    assert {first[0]} == {sent_ms for sent_ms, _ in others}
    assert held_ms[0] <= last[0] - first[0] <= held_ms[1]
    assert last[0] == 500_000
    assert {partition for _, partition in others} != {first[1]} == {last[1]}
    minutes = [START_MS - minute * 60_000 for minute in (*range(4_000, 0, -1), 1)]
    assert workload.time_ms[rows].tolist() == minutes
    assert not workload.fault[rows].any()


def test_vector_between_centroids_is_rejected() -> None:
    between = ((CENTRES[:1] + CENTRES[1:2]) / 2).astype(np.float32)
    with pytest.raises(AssertionError, match="between two centroids"):
        nearest(between, CENTRES.astype(np.float32))
