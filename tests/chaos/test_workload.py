"""Tests of the generated workload and the expected counts."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.chaos.expected_counts import nearest
from tests.chaos.workload import (
    BURST,
    CENTRES,
    FAST_WITHIN,
    LATE_FROM,
    LATE_MS,
    LIVE,
    LIVE_DISORDER_MS,
    START_MS,
    STREAMS,
    Fault,
    Workload,
    WorkloadSpec,
)

ALLOWED_DISORDER_MS, ALLOWED_LATENESS_MS = 30_000, 1_800_000
RECIPE = WorkloadSpec(seed=1, events=20_000, seconds=60.0, live_from_ms=1_800_000_000_000, released_s=20.0)
CENTROIDS = {stream: CENTRES.astype(np.float32) for stream in STREAMS}


@pytest.fixture(scope="module")
def workload() -> Workload:
    return Workload.make(RECIPE)


def test_workload_depends_on_seed_and_its_events_are_distinct(workload: Workload) -> None:
    again, other = (Workload.make(replace(RECIPE, seed=seed)) for seed in (1, 2))
    values = [workload.value(row) for row in range(len(workload))]
    assert [again.value(row) for row in range(100)] == values[:100]
    assert [other.value(row) for row in range(100)] != values[:100]
    assert len(set(values)) == len(workload)


def behind_ms(times: NDArray[np.int64]) -> NDArray[np.int64]:
    behind: NDArray[np.int64] = np.maximum.accumulate(times) - times
    return behind


def test_late_events_follow_horizon_and_others_precede(workload: Workload) -> None:
    rows = ~np.isin(workload.stream, (LIVE, BURST))
    behind, late = behind_ms(workload.time_ms[rows]), workload.late[rows]
    assert 50 < late.sum() < 150
    assert behind[late].min() >= LATE_MS[0] - ALLOWED_DISORDER_MS
    assert behind[~late].max() < ALLOWED_LATENESS_MS / 4
    assert workload.sent_ms[workload.late].min() >= LATE_FROM * RECIPE.seconds * 1_000
    assert not workload.late[~rows].any()


def test_live_events_have_send_time_except_fast_clocks(workload: Workload) -> None:
    rows = workload.stream == LIVE
    sent_ms = workload.sent_ms[rows]
    ahead_ms = workload.time_ms[rows] - RECIPE.live_from_ms - sent_ms
    fast = ahead_ms > 0
    assert ahead_ms[~fast].min() > -LIVE_DISORDER_MS - 1
    assert ahead_ms[fast].max() <= RECIPE.fast_ms == 48_000
    assert 150 < fast.sum() < 400
    progress = sent_ms[fast] / (RECIPE.seconds * 1_000)
    assert FAST_WITHIN[0] < progress.min() < progress.max() < FAST_WITHIN[1]
    assert replace(RECIPE, seconds=1_500.0).fast_ms == 240_000


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("seconds", "held_ms"), [(60.0, (6_000, 18_000)), (1_500.0, (9_000, 27_000))])
def test_burst_is_behind_an_event_that_holds_the_watermark(
    seed: int, seconds: float, held_ms: tuple[int, int]
) -> None:
    workload = Workload.make(replace(RECIPE, seed=seed, seconds=seconds, released_s=500.0))
    assert len(workload) == len(workload.sent_ms) == RECIPE.events
    assert (np.diff(workload.sent_ms) >= 0).all()
    rows = np.flatnonzero(workload.stream == BURST)
    sent_ms, partition, time_ms = (
        column[rows].tolist() for column in (workload.sent_ms, workload.partition, workload.time_ms)
    )
    assert set(sent_ms[:-1]) == {sent_ms[0]}
    assert sent_ms[-1] == 500_000
    assert held_ms[0] <= sent_ms[-1] - sent_ms[0] <= held_ms[1]
    assert partition[0] == partition[-1] != partition[1]
    assert set(partition[1:-1]) == {partition[1]}
    assert time_ms[:-1] == [START_MS - minute * 60_000 for minute in range(4_000, 0, -1)]
    assert time_ms[-1] == time_ms[-2]
    assert not workload.fault[rows].any()


@pytest.mark.parametrize(("events", "panes"), [(20_000, 4_000), (100_000, 20_000), (1_000_000, 20_000)])
def test_burst_is_large_in_a_short_run_and_bounded_in_a_long_one(events: int, panes: int) -> None:
    assert replace(RECIPE, events=events).panes == panes


def test_workload_has_every_fault(workload: Workload) -> None:
    numbers = Counter(workload.fault.tolist())
    assert set(numbers) == set(Fault)
    assert 5 <= len(workload) - numbers[Fault.NONE] <= 50


def test_vector_between_centroids_is_rejected() -> None:
    between = ((CENTRES[:1] + CENTRES[1:2]) / 2).astype(np.float32)
    with pytest.raises(AssertionError, match="between two centroids"):
        nearest(between, CENTROIDS["alpha"])
