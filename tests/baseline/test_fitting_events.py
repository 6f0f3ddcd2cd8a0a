"""Baselines fitted on events: windows held out, overdispersion, repetition, segments."""

import numpy as np
import pytest
from numpy.typing import NDArray

from driftgauge.baseline.fitting import Provenance, split_indices
from driftgauge.baseline.moments import leave_one_out_outliers
from driftgauge.baseline.segments import SegmentChoice, find_members
from driftgauge.baseline.windows import LEAST_WINDOWS, Traffic, split_whole
from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.counting.numbers import Number
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.duplicates import DUPLICATES, HASH_COUNTS
from tests.builders.baselines import draw_bursts, fit, traffic_of
from tests.builders.clocks import HOUR_MS
from tests.core.statistics.toy import TOY


def test_fit_with_times_splits_whole_windows_and_measures_overdispersion() -> None:
    vectors = draw_bursts(6_000, 5)
    traffic = Traffic.of(np.repeat(np.arange(60), 100) * HOUR_MS, HOUR_MS)
    lines: list[str] = []
    correct = np.random.default_rng(0).random(6_000) < 0.7 + 0.2 * np.sin(traffic.numbers * np.pi / 6)
    provenance = Provenance(traffic, numbers={Number("correct", 0.0, 1.0): correct.astype(float)})
    baseline = fit(vectors, provenance=provenance, progress=lines.append)
    # Of a cycle of twelve hours.
    assert baseline.numbers["correct"].between == pytest.approx(0.2**2 / 2, rel=0.3)
    split = split_whole(traffic.numbers, 3_000, 0)
    assert split is not None
    _, held_out = split
    ids = baseline.centroids.assign(vectors[held_out])
    assert baseline.counts.tolist() == np.bincount(ids, minlength=6).tolist()
    np.testing.assert_allclose(baseline.mean, vectors.mean(axis=0, dtype=float), rtol=1e-9)
    assert baseline.metadata.reference_count == 3_000
    assert baseline.metadata.window_ms == HOUR_MS
    assert baseline.overdispersion is not None
    assert baseline.overdispersion.windows == 30
    # Five equal clusters in a row: as if there were a fifth of the events. Known to 2/sqrt(150).
    assert baseline.overdispersion.counts == pytest.approx(5, rel=0.35)
    assert any("windows of 1h hold 100 events (the median)" in line for line in lines)
    assert any(line.startswith("30 windows of 1h held out: counts vary") for line in lines)


def test_identity_follows_times_and_seed() -> None:
    vectors, provenance = draw_bursts(4_000, 2), Provenance(traffic_of(4_000, 50))
    first, again = (fit(vectors, provenance=provenance, created_ms=ms).identity for ms in (0, 9))
    assert first == again
    assert fit(vectors, provenance=provenance, seed=1).identity != first
    assert fit(vectors).identity != first


# An hour with 420 of 1,200 events, and sixty with 13.
UNEVEN = Traffic.of(np.repeat(np.arange(61), [420] + [13] * 60) * HOUR_MS, HOUR_MS)


@pytest.mark.parametrize(
    ("traffic", "reason", "remedy", "is_kept_whole"),
    [
        (None, "the vectors have no times", "fit on events with timestamps", False),
        (
            traffic_of(1_200, LEAST_WINDOWS - 1),
            f"bursts: the events are of {LEAST_WINDOWS - 1} windows of 1h, and {LEAST_WINDOWS} are needed",
            "a shorter --window",
            False,
        ),
        (UNEVEN, "one of the windows of 1h holds 35% of the events", "a shorter --window", False),
        (traffic_of(1_200, 100), "0 held-out windows of 1h have 30 events", "a longer --window", True),
    ],
)
def test_fit_on_few_or_small_windows_warns(
    blobs: NDArray[np.float32], traffic: Traffic | None, reason: str, remedy: str, is_kept_whole: bool
) -> None:
    lines: list[str] = []
    baseline = fit(blobs, provenance=Provenance(traffic), progress=lines.append)
    assert baseline.overdispersion is None
    (line,) = [line for line in lines if "p-values will not be calibrated for bursts" in line]
    assert line.startswith("warning: ")
    assert reason in line
    assert remedy in line
    assert (baseline.identity != fit(blobs).identity) is is_kept_whole


