"""Tests of the generated workload and the expected counts."""

from collections import Counter
from dataclasses import replace

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from tests.chaos.expected_counts import WINDOWS_MS, ExpectedCounts, nearest
from tests.chaos.workload import (
    CENTRES,
    FAST_WITHIN,
    LATE_FROM,
    LATE_MS,
    LIVE,
    LIVE_DISORDER_MS,
    STREAMS,
    Fault,
    Workload,
    WorkloadSpec,
)

ALLOWED_DISORDER_MS, ALLOWED_LATENESS_MS = 30_000, 1_800_000
RECIPE = WorkloadSpec(seed=1, events=20_000, seconds=60.0, live_from_ms=1_800_000_000_000)
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
    rows = workload.stream != LIVE
    behind, late = behind_ms(workload.time_ms[rows]), workload.late[rows]
    assert 50 < late.sum() < 150
    assert behind[late].min() >= LATE_MS[0] - ALLOWED_DISORDER_MS
    assert behind[~late].max() < ALLOWED_LATENESS_MS / 4
    assert np.flatnonzero(workload.late).min() >= LATE_FROM * len(workload)
    assert not workload.late[workload.stream == LIVE].any()


def test_live_events_have_send_time_except_fast_clocks(workload: Workload) -> None:
    rows = np.flatnonzero(workload.stream == LIVE)
    sent_ms = RECIPE.live_from_ms + rows / len(workload) * RECIPE.seconds * 1_000
    ahead_ms = workload.time_ms[rows] - sent_ms
    fast = ahead_ms > 0
    assert ahead_ms[~fast].min() > -LIVE_DISORDER_MS - 1
    assert ahead_ms[fast].max() <= RECIPE.fast_ms == 48_000
    assert 150 < fast.sum() < 400
    progress = rows[fast] / len(workload)
    assert FAST_WITHIN[0] < progress.min() < progress.max() < FAST_WITHIN[1]
    assert replace(RECIPE, seconds=1_500.0).fast_ms == 240_000


def test_workload_has_every_fault(workload: Workload) -> None:
    numbers = Counter(workload.fault.tolist())
    assert set(numbers) == set(Fault)
    assert 5 <= len(workload) - numbers[Fault.NONE] <= 50


def test_expected_counts_match_events_counted_one_by_one(workload: Workload) -> None:
    counted = ExpectedCounts.of(workload, CENTROIDS)
    for counts, rows in (
        (counted.all, workload.fault == Fault.NONE),
        (counted.on_time, (workload.fault == Fault.NONE) & ~workload.late),
    ):
        expected: Counter[tuple[str, str, int, int]] = Counter()
        for row in np.flatnonzero(rows).tolist():
            time_ms = orjson.loads(workload.value(row))["timestamp"]
            cluster = min(
                range(len(CENTRES)), key=lambda c: np.linalg.norm(workload.vectors[row] - CENTRES[c])
            )
            stream = STREAMS[workload.stream[row]]
            for window, size_ms in WINDOWS_MS[stream].items():
                expected[stream, window, time_ms - time_ms % size_ms, cluster] += 1
        assert {
            (*key, cluster): number
            for key, numbers in counts.items()
            for cluster, number in enumerate(numbers)
            if number
        } == expected
        assert {len(numbers) for numbers in counts.values()} == {len(CENTRES)}


def test_vector_between_centroids_is_rejected() -> None:
    between = ((CENTRES[:1] + CENTRES[1:2]) / 2).astype(np.float32)
    with pytest.raises(AssertionError, match="between two centroids"):
        nearest(between, CENTROIDS["alpha"])
