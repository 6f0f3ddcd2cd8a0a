"""Repetition among reference vectors: hashes, and their overdispersion by windows and groups."""

import numpy as np
import pytest

from driftgauge.baseline.fitting import Provenance
from driftgauge.baseline.windows import Traffic
from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.statistics.duplicates import DUPLICATES, HASH_COUNTS, repeat_rate
from tests.builders.baselines import fit
from tests.builders.clocks import HOUR_MS

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


def test_fit_counts_hashes_of_reference_and_measures_repetition() -> None:
    random = np.random.default_rng(2)
    vectors = np.repeat(random.standard_normal((6_000, 4)), 2, axis=0)
    baseline = fit(vectors, provenance=Provenance(Traffic.of(np.arange(12_000) // 200 * HOUR_MS, HOUR_MS)))
    assert baseline.arrays["hash_counts"].sum() == baseline.metadata.reference_count
    assert repeat_rate(baseline.arrays["hash_counts"]) < 1e-3
    assert baseline.overdispersion is not None
    assert baseline.overdispersion.others["duplicates"] == pytest.approx(2, abs=0.1)
