"""Tests of the change of a number's mean: the parts sum to it, and say what was planted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.numbers import Number, NumberTally
from driftgauge.core.statistics.number_change import PARTS, explain_change

CONFIDENCE = Number("confidence", 0.0, 1.0)
PLACES = 5
EVENTS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, PLACES - 1)), min_size=1, max_size=40)


def tally(values, clusters, places=PLACES):
    values = CONFIDENCE.count(np.asarray(values, np.float64), np.asarray(clusters, np.intp), places)
    return NumberTally(CONFIDENCE, values)


@given(EVENTS, EVENTS)
def test_parts_and_clusters_sum_to_the_change(now, then):
    window, baseline = (tally(*zip(*events, strict=True)) for events in (now, then))
    change = explain_change(window, baseline)
    expected = window.mean - baseline.mean
    assert sum(getattr(change, part).value for part in PARTS) == pytest.approx(expected, abs=1e-9)
    assert change.by_cluster.sum() == pytest.approx(expected, abs=1e-9)
    assert change.total.value == pytest.approx(expected, abs=1e-12)


def test_cluster_that_only_the_window_has_is_neither_mix_nor_within():
    baseline = tally([0.9] * 100, [0] * 100)
    window = tally([0.9] * 60 + [0.4] * 40, [0] * 60 + [1] * 40)
    change = explain_change(window, baseline)
    assert change.within.value == pytest.approx(0, abs=1e-9)
    assert abs(change.unshared.value) > abs(change.mix.value)
    assert change.by_cluster.argmin() == 1


# A classifier that is right in four clusters to these degrees.
SHARES, RIGHT = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.95, 0.9, 0.8, 0.5])
OTHER_SHARES = np.array([0.25, 0.25, 0.2, 0.3])
LESS_RIGHT = np.array([0.95, 0.9, 0.4, 0.5])


@pytest.mark.parametrize(
    ("shares", "right", "present"),
    [
        (OTHER_SHARES, RIGHT, {"mix"}),
        (SHARES, LESS_RIGHT, {"within"}),
        (OTHER_SHARES, LESS_RIGHT, {"mix", "within"}),
        (SHARES, RIGHT, set()),
    ],
)
def test_intervals_say_which_part_was_planted(shares, right, present):
    clear = dict.fromkeys(PARTS, 0)
    for seed in range(40):
        random = np.random.default_rng(seed)

        def draw(number, shares, right, random=random):
            clusters = random.choice(4, number, p=shares)
            return tally(random.random(number) < right[clusters], clusters, 4)

        change = explain_change(draw(1_000, shares, right), draw(5_000, SHARES, RIGHT))
        for part in PARTS:
            clear[part] += getattr(change, part).is_clear
    assert {part for part, number in clear.items() if number >= 34} == present
    assert all(number <= 6 for part, number in clear.items() if part not in present)