def test_segments_are_counted_among_held_out_vectors(
    blobs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It fits nothing on segments.
    monkeypatch.setattr(registry, "STATISTICS", (*registry.STATISTICS, TOY))
    labels = [{"side": "left" if vector[0] < 0 else "right"} for vector in blobs]
    members = find_members(labels, [SegmentChoice("side", ("left",))])
    baseline = fit(blobs, provenance=Provenance(members=members))
    _, counted = split_indices(len(blobs), 0)
    assert [(segment.key, segment.value) for segment in baseline.segments] == [
        ("side", "left"),
        ("side", "other"),
    ]
    assert sum(segment.counts for segment in baseline.segments).tolist() == baseline.counts.tolist()
    ids = baseline.centroids.assign(blobs[counted])
    outliers = leave_one_out_outliers(baseline.centroids.distances(blobs[counted], ids), ids)
    assert outliers.any()
    components = baseline.components.astype(float)
    for segment, is_left in zip(baseline.segments, (True, False), strict=True):
        inside = (blobs[counted][:, 0] < 0) == is_left
        assert segment.arrays.keys() == {"outliers", "spread_moments"}
        assert segment.arrays["outliers"] == outliers[inside].sum()
        assert segment.arrays["spread_moments"][0].tolist() == [inside.sum(), 0, inside.sum()]
        own = blobs[counted][inside].astype(float)
        shift = components @ (own.mean(axis=0) - baseline.mean)
        np.testing.assert_allclose(segment.mean, shift, rtol=1e-6, atol=1e-5)
        covariance = components @ np.cov(own, rowvar=False) @ components.T
        np.testing.assert_allclose(segment.covariance, covariance, rtol=1e-6, atol=1e-4)
    assert baseline.identity != fit(blobs).identity


def test_fit_with_times_measures_overdispersion_of_segments() -> None:
    vectors = draw_bursts(12_000, 5)
    # By turns of bursts of one segment and of another; and a segment of single vectors of each burst.
    labels = [{"side": "ab"[row // 5 % 2], "n": "few" if row % 10 == 0 else "many"} for row in range(12_000)]
    members = find_members(labels, [SegmentChoice("side", ("a",)), SegmentChoice("n", ("few",))])
    lines: list[str] = []
    traffic = Traffic.of(np.arange(12_000) // 200 * HOUR_MS, HOUR_MS)
    baseline = fit(vectors, provenance=Provenance(traffic, members), progress=lines.append)
    assert baseline.overdispersion is not None
    *sides, few, many = baseline.segments
    for segment in sides:
        assert segment.overdispersion is not None
        assert segment.overdispersion.windows == baseline.overdispersion.windows
        assert segment.overdispersion.counts == pytest.approx(5, rel=0.4)
        assert segment.overdispersion.others["spread"] == pytest.approx([1.0, 1.0, 1.0], abs=0.5)
    assert (few.value, few.overdispersion) == ("few", None)
    assert many.overdispersion is not None
    assert any(line.startswith("segment n=few has 30 events or more in 0 held-out windows") for line in lines)
    # Without times nothing is known of anything.
    unknown = fit(vectors, provenance=Provenance(None, members)).segments
    assert {part.overdispersion for part in unknown} == {None}


RANDOM = np.random.default_rng(0)
POPULAR = np.where(RANDOM.random(20_000) < 0.1, 7, RANDOM.integers(HASH_BINS, size=20_000))


@pytest.mark.parametrize(
    ("hashes", "expected"),
    [
        (RANDOM.integers(HASH_BINS, size=20_000), 1),
        (POPULAR, 1),
        # Each item is sent twice, one after the other: the rate of all is far below that of a window.
        (np.repeat(RANDOM.integers(HASH_BINS, size=10_000), 2), 2),
    ],
    ids=["different", "popular", "twice"],
)
def test_repetition_within_windows_is_overdispersion(hashes: np.ndarray, expected: int) -> None:
    found = DUPLICATES.by_windows({HASH_COUNTS: hashes}, np.arange(20_000) // 100)
    assert found.mean() == pytest.approx(expected, abs=0.05)


def test_groups_of_equal_items_vary_with_their_squares() -> None:
    groups = np.repeat(np.arange(4), [1, 2, 3, 4])
    assert DUPLICATES.by_groups({HASH_COUNTS: groups * 30}, groups).tolist() == [[1], [4], [9], [16]]
