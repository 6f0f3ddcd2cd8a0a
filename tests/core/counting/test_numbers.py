"""Tests of numbers beside the embedding: their tallies are exact, and mean what they count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.numbers import Number, NumberTally

PLACES = 4
NUMBERS = st.builds(Number, st.just("score"), st.floats(-1e6, 0), st.floats(1e-3, 1e6))
EVENTS = st.lists(
    st.tuples(st.floats(allow_nan=True, allow_infinity=True), st.integers(0, PLACES - 1)), max_size=40
)
CUTS = st.lists(st.integers(0, 40), max_size=5).map(sorted)


def count(number, events):
    values, places = ([each[column] for each in events] for column in (0, 1))
    return number.count(np.array(values, np.float64), np.array(places, np.intp), PLACES)


@given(NUMBERS, EVENTS, CUTS, st.randoms(use_true_random=False))
def test_tally_is_same_for_any_split_and_order(number, events, cuts, random):
    shuffled = events[:]
    random.shuffle(shuffled)
    parts = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    assert np.array_equal(sum(count(number, part) for part in parts), count(number, events))


@given(NUMBERS, EVENTS)
def test_tally_counts_every_event_once(number, events):
    tally = NumberTally(number, count(number, events))
    values = np.array([value for value, _ in events])
    assert tally.count + tally.missing == len(events)
    values = values[np.isfinite(values)]
    assert tally.count == len(values)
    assert tally.clipped == ((values < number.low) | (values > number.high)).sum()


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, PLACES - 1)), min_size=2, max_size=40))
def test_mean_and_variance_are_those_of_the_values(events):
    number = Number("confidence", 0.0, 1.0)
    tally = NumberTally(number, count(number, events))
    values = np.array([value for value, _ in events])
    assert tally.mean == pytest.approx(values.mean(), abs=number.step)
    # One more value, at the other end of the range.
    expected = (values.var() * len(values) + 1) / len(values) ** 2
    assert tally.mean_variance == pytest.approx(expected, abs=2 * number.step)


def test_ends_of_the_range_are_exact():
    number = Number("correct", 0.0, 1.0)
    tally = NumberTally(number, count(number, [(1.0, 0)] * 814 + [(0.0, 1)] * 186))
    assert (tally.mean, tally.clipped) == (0.814, 0)
    assert tally.means[:2].tolist() == [1.0, 0.0]
    assert tally.squares.tolist() == [0.0] * PLACES
