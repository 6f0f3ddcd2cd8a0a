"""The posterior of the concentration of cluster shares, and the Dirichlet-multinomial probability."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import dirichlet_multinomial as reference

from driftgauge.core.statistics.concentration import concentration_posterior, dirichlet_multinomial
from tests.examples import examples


def typical(counts):
    """The posterior geometric mean of the concentration."""
    found, probabilities = concentration_posterior(counts.astype(np.float64))
    return np.exp(np.log(found) @ probabilities)


@pytest.mark.parametrize("concentration", [0.5, 1.0, 3.0, 10.0, 60.0])
def test_posterior_of_many_clusters_finds_concentration(concentration):
    random = np.random.default_rng(int(10 * concentration))
    found = [
        typical(random.multinomial(20_000, random.dirichlet(np.full(100, concentration)))) for _ in range(20)
    ]
    assert np.median(found) == pytest.approx(concentration, rel=0.3)  # the grid has factors of two


def test_posterior_of_few_or_equal_shares_is_wide():
    five = concentration_posterior(np.array([100.0, 250.0, 180.0, 90.0, 130.0]))[0]
    assert five[-1] >= 30 * five[0]
    assert typical(np.full(50, 20)) > 60


@settings(max_examples=examples(50))
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=60).filter(lambda counts: sum(counts) > 0))
def test_posterior_sums_to_one_over_ascending_grid(counts):
    found, probabilities = concentration_posterior(np.array(counts))
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities > 0).all()
    assert (np.diff(found) > 0).all()


def test_dirichlet_multinomial_matches_scipy_but_for_coefficient():
    parameters = np.array([0.5, 2.0, 7.0])
    windows = np.array([[3, 4, 5], [12, 0, 0], [0, 1, 11]])
    known = [reference.logpmf(window, parameters, 12) for window in windows]
    shapes = reference.logpmf(windows[0], np.ones(3), 12) - reference.logpmf(windows[1], np.ones(3), 12)
    assert shapes == pytest.approx(0)
    coefficients = [reference.logpmf(window, np.full(3, 1e9), 12) + 12 * np.log(3) for window in windows]
    found = dirichlet_multinomial(windows.astype(np.float64), parameters)
    assert found + coefficients == pytest.approx(known, abs=1e-5)
