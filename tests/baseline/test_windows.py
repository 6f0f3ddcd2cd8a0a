"""Tests of `driftgauge.baseline.windows`."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftgauge.baseline import windows as module
from driftgauge.baseline.moments import moments, project
from driftgauge.baseline.segments import Members, reference_segments
from driftgauge.baseline.spreads import SpreadPair
from driftgauge.baseline.windows import (
    LEAST_WINDOWS,
    Traffic,
    measure_overdispersion,
    measure_segments,
    observe,
    report_ratio,
    split_whole,
)
from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.reference import SegmentReference
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, Overdispersion, OverdispersionEstimator
from tests.builders.baselines import silent
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
    traffic = Traffic(np.repeat(np.arange(LEAST_WINDOWS), 10), HOUR_MS)
    splits = [split_whole(traffic.numbers, 5 * LEAST_WINDOWS, seed) for seed in (1, 1, 2)]
    first, again, other = (split[0].tolist() for split in splits if split is not None)
    assert first == again
    assert first != other


def test_split_whole_of_too_few_windows_returns_none() -> None:
    numbers = np.repeat(np.arange(LEAST_WINDOWS - 1), 10)
    assert split_whole(numbers, 100, 0) is None


def drawn(random: np.random.Generator, windows: int, bursts: int, length: int) -> tuple[np.ndarray, ...]:
    """Windows of bursts, each of `length` equal vectors: their windows, clusters and vectors."""
    size = windows * bursts
    ids = random.choice(6, size, p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
    vectors = random.normal(size=(size, 4)) * [3, 2, 1, 0.5] + ids[:, None]
    numbers = np.repeat(np.arange(windows), bursts * length)
    return numbers, np.repeat(ids, length), np.repeat(vectors, length, axis=0).astype(np.float32)


def observed(numbers: np.ndarray, ids: np.ndarray, vectors: np.ndarray) -> OverdispersionEstimator:
    rows = np.arange(len(vectors))
    reference = moments(vectors, rows)
    return observe(numbers, ids, project(vectors, rows, reference) / np.sqrt(reference.variances), 6)


def test_observe_compares_window_with_rest_of_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Recorder:
        @classmethod
        def empty(cls, components: int) -> "Recorder":
            assert components == 4
            return cls()

        def add(self, *arguments: object) -> "Recorder":
            calls.append(arguments)
            return self

    monkeypatch.setattr(module, "OverdispersionEstimator", Recorder)
    numbers, ids, vectors = drawn(np.random.default_rng(0), 5, 40, 1)
    numbers = np.where(numbers == 2, 1, numbers)  # of unequal sizes, and numbers with a gap
    observed(numbers, ids, vectors)
    reference = moments(vectors, np.arange(200))
    assert len(calls) == 4
    for (counts, rest_counts, shift, rest, distances), number in zip(calls, (0, 1, 3, 4), strict=True):
        inside = numbers == number
        assert counts.tolist() == np.bincount(ids[inside], minlength=6).tolist()
        assert rest_counts.tolist() == np.bincount(ids[~inside], minlength=6).tolist()
        assert rest == (~inside).sum()
        assert not distances.any(), "they were not measured"
        difference = vectors[inside].mean(axis=0, dtype=float) - vectors[~inside].mean(axis=0, dtype=float)
        np.testing.assert_allclose(
            shift, reference.components @ difference / np.sqrt(reference.variances), rtol=1e-4, atol=1e-6
        )


def test_observe_leaves_out_small_windows() -> None:
    sizes = [29, 30, 1, 400, 7]
    numbers = np.repeat(np.arange(5), sizes)
    ids = np.arange(len(numbers)) % 6
    vectors = np.random.default_rng(0).normal(size=(len(numbers), 4)).astype(np.float32)
    assert observed(numbers, ids, vectors).windows == 2


@pytest.mark.parametrize("length", [2, 4])
def test_observe_estimates_overdispersion_of_bursts_without_bias(length: int) -> None:
    # 60 estimates from 20 windows each: their mean is known to 2 %. Compared with a reference that
    # contains the window, and as if it did not, they would come out 10 % low.
    estimates = []
    for seed in range(60):
        overdispersion = observed(*drawn(np.random.default_rng(seed), 20, 60, length)).overdispersion()
        assert overdispersion is not None
        estimates.append(overdispersion.counts)
    assert np.mean(estimates) == pytest.approx(length, rel=0.06)


def test_observe_of_independent_events_estimates_about_one() -> None:
    overdispersion = observed(*drawn(np.random.default_rng(1), 200, 60, 1)).overdispersion()
    assert overdispersion is not None
    assert overdispersion.counts < 1.15
    assert np.linalg.eigvalsh(overdispersion.means)[-1] < 1.4


def measure_with_line(
    traffic: Traffic | None, windows: OverdispersionEstimator | None
) -> tuple[Overdispersion | None, str]:
    lines: list[str] = []
    overdispersion = measure_overdispersion(traffic, windows, 6, lines.append)
    assert len(lines) == 1
    return overdispersion, lines[0]


def test_measure_overdispersion_reports_known_overdispersion() -> None:
    numbers, ids, vectors = drawn(np.random.default_rng(1), 50, 60, 3)
    overdispersion, line = measure_with_line(Traffic(numbers, HOUR_MS), observed(numbers, ids, vectors))
    assert overdispersion is not None
    assert line.startswith(
        f"50 windows of 1h held out: counts vary {overdispersion.counts:.2f} times as much"
    )


def test_measure_overdispersion_warns_with_reason_and_remedy() -> None:
    few = Traffic(np.repeat(np.arange(7), 10), HOUR_MS)
    uneven = Traffic(np.repeat(np.arange(LEAST_WINDOWS), [400] + [10] * (LEAST_WINDOWS - 1)), 60_000)
    share = 400 / len(uneven.numbers)
    numbers, ids, vectors = drawn(np.random.default_rng(1), MIN_WINDOWS - 1, 60, 1)
    small = observed(numbers, ids, vectors)
    for traffic, windows, reason, remedy in (
        (None, None, "the vectors have no times", "fit on events with timestamps"),
        (few, None, f"of 7 windows of 1h; {LEAST_WINDOWS} are needed", "a shorter --window"),
        (uneven, None, f"one of the windows of 1m holds {share:.0%} of the events", "a shorter --window"),
        (few, small, f"{MIN_WINDOWS - 1} held-out windows of 1h have 30 events or more", "a longer --window"),
    ):
        overdispersion, line = measure_with_line(traffic, windows)
        assert overdispersion is None
        assert line.startswith("warning: ")
        assert "p-values will not be calibrated for bursts" in line
        assert reason in line
        assert remedy in line


def test_report_ratio_warns_below_twenty_times_median_window() -> None:
    traffic = Traffic(np.repeat(np.arange(3), [10, 100, 5_000]), HOUR_MS)
    lines: list[str] = []
    report_ratio(traffic, 2_000, lines.append)
    report_ratio(traffic, 1_999, lines.append)
    assert lines[0] == (
        "windows of 1h hold 100 events (the median), and the reference counts 20.0 times as many"
    )
    assert lines[1].startswith("warning: windows of 1h hold 100 events")
    assert "below 20 times" in lines[1]
    assert "give more events, or use shorter windows" in lines[1]


def segments_without_outliers(
    parts: list[Members], ids: NDArray[np.intp], coordinates: NDArray[np.float64]
) -> tuple[SegmentReference, ...]:
    """The references of segments of three clusters, whose spreads do not vary."""
    outliers = np.zeros(len(ids), dtype=np.bool_)
    spreads: dict[str, SpreadPair] = dict.fromkeys((part.name for part in parts), (None, None))
    return reference_segments(parts, ids, coordinates, outliers, spreads, 3, silent)


def test_measure_segments_uses_events_and_mean_of_segment() -> None:
    random = np.random.default_rng(0)
    windows, bursts = 60, 30
    numbers = np.repeat(np.arange(windows), bursts * 5)
    # In bursts of five that are alike, by turns with others, which come one by one.
    own = np.repeat(random.random(windows * bursts) < 0.5, 5)
    burst, single = random.normal(size=(windows * bursts, 4)), random.normal(size=(len(numbers), 4))
    ids = np.where(
        own, np.repeat(random.integers(3, size=windows * bursts), 5), random.integers(3, size=len(numbers))
    )
    mixing = np.array([[2, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1]])
    coordinates = np.where(own[:, None], 3 + np.repeat(burst, 5, axis=0), single) @ mixing
    bursts_of, singles = random.random((windows * bursts, 3)), random.random((len(ids), 3))
    distances = np.where(own[:, None], np.repeat(bursts_of, 5, axis=0), singles)
    parts = [Members("k", "a", own), Members("k", "other", ~own)]
    segments = segments_without_outliers(parts, ids, coordinates)
    own_segment, other_segment = measure_segments(
        segments, parts, numbers, ids, coordinates, distances, 3, silent
    )
    assert own_segment.overdispersion is not None
    assert other_segment.overdispersion is not None
    assert own_segment.overdispersion.windows == windows
    assert own_segment.overdispersion.counts == pytest.approx(5, rel=0.25)
    assert np.diag(own_segment.overdispersion.means) == pytest.approx(np.full(4, 5.0), rel=0.5)
    assert own_segment.overdispersion.distances == pytest.approx([5.0, 5.0, 5.0, 1.0], rel=0.5)
    assert other_segment.overdispersion.counts < 1.3
    assert other_segment.overdispersion.distances.max() < 2


def test_measure_segments_with_few_windows_returns_no_overdispersion() -> None:
    random = np.random.default_rng(0)
    numbers = np.repeat(np.arange(MIN_WINDOWS), 15)
    ids, coordinates = random.integers(3, size=len(numbers)), random.normal(size=(len(numbers), 4))
    lines: list[str] = []
    parts = [Members("k", "a", numbers > 0)]
    distances = np.zeros((len(ids), 3))
    segments = segments_without_outliers(parts, ids, coordinates)
    (segment,) = measure_segments(segments, parts, numbers, ids, coordinates, distances, 3, lines.append)
    assert segment.overdispersion is None
    assert lines == [
        "segment k=a has 15 events or more in 19 held-out windows; 20 are needed: the overdispersion of the "
        "whole stream is used, and the segment's p-values are not calibrated"
    ]


@pytest.mark.parametrize("length", [1, 4])
def test_observe_estimates_overdispersion_of_distances(length: int) -> None:
    random = np.random.default_rng(length)
    lengths = np.repeat(random.normal(size=(12_000, 3)), length, axis=0)
    numbers = np.arange(len(lengths)) // (200 * length)
    ids = np.arange(len(lengths)) % 6
    hashes = np.repeat(random.integers(HASH_BINS, size=12_000), length)
    found = observe(numbers, ids, lengths[:, :2], 6, lengths, hashes).overdispersion()
    assert found is not None
    assert found.distances == pytest.approx(np.full(4, length), rel=0.5)
