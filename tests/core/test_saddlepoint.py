"""The tail of a sum over cells, given another, against distributions that are known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import chdtrc, gammaln

from driftgauge.core import saddlepoint
from driftgauge.core.saddlepoint import conditional_tail


def normal_cells(cells, number):
    """Cells with standard normal places, whose values are their squares."""
    places = np.broadcast_to(np.linspace(-12, 12, number), (cells, number))
    return (-np.square(places) / 2)[:, None], np.square(places), places


@pytest.mark.parametrize("cells", [3, 5, 20, 100])
@pytest.mark.parametrize("level", [0.9, 0.3, 1e-2, 1e-4, 1e-6])
def test_squares_of_normal_variables_that_sum_to_nothing_are_chi_squared(cells, level):
    low, high = 0.0, 400.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chdtrc(cells - 1, middle) > level else (low, middle)
    found = conditional_tail(*normal_cells(cells, 97), low, 0.0)
    # With a density of two degrees of freedom or four it errs most.
    assert found == pytest.approx(level, rel={3: 0.11, 5: 0.05}.get(cells, 0.01))


def test_at_the_mean_the_tail_goes_on():
    cells = normal_cells(10, 97)
    values = [9.0 + step for step in (-0.02, -0.001, 0.0, 0.001, 0.02)]
    tails = [conditional_tail(*cells, value, 0.0)[0] for value in values]
    assert tails == pytest.approx([chdtrc(9, value) for value in values], rel=0.01)


def test_the_given_total_matters():
    # Of ten Poisson variables that sum to 60, those of the first half sum to a binomial number.
    counts = np.arange(61.0)
    means = np.array([2.0] * 5 + [4.0] * 5)
    log_weights = counts * np.log(means)[:, None] - gammaln(counts + 1)
    values = np.where(np.arange(10)[:, None] < 5, counts, 0.0)
    places = np.broadcast_to(counts, (10, 61))
    numbers = np.arange(61)
    binomial = np.exp(
        gammaln(61)
        - gammaln(numbers + 1)
        - gammaln(61 - numbers)
        - 60 * math.log(3)
        + (60 - numbers) * math.log(2)
    )
    for number in (22, 26, 32):
        found = conditional_tail(log_weights[:, None], values, places, number - 0.5, 60.0)
        # It takes the sum for continuous: half of the way to the next number is right to some per cent.
        assert found == pytest.approx(binomial[number:].sum(), rel=0.05)


def test_distributions_are_independent_of_each_other():
    counts = np.arange(40.0)
    log_weights = np.stack([counts * math.log(mean) - gammaln(counts + 1) for mean in (3.0, 5.0)])[
        None
    ].repeat(6, axis=0)
    values = np.broadcast_to(np.square(counts - 4) / 4, (6, 40))
    places = np.broadcast_to(counts, (6, 40))
    both = conditional_tail(log_weights, values, places, 14.0, 24.0)
    each = [conditional_tail(log_weights[:, [place]], values, places, 14.0, 24.0)[0] for place in (0, 1)]
    assert both == pytest.approx(each, rel=1e-9)
    # Given their sum Poisson variables forget their mean.
    assert both[0] == pytest.approx(both[1], rel=1e-6)


@pytest.mark.parametrize(("value", "tail"), [(-5.0, 1.0), (400.0, 1.0), (5_000.0, 0.0), (30_000.0, 0.0)])
def test_a_value_out_of_reach_is_given_up_soon(value, tail, monkeypatch):
    # Three hundred Poisson variables that sum to 15: of what the values may sum to the least is 285.
    counts = np.arange(25.0)
    log_weights = np.broadcast_to(counts * math.log(0.05) - gammaln(counts + 1), (300, 1, 25))
    values = np.broadcast_to(np.square(counts - 1) + 0.5, (300, 25))
    tilts = []
    plain = saddlepoint._Cells.tilt
    monkeypatch.setattr(
        saddlepoint._Cells, "tilt", lambda cells, tilt: tilts.append(tilt) or plain(cells, tilt)
    )
    places = np.broadcast_to(counts, (300, 25))
    assert conditional_tail(log_weights, values, places, value, 15.0) == pytest.approx([tail])
    assert len(tilts) <= 30


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 12), st.floats(0.05, 6.0), st.integers(0, 10**6))
def test_the_probability_is_one_whatever_the_cells(cells, ratio, seed):
    random = np.random.default_rng(seed)
    log_weights = random.normal(0, 2, (cells, 2, 9))
    log_weights[random.random(log_weights.shape) < 0.2] = -np.inf
    log_weights[:, :, 4] = 0.0
    values = np.square(random.normal(0, 1, (cells, 9)))
    places = np.broadcast_to(np.arange(9.0), (cells, 9))
    found = conditional_tail(log_weights, values, places, ratio * cells, 4.0 * cells)
    assert ((found >= 0) & (found <= 1)).all()
