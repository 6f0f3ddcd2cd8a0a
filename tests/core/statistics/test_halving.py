"""Tests of `driftgauge.core.statistics.halving`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.statistics.halving import halve


@given(st.floats(0, 1))
def test_least_number_from_which_condition_holds(least):
    found = halve(lambda number: number >= least, 0.0, 1.0)
    assert found >= least
    assert found == pytest.approx(least, abs=2**-29)


def test_high_end_where_condition_never_holds():
    assert halve(lambda _: False, 2.0, 5.0) == 5.0


def test_steps_bound_calls():
    calls = []
    halve(lambda number: bool(calls.append(number)), 0.0, 1.0, steps=7)
    assert len(calls) == 7
