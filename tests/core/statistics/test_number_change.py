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


def draw(random, number, shares, right):
    """Return the tally of answers, given the shares of the clusters and of right answers in each."""
    clusters = random.choice(len(shares), number, p=shares)
    return tally(random.random(number) < right[clusters], clusters, len(shares))


def clear_parts(shares, right, *, before, right_before):
    """Return in how many of 40 comparisons the interval of each part excludes 0."""
    clear = dict.fromkeys(PARTS, 0)
    for seed in range(40):
        random = np.random.default_rng(seed)
        window, baseline = draw(random, 1_000, shares, right), draw(random, 5_000, before, right_before)
        change = explain_change(window, baseline)
        for part in PARTS:
            clear[part] += getattr(change, part).is_clear
    return clear


# A classifier that is right in four clusters to these degrees.
SHARES, RIGHT = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.95, 0.9, 0.8, 0.5])
OTHER_SHARES = np.array([0.25, 0.25, 0.2, 0.3])
LESS_RIGHT = np.array([0.95, 0.9, 0.4, 0.5])
# In 50 clusters, of which the rarest have an event or none in a window.
TAIL = 1 / np.arange(1, 51) ** 2 / (1 / np.arange(1, 51) ** 2).sum()
TAIL_RIGHT = np.concatenate([[0.95, 0.6], np.linspace(0.95, 0.4, 48)])
OTHER_TAIL = np.concatenate([TAIL[:2][::-1], TAIL[2:]])
TAIL_LESS_RIGHT = np.concatenate([[0.85, 0.5], TAIL_RIGHT[2:]])
WITHOUT_LAST = np.append(TAIL[:-1], 0.0) / TAIL[:-1].sum()
MUCH_OF_LAST = 0.95 * WITHOUT_LAST + 0.05 * np.eye(50)[-1]


@pytest.mark.parametrize(
    ("before", "right_before", "shares", "right", "present"),
    [
        (SHARES, RIGHT, OTHER_SHARES, RIGHT, {"mix"}),
        (SHARES, RIGHT, SHARES, LESS_RIGHT, {"within"}),
        (SHARES, RIGHT, OTHER_SHARES, LESS_RIGHT, {"mix", "within"}),
        (SHARES, RIGHT, SHARES, RIGHT, set()),
        (TAIL, TAIL_RIGHT, TAIL, TAIL_RIGHT, set()),
        (TAIL, TAIL_RIGHT, OTHER_TAIL, TAIL_RIGHT, {"mix"}),
        (TAIL, TAIL_RIGHT, TAIL, TAIL_LESS_RIGHT, {"within"}),
        (WITHOUT_LAST, TAIL_RIGHT, MUCH_OF_LAST, TAIL_RIGHT, {"unshared"}),
        (MUCH_OF_LAST, TAIL_RIGHT, WITHOUT_LAST, TAIL_RIGHT, {"unshared"}),
    ],
)
def test_intervals_say_which_part_was_planted(before, right_before, shares, right, present):
    clear = clear_parts(shares, right, before=before, right_before=right_before)
    assert {part for part, number in clear.items() if number >= 34} == present
    assert all(number <= 6 for part, number in clear.items() if part not in present)


def test_equal_values_claim_no_certainty():
    window, baseline = tally([1.0] * 100, [0] * 100), tally([1.0] * 995 + [0.0] * 5, [0] * 1_000)
    change = explain_change(window, baseline)
    assert window.mean_variance == pytest.approx(0.01**2)
    assert (change.total.is_clear, change.within.is_clear) == (False, False)
