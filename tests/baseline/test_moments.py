"""Tests of `driftgauge.baseline.moments`."""

import numpy as np
import pytest

from driftgauge.baseline import moments as module
from driftgauge.baseline.moments import moments
from driftgauge.errors import BaselineError


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
