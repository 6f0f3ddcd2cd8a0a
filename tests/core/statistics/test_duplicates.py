"""The test of duplicates: against simulated windows of different, popular, repeated and retried items."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from driftgauge.core.counting.tally import Tally, TallyField
from driftgauge.core.statistics.duplicates import HASH_COUNTS, Duplicates, DuplicatesNull, repeat_rate

BINS = 128
EVEN = np.full(BINS, 400)


def null(baseline=EVEN, overdispersion=1.0, windows=math.inf):
    return DuplicatesNull(baseline, overdispersion, windows)


def find(here, hash_counts):
    """The duplicates of a window with these hashes."""
    return here.test(Tally(hash_counts, (TallyField(HASH_COUNTS, BINS),)))


def p_values(here, windows):
    return np.array([find(here, window).p_value for window in windows])


def draw(random, count, size, shares=None):
    return random.multinomial(count, np.full(BINS, 1 / BINS) if shares is None else shares, size)


@given(arrays.arrays(np.int64, BINS, elements=st.integers(0, 50)).filter(lambda counts: counts.sum() > 1))
def test_rate_is_linear_in_pearsons_statistic(counts):
    count = counts.sum()
    statistic = float((np.square(counts - count / BINS)).sum() * BINS / count)
    assert 1 + (count - 1) * repeat_rate(counts) == pytest.approx(statistic / (BINS - 1))
    assert repeat_rate(counts) <= 1


@pytest.mark.parametrize("count", [10, 100, 1_000])
def test_level_holds_for_different_items(count):
    random = np.random.default_rng(count)
    found = np.concatenate([p_values(null(), draw(random, count, 2_000)) for _ in range(4)])
    for level, most in ((0.1, 1.25), (0.01, 1.5), (1e-3, 2.5)):
        assert np.mean(found < level) < most * level
    assert np.mean(found < 0.01) > 0.004


def test_share_is_that_above_baselines():
    baseline = np.full(BINS, 90)
    baseline[0] += 1_280
    window = np.full(BINS, 8)
    window[0] += 256
    # An item of a tenth of the baseline's events is one of a fifth now.
    found = find(null(baseline), window)
    assert found.share == pytest.approx(math.sqrt(0.2**2 - 0.1**2), rel=0.03)
    assert find(null(baseline), baseline).share == 0


def test_windows_without_pairs_have_no_duplicates():
    one = np.eye(BINS, dtype=np.int64)[3]
    found = find(null(), one)
    assert (found.share, null().ratio(one), null().least(1, 0.01)) == (0, 1, math.inf)
    assert 0 < found.p_value < 1
    assert find(null(), 2 * one).share == 1


def test_p_values_stay_above_zero_and_below_one():
    extreme = find(null(), np.eye(BINS, dtype=np.int64)[3] * 10_000)
    assert extreme == Duplicates(1.0, np.finfo(float).tiny)
    assert 0.9 < find(null(), np.full(BINS, 2)).p_value < 1
    # A baseline of one item expects nothing else.
    assert null(np.eye(BINS, dtype=np.int64)[3] * 100).least(1_000, 1e-3) == math.inf
