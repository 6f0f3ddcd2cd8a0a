"""The events of a run and what must be counted of them."""

from collections import Counter

import numpy as np
import orjson
import pytest

from tests.chaos.truth import nearest, true_counts
from tests.chaos.workload import CENTRES, KEYED_PARTITION, PARTITIONS, STREAMS, Fault, Workload

ALLOWED_DISORDER_MS = 30_000
CENTROIDS = {stream: CENTRES.astype(np.float32) for stream in STREAMS}


@pytest.fixture(scope="module")
def workload() -> Workload:
    return Workload.make(seed=1, events=20_000, seconds=60.0)


def test_the_same_seed_gives_the_same_events(workload: Workload) -> None:
    again, other = (Workload.make(seed, len(workload), workload.seconds) for seed in (1, 2))
    values = [workload.value(row) for row in range(100)]
    assert [again.value(row) for row in range(100)] == values
    assert [other.value(row) for row in range(100)] != values


def test_no_two_events_are_alike(workload: Workload) -> None:
    assert len({workload.value(row) for row in range(len(workload))}) == len(workload)


def test_the_events_of_a_stream_on_a_partition_are_out_of_order_within_bounds(workload: Workload) -> None:
    for stream in range(len(STREAMS)):
        for partition in np.unique(workload.partition[workload.stream == stream]):
            times = workload.time_ms[(workload.stream == stream) & (workload.partition == partition)]
            behind_ms = np.maximum.accumulate(times) - times
            assert 0 < behind_ms.max() < ALLOWED_DISORDER_MS


def test_every_stream_is_everywhere_but_for_the_last_which_is_on_one_partition(workload: Workload) -> None:
    found = [set(workload.partition[workload.stream == stream].tolist()) for stream in range(len(STREAMS))]
    everywhere = set(range(PARTITIONS))
    assert found == [everywhere, everywhere, {KEYED_PARTITION}]


def test_some_events_are_faulty_in_each_way(workload: Workload) -> None:
    numbers = Counter(workload.fault.tolist())
    assert set(numbers) == set(Fault)
    assert 5 <= len(workload) - numbers[Fault.NONE] <= 50


def test_the_truth_is_the_sound_events_counted_one_by_one(workload: Workload) -> None:
    expected: Counter[tuple[str, str, int, int]] = Counter()
    for row in np.flatnonzero(workload.fault == Fault.NONE).tolist():
        time_ms = orjson.loads(workload.value(row))["timestamp"]
        cluster = min(range(len(CENTRES)), key=lambda c: np.linalg.norm(workload.vectors[row] - CENTRES[c]))
        for window, size_ms in (("1m", 60_000), ("5m", 300_000)):
            expected[STREAMS[workload.stream[row]], window, time_ms - time_ms % size_ms, cluster] += 1

    counts = true_counts(workload, CENTROIDS)

    assert {
        (*key, cluster): number
        for key, numbers in counts.items()
        for cluster, number in enumerate(numbers)
        if number
    } == expected
    assert {len(numbers) for numbers in counts.values()} == {len(CENTRES)}


def test_a_vector_that_rounding_could_move_is_refused() -> None:
    between = ((CENTRES[:1] + CENTRES[1:2]) / 2).astype(np.float32)
    with pytest.raises(AssertionError, match="between two centroids"):
        nearest(between, CENTROIDS["alpha"])
