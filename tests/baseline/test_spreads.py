"""The moments and spreads of vectors, and which vectors are outliers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.api import score_vectors
from driftgauge.baseline import moments as module
from driftgauge.baseline.fitting import split_indices
from driftgauge.baseline.moments import leave_one_out_outliers, moments
from driftgauge.core.statistics.novelty import RADIUS_LEVEL
from driftgauge.core.statistics.spread import SPREAD
from driftgauge.errors import BaselineError
from tests.builders.baselines import fit


def drawn(count: int, dimension: int) -> np.ndarray:
    return np.random.default_rng(dimension).normal(size=(count, dimension)).astype(np.float32)


@pytest.mark.parametrize("dimension", [2, 32])
def test_components_of_all_dimensions_leave_no_residual(dimension: int) -> None:
    vectors = drawn(200, dimension)
    reference = moments(vectors, np.arange(100))
    _, spreads, *_ = reference.measure(vectors[100:])
    assert reference.residual == 0
    assert not spreads[:, 1].any()
    assert (spreads[:, 0] > 0).all()


def test_fit_on_few_long_vectors_warns_of_residual() -> None:
    lines: list[str] = []
    fit(drawn(80, 384), clusters=2, progress=lines.append)
    assert [line for line in lines if "change of spread outside the leading components" in line]


def test_windows_of_fitted_vectors_have_no_change_of_spread() -> None:
    vectors = drawn(2_000, 200)
    baseline = fit(vectors, clusters=3)
    for rows in split_indices(len(vectors), 0):
        spread = score_vectors(baseline, vectors[rows]).findings.of(SPREAD)
        assert all(change is not None and change.p_value > 0.05 for change in spread.tests)
        grown = score_vectors(baseline, vectors[rows] * np.float32(1.1)).findings.of(SPREAD)
        assert min(change.p_value for change in grown.tests if change is not None) < 1e-6


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from([1, 2, 3, 49, 102, 250]), min_size=1, max_size=3))
def test_vector_is_beyond_quantile_of_others(seed: int, sizes: list[int]) -> None:
    random = np.random.default_rng(seed)
    ids = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    distances = random.exponential(size=len(ids)).astype(np.float32)
    found = leave_one_out_outliers(distances, ids)
    for vector in range(len(ids)):
        others = distances[(ids == ids[vector]) & (np.arange(len(ids)) != vector)]
        radius = np.quantile(others.astype(np.float64), RADIUS_LEVEL) if len(others) else np.inf
        assert found[vector] == (distances[vector] > radius)


def random_vectors(count: int, dimension: int, rank: int) -> np.ndarray:
    random = np.random.default_rng(1)
    return (5 + random.normal(size=(count, rank)) @ random.normal(size=(rank, dimension))).astype(np.float32)


def all_rows(vectors: np.ndarray) -> np.ndarray:
    return np.arange(len(vectors))


def test_moments_equal_singular_value_decomposition() -> None:
    vectors = random_vectors(500, 12, 12)
    result = moments(vectors, all_rows(vectors))
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(result.mean, vectors.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(result.variances, lengths**2 / 499, rtol=1e-9)
    np.testing.assert_allclose(np.abs((result.components * directions).sum(axis=1)), 1, rtol=1e-6)


def test_moments_use_given_rows_and_mean_those_of_others_too(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = random_vectors(100, 4, 4)
    rows, others = np.arange(40), np.arange(60, 100)
    alone, result = moments(vectors[:40], rows), moments(vectors, rows, others)
    both = vectors[np.concatenate([rows, others])]
    np.testing.assert_allclose(result.mean, both.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_array_equal(result.variances, alone.variances)
    np.testing.assert_array_equal(result.components, alone.components)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    blocked = moments(vectors, rows, others)
    np.testing.assert_allclose(blocked.mean, result.mean, rtol=1e-12)
    np.testing.assert_allclose(blocked.variances, result.variances, rtol=1e-9)


@pytest.mark.parametrize(("dimension", "rank", "expected"), [(50, 50, 32), (50, 9, 9), (5, 5, 5)])
def test_moments_have_component_per_direction_up_to_32(dimension: int, rank: int, expected: int) -> None:
    vectors = random_vectors(400, dimension, rank)
    result = moments(vectors, all_rows(vectors))
    assert result.components.shape == (expected, dimension)
    assert result.variances.shape == (expected,)
    assert (np.diff(result.variances) <= 0).all()
    # The largest entry of a component is positive.
    components = moments(-vectors, all_rows(vectors)).components
    assert (components.max(axis=1) == np.abs(components).max(axis=1)).all()


def test_moments_of_heavy_tails_settle_in_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    lengths = np.sqrt(2 / random.chisquare(2, size=(5_000, 1)))
    vectors = (random.normal(size=(5_000, 64)) * lengths).astype(np.float32)
    result = moments(vectors, all_rows(vectors))
    monkeypatch.setattr(module, "_MOST_ROUNDS", 6)
    np.testing.assert_array_equal(moments(vectors, all_rows(vectors)).variances, result.variances)


def test_moments_reject_variation_by_rounding() -> None:
    vectors = np.full((100, 3), 1 / 3, np.float32)
    vectors[::2] = np.nextafter(vectors[::2], np.float32(1))
    with pytest.raises(BaselineError, match="do not vary"):
        moments(vectors, all_rows(vectors))
