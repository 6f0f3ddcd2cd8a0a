"""Tests of `driftgauge.baseline.windows`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.baseline.moments import moments
from driftgauge.baseline.windows import (
    LEAST_WINDOWS,
    Traffic,
    observe,
    report_ratio,
    split_whole,
)
from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.statistics.overdispersion import Overdispersion
from tests.builders.baselines import by_columns, project
from tests.builders.clocks import HOUR_MS


def test_traffic_aligns_windows_to_epoch() -> None:
    times_ms = np.array([5 * HOUR_MS, 2 * HOUR_MS - 1, 2 * HOUR_MS, 3 * HOUR_MS - 1, HOUR_MS], dtype=np.int64)
    traffic = Traffic.of(times_ms, HOUR_MS)
    assert traffic.numbers.tolist() == [2, 0, 1, 1, 0]
    assert traffic.sizes.tolist() == [2, 2, 1]
    assert traffic.name == "windows of 1h"


@given(
    sizes=st.lists(st.integers(1, 40), min_size=LEAST_WINDOWS, max_size=3 * LEAST_WINDOWS),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 2**40),
)
def test_split_whole_keeps_windows_whole_and_meets_target(sizes: list[int], share: float, seed: int) -> None:
    # In an order that has nothing to do with the windows.
    numbers = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    target = int(share * len(numbers))
    split = split_whole(numbers, target, seed)
    if max(sizes) > len(numbers) / 4:
        assert split is None
        return
    assert split is not None
    fitted, held_out = split
    assert not set(numbers[fitted]) & set(numbers[held_out])
    np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(len(numbers)))
    assert (np.diff(fitted) > 0).all()
    assert (np.diff(held_out) > 0).all()
    assert len(np.unique(numbers[held_out])) >= 2
    first_alone = len(np.unique(numbers[fitted])) == 1
    assert first_alone or abs(len(fitted) - target) <= max(sizes) / 2


def test_split_whole_is_random_and_repeatable() -> None:
    numbers = np.repeat(np.arange(LEAST_WINDOWS), 10)
    splits = [split_whole(numbers, 5 * LEAST_WINDOWS, seed) for seed in (1, 1, 2)]
    first, again, other = (split[0].tolist() for split in splits if split is not None)
    assert first == again
    assert first != other
    assert split_whole(numbers[:-10], 5 * LEAST_WINDOWS, 0) is None, "of too few windows"


def drawn(random: np.random.Generator, windows: int, bursts: int, length: int) -> tuple[np.ndarray, ...]:
    """Windows of bursts, each of `length` equal vectors: their windows, clusters and vectors."""
    size = windows * bursts
    ids = random.choice(6, size, p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
    vectors = random.normal(size=(size, 4)) * [3, 2, 1, 0.5] + ids[:, None]
    numbers = np.repeat(np.arange(windows), bursts * length)
    return numbers, np.repeat(ids, length), np.repeat(vectors, length, axis=0).astype(np.float32)


def observed(numbers: np.ndarray, ids: np.ndarray, vectors: np.ndarray) -> tuple[int, Overdispersion | None]:
    rows = np.arange(len(vectors))
    reference = moments(vectors, rows)
    standardized = project(vectors, reference) / np.sqrt(reference.variances)
    return observe(numbers, ids, standardized, 6, by_columns(np.zeros((len(vectors), 3))))


def test_observe_leaves_out_small_windows() -> None:
    sizes = [29, 30, 1, 400, 7]
    numbers = np.repeat(np.arange(5), sizes)
    ids = np.arange(len(numbers)) % 6
    vectors = np.random.default_rng(0).normal(size=(len(numbers), 4)).astype(np.float32)
    assert observed(numbers, ids, vectors) == (2, None)


# Overdispersion is 1 or more, so independent events come out a little above it.
@pytest.mark.parametrize(("length", "tolerance"), [(1, 0.15), (2, 0.06), (4, 0.06)])
def test_observe_estimates_overdispersion_of_bursts_without_bias(length: int, tolerance: float) -> None:
    # 30 estimates from 20 windows each: their mean is known to 3 %. Compared with a reference that
    # contains the window, and as if it did not, they would come out 10 % low.
    estimates = []
    for seed in range(30):
        _, overdispersion = observed(*drawn(np.random.default_rng(seed), 20, 60, length))
        assert overdispersion is not None
        estimates.append(overdispersion.counts)
    assert np.mean(estimates) == pytest.approx(length, rel=tolerance)


def test_report_ratio_warns_below_twenty_times_median_window() -> None:
    traffic = Traffic.of(np.repeat(np.arange(3), [10, 100, 5_000]) * HOUR_MS, HOUR_MS)
    lines: list[str] = []
    report_ratio(traffic, 2_000, lines.append)
    report_ratio(traffic, 1_999, lines.append)
    assert lines[0] == (
        "windows of 1h hold 100 events (the median), and the reference counts 20.0 times as many"
    )
    assert lines[1].startswith("warning: windows of 1h hold 100 events")
    assert "below 20 times" in lines[1]
    assert "give more events, or use shorter windows" in lines[1]


@pytest.mark.parametrize("length", [1, 4])
def test_observe_estimates_overdispersion_of_distances(length: int) -> None:
    random = np.random.default_rng(length)
    lengths = np.repeat(random.normal(size=(12_000, 3)), length, axis=0)
    numbers = np.arange(len(lengths)) // (200 * length)
    ids = np.arange(len(lengths)) % 6
    hashes = np.repeat(random.integers(HASH_BINS, size=12_000), length)
    _, found = observe(numbers, ids, lengths[:, :2], 6, by_columns(lengths), {"hash_counts": hashes})
    assert found is not None
    assert np.hstack(list(found.others.values())) == pytest.approx(np.full(4, length), rel=0.5)
