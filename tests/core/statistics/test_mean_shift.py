"""The tests of the mean: exact for independent events, of the right level for correlated ones."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression
from scipy.special import fdtrc, fdtri

from driftgauge.core.statistics.mean_shift import MeanShiftNull, _fit_falling
from driftgauge.core.statistics.overdispersion import Overdispersion

VARIANCES = np.array([13.0, 7.0, 6.0, 4.0, 1.0, 0.1, 0.02, 0.01])
COMPONENTS = len(VARIANCES)


def independent(means=None, windows=100):
    return Overdispersion(windows, 1.0, np.eye(COMPONENTS) if means is None else means)


def bursts_of(length):
    """The covariance of means under bursts of events of one topic, which the leading components show."""
    shared = np.array([0.9, 0.8, 0.8, 0.7, 0.3, 0.02, 0.0, 0.0])
    means = np.diag(1 + (length - 1) * shared)
    means[0, 1] = means[1, 0] = 0.3 * (length - 1)
    return means


def draw_covariance(random):
    turn = np.linalg.qr(random.standard_normal((COMPONENTS, COMPONENTS)))[0]
    return turn @ np.diag(VARIANCES) @ turn.T


@pytest.mark.parametrize("baseline_count", [9, 12, 100, 10**6])
def test_t2_of_independent_events_is_hotellings(baseline_count):
    random = np.random.default_rng(1)
    covariance = draw_covariance(random)
    null = MeanShiftNull(covariance, baseline_count, Overdispersion.independent(len(covariance)))
    for size in (0.01, 0.1, 0.5):
        shift = size * random.standard_normal(COMPONENTS)
        found = null.test(shift, 200)
        t2 = shift @ np.linalg.solve((1 / 200 + 1 / baseline_count) * covariance, shift)
        assert found.t2 == pytest.approx(t2, rel=1e-9)
        degrees = baseline_count - COMPONENTS
        expected = fdtrc(COMPONENTS, degrees, t2 * degrees / (COMPONENTS * (baseline_count - 1)))
        assert found.p_value == pytest.approx(max(expected, sys.float_info.min))
        assert found.centroid_distance == pytest.approx(np.linalg.norm(shift))


@pytest.mark.parametrize(
    ("overdispersion", "are_groups"),
    [(Overdispersion.independent(COMPONENTS), False), (independent(windows=10**6), True)],
)
def test_level_holds_for_few_events_or_groups_of_heavy_tails(overdispersion, are_groups):
    # Vectors whose length is mostly a half of the typical one, and of one in ten threefold.
    random = np.random.default_rng(5)
    lengths = np.where(random.random((2_000, 20, 1)) < 0.1, 3.0, 0.5)
    lengths /= np.sqrt(np.square(lengths).mean())
    shifts = (random.standard_normal((2_000, 20, COMPONENTS)) * lengths).mean(axis=1) * np.sqrt(VARIANCES)
    rates = {}
    for kurtosis in (0.0, float(np.power(lengths, 4).mean()) - 1):
        of_groups = replace(overdispersion, kurtosis=kurtosis).at(20, 10**6, 10**6)
        null = (
            MeanShiftNull(np.diag(VARIANCES), 10**6, of_groups)
            if are_groups
            else MeanShiftNull(np.diag(VARIANCES), 10**6, overdispersion, kurtosis=kurtosis)
        )
        found = np.array([null.test(shift, 20).p_values for shift in shifts])
        rates[kurtosis > 0] = (found < 0.01).mean(axis=0)
    assert (np.abs(rates[True] - 0.01) < 0.006).all()
    assert (rates[False] > 0.02).all()


def test_rising_overdispersions_are_pooled_and_at_least_one():
    null = MeanShiftNull(np.diag(VARIANCES), 10**9, independent(np.diag([2.0, 4, 3, 1, 1.5, 0.5, 0.5, 0.5])))
    deviations = np.sqrt(VARIANCES / 400)
    t2 = [null.test(deviations * axis, 400).t2 for axis in np.eye(COMPONENTS)]
    np.testing.assert_allclose(t2, [1 / 3, 1 / 3, 1 / 3, 0.8, 0.8, 1, 1, 1], rtol=1e-5)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=32))
def test_falling_fit_matches_scipys_isotonic_regression(values):
    fitted = _fit_falling(np.array(values))
    expected = isotonic_regression(values, increasing=False)
    np.testing.assert_allclose(fitted, expected.x, rtol=1e-12)


@pytest.mark.parametrize("different", [1, 2, 4, 8])
@pytest.mark.parametrize("p_value", [1e-2, 1e-4])
def test_each_fitted_overdispersion_reduces_degrees_of_freedom(different, p_value):
    # With the overdispersions removed, T2 / r is F with r degrees of freedom, and with as many for each
    # window as squares were averaged for an overdispersion. The tail is right to a per cent.
    overdispersions = np.repeat(np.arange(different + 1.0, 1.0, -1.0), COMPONENTS // different)
    null = MeanShiftNull(np.diag(VARIANCES), 10**9, independent(np.diag(overdispersions), windows=20))
    ratio = fdtri(COMPONENTS, 20 * COMPONENTS / different, 1 - p_value)
    found = null.test(np.sqrt(VARIANCES * overdispersions * ratio / 400), 400)
    assert found.t2 == pytest.approx(COMPONENTS * ratio)
    assert found.p_value == pytest.approx(p_value, rel=0.01)


@pytest.mark.parametrize(
    "overdispersion", [Overdispersion.independent(COMPONENTS), independent(bursts_of(3), windows=20)]
)
@given(exponent=st.floats(-300, 150), count=st.integers(1, 10**9))
def test_extreme_shifts_have_valid_p_values(overdispersion, exponent, count):
    found = MeanShiftNull(np.diag(VARIANCES), 1_000, overdispersion).test(
        np.full(COMPONENTS, 10.0**exponent), count
    )
    for p_value in (found.p_value, found.centroid_p_value):
        assert sys.float_info.min <= p_value <= 1
    assert math.isfinite(found.t2)


@pytest.mark.parametrize(
    "overdispersion", [Overdispersion.independent(COMPONENTS), independent(bursts_of(3))]
)
@given(one=st.floats(0, 10), other=st.floats(0, 10))
def test_p_values_do_not_rise_with_shift(overdispersion, one, other):
    null = MeanShiftNull(np.diag(VARIANCES), 1_000, overdispersion)
    near, far = (null.test(np.full(COMPONENTS, size), 100) for size in sorted((one, other)))
    assert far.p_value <= near.p_value * (1 + 1e-4)
    assert far.centroid_p_value <= near.centroid_p_value * (1 + 1e-4)
