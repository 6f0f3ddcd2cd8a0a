"""Hashes of vectors: fixed for ever, by their bits, even, and the same in any batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import chi2

from driftgauge.core.counting.hashing import HASH_BINS, SIGN_BINS, bins_of, hash_signs, hash_vectors

VECTORS = st.tuples(st.integers(1, 20), st.integers(1, 9)).flatmap(
    lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(width=32, allow_nan=False))
)


def test_hashes_are_fixed():
    # Baselines hold them, so they change for no release.
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert hash_vectors(vectors).tolist() == [63, 11, 59, 117]
    assert hash_vectors(np.eye(3, dtype=np.float32)).tolist() == [117, 125, 117]


@given(VECTORS, st.data())
def test_hash_is_same_in_any_batch(vectors, data):
    rows = data.draw(st.lists(st.integers(0, len(vectors) - 1), min_size=1))
    hashes = hash_vectors(vectors)
    assert hash_vectors(vectors[rows]).tolist() == hashes[rows].tolist()
    assert hash_vectors(np.asfortranarray(vectors)).tolist() == hashes.tolist()
    assert all(0 <= each < HASH_BINS for each in hashes.tolist())


@pytest.mark.parametrize(
    "draw",
    [
        lambda random: random.standard_normal((20_000, 16)),
        lambda random: random.choice([-1.0, 1.0], (20_000, 64)),
        lambda random: random.integers(17, size=(20_000, 64)),
        lambda random: random.standard_normal((20_000, 64)).astype(np.float16),
        lambda random: np.linspace(0.1, 0.2, 20_000)[:, None],
    ],
)
def test_different_vectors_fall_evenly(draw):
    vectors = np.unique(draw(np.random.default_rng(0)).astype(np.float32), axis=0)
    counts = np.bincount(hash_vectors(vectors), minlength=HASH_BINS)
    expected = len(vectors) / HASH_BINS
    assert chi2.sf(np.square(counts - expected).sum() / expected, HASH_BINS - 1) > 1e-3


def test_hashes_by_signs_are_those_of_the_last_coordinates():
    coordinates = np.random.default_rng(0).standard_normal((64, 32))
    hashes = hash_signs(coordinates)
    near, far = coordinates.copy(), coordinates.copy()
    near[:, -11:] *= 0.9
    near[:, :-11] *= -1
    far[:, -1] *= -1
    assert hash_signs(near).tolist() == hashes.tolist()
    assert not (hash_signs(far) == hashes).any()
    assert len(set(hashes.tolist())) > 50
    assert (bins_of(hashes), bins_of(hash_vectors(np.eye(3, dtype=np.float32)))) == (SIGN_BINS, HASH_BINS)
    assert hash_signs(np.ones((1, 3))).tolist() == [7]
