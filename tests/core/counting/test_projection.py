"""Coordinates along the components: the same bits in any batch, and close to those in float64."""

import math

import numpy as np
import pytest

from driftgauge.core.counting.projection import MINOR_COMPONENTS, SPREAD_STEP, Projection

VECTORS = 1_000
DIMENSIONS = [2, 128, 768]
SIZES = [1, 7, VECTORS]


def build_turned_projection(dimension, *, scale=1.0, offset=0.0):
    """Components in random directions, with falling variances."""
    random = np.random.default_rng(dimension)
    turned, _ = np.linalg.qr(random.standard_normal((dimension, dimension)))
    components = turned[: min(dimension, 32)].astype(np.float32)
    variances = scale**2 / np.arange(1, len(components) + 1)
    minor = np.zeros((MINOR_COMPONENTS, dimension), np.float32)
    minor[: max(dimension - 32, 0)] = turned[32 : 32 + MINOR_COMPONENTS]
    mean = random.standard_normal(dimension) * scale + offset
    return Projection(mean, components, variances, minor=minor)


def build_vectors(projection, *, spread=1.0, number=VECTORS):
    dimension = len(projection.mean)
    random = np.random.default_rng(dimension + 1)
    deviation = spread * math.sqrt(projection.variances[0])
    return (projection.mean + random.standard_normal((number, dimension)) * deviation).astype(np.float32)


PROJECTIONS = {dimension: build_turned_projection(dimension) for dimension in DIMENSIONS}


@pytest.mark.parametrize("spread", [0.2, 1, 10**6, 10**30])
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_coordinates_match_integer_arithmetic(dimension, spread):
    projection = PROJECTIONS[dimension]
    vectors = build_vectors(projection, spread=spread, number=100)
    # One vector along a component, whose products have one sign, so their sum is the largest possible.
    vectors[0] = projection.mean + np.sign(projection.components[0]) * spread
    limit = 2.0 ** (32 - math.ceil(math.log2(dimension) / 2))
    steps = np.rint(np.clip((vectors - projection.mean) / projection.step, -limit, limit))
    weights = np.rint(projection.components * 2.0**20)
    exact = steps.astype(np.int64) @ weights.astype(np.int64).T
    assert np.abs(exact).max() < 2**53
    coordinates = np.rint(exact / 2**20)
    # The baseline's deviations in steps; a coordinate counts as 2^11 of them at most before it is shrunk.
    deviations = projection.deviations / projection.step
    standardized = np.clip(coordinates / deviations, -(2**11), 2**11)
    squares = np.square(standardized).mean(axis=1, keepdims=True)
    found, _, of_deviations, _ = projection.measure(vectors)
    near = squares[:, 0] < 15.9
    assert near.all() if spread < 1 else not near.all() or dimension * spread == 2
    np.testing.assert_array_equal(found[near], coordinates[near])
    shrunk = standardized * np.sqrt(16 / np.maximum(squares, 16))
    np.testing.assert_allclose(found / deviations, shrunk, atol=2.0**-9)
    np.testing.assert_allclose(of_deviations, found / deviations * 2**9, atol=0.51)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 3e4])
def test_step_is_power_of_two_below_leading_deviation(scale):
    projection = build_turned_projection(128, scale=scale)
    deviation = math.sqrt(projection.variances[0])
    assert math.frexp(projection.step)[0] == 0.5
    assert 2.0**-18 * deviation / 2 < projection.step <= 2.0**-18 * deviation


def build_residual_projection():
    """Two components of four, which leave a variance of 0.5."""
    return Projection(np.zeros(4), np.eye(4, dtype=np.float32)[:2], np.array([4.0, 1.0]), 0.5)


def test_spreads_are_mean_squares_relative_to_baseline():
    vectors = np.array([[2, 1, 0.5, 0.5], [4, 0, 0, 0], [0, 3, 1, -2], [0, 0, 0, 0]], np.float32)
    _, spreads, *_ = build_residual_projection().measure(vectors)
    assert spreads.dtype == np.int64
    np.testing.assert_allclose(
        spreads * SPREAD_STEP,
        [[1, 1, 1], [2, 0, 2 ** (1 / 8)], [4.5, 10, 4.5 ** (1 / 8)], [0, 0, 0]],
        atol=0.02,
    )


@pytest.mark.parametrize("factor", [100, 1e6, 1e30])
def test_spread_of_one_event_is_at_most_16(factor):
    _, spreads, *_ = build_residual_projection().measure(np.full((1, 4), factor, np.float32))
    assert (spreads * SPREAD_STEP).tolist() == [pytest.approx([16, 16, 2**0.5], rel=1e-4)]


def build_spread_projection(dimension):
    """A projection whose components and residual are those of `build_vectors`."""
    turned = PROJECTIONS[dimension]
    variance = float(turned.variances[0])
    residual = variance * max(dimension - 32, 0)
    variances = np.full(len(turned.components), variance)
    return Projection(turned.mean, turned.components, variances, residual, turned.minor)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_measures_are_same_in_batch_of_any_size_order_and_layout(dimension, size):
    projection = build_spread_projection(dimension)
    vectors = build_vectors(projection)

    def measure(batch):
        """All measures side by side, the spreads last."""
        coordinates, spreads, standardized, steps = projection.measure(batch)
        return np.hstack([steps @ projection.minor_weights, standardized, coordinates, spreads])

    expected = measure(vectors)
    assert (expected[:, -3:] < 16 / SPREAD_STEP).mean() > 0.99
    assert dimension <= 32 or len(np.unique(expected[:, -2])) > 100
    parts = [measure(vectors[start : start + size]) for start in range(0, VECTORS, size)]
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    order = np.random.default_rng(size).permutation(VECTORS)
    np.testing.assert_array_equal(measure(vectors[order]), expected[order])
    for laid_out in (np.asfortranarray(vectors), np.repeat(vectors, 2, axis=0)[::2]):
        np.testing.assert_array_equal(measure(laid_out), expected)
