"""Repetition among reference vectors: hashes, and their overdispersion by windows and groups."""

import numpy as np
import pytest

from driftgauge.baseline.fitting import Provenance
from driftgauge.baseline.moments import by_groups, by_windows, count_hashes, hashes_of
from driftgauge.baseline.windows import Traffic
from driftgauge.core.counting.hashing import HASH_BINS, hash_vectors
from driftgauge.core.statistics.duplicates import repeat_rate
from tests.builders.baselines import fit
from tests.builders.clocks import HOUR_MS


def test_hashes_are_those_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftgauge.baseline.moments.BLOCK_ROWS", 3)
    vectors = np.random.default_rng(0).standard_normal((20, 5), np.float32)
    rows = np.array([1, 4, 5, 7, 11, 12, 19])
    assert hashes_of(vectors, rows).tolist() == hash_vectors(vectors[rows]).tolist()
    assert count_hashes(np.array([0, 2, 2, 127])).tolist() == [1, 0, 2, *[0] * 124, 1]


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
    assert by_windows(np.arange(20_000) // 100, hashes).mean() == pytest.approx(expected, abs=0.05)


def test_groups_of_equal_items_vary_with_their_squares() -> None:
    groups = np.repeat(np.arange(4), [1, 2, 3, 4])
    assert by_groups(groups, groups * 30).tolist() == [1, 4, 9, 16]


def test_fit_counts_hashes_of_reference_and_measures_repetition() -> None:
    random = np.random.default_rng(2)
    vectors = np.repeat(random.standard_normal((6_000, 4)), 2, axis=0)
    baseline = fit(vectors, provenance=Provenance(Traffic.of(np.arange(12_000) // 200 * HOUR_MS, HOUR_MS)))
    assert baseline.hash_counts.sum() == baseline.metadata.reference_count
    assert repeat_rate(baseline.hash_counts) < 1e-3
    assert baseline.overdispersion is not None
    assert baseline.overdispersion.distances[3] == pytest.approx(2, abs=0.1)
