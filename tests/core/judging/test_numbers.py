"""Tests of what a window says of a number: its error, its alert, and when there is none."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.numbers import Number, NumberTally
from driftgauge.core.judging.number_judging import NumberMemory, judge_number, remember

CORRECT = Number("correct", 0.0, 1.0)
EVENTS = 400


def count(values, number=CORRECT):
    """The tally of these values of a number; NaN for an event without one."""
    values = np.asarray(values, np.float64)
    return NumberTally(number, number.count(values, np.zeros(len(values), np.intp), 1))


def tally(share, events=EVENTS):
    return count(np.arange(events) < round(share * events))


BASELINE = tally(0.9, 10 * EVENTS)


def judge(number, tallies, *, baseline=BASELINE, memory=None, is_conclusive=True, between=0.0):
    """Return the results of one window after another, by their tallies or their shares of right answers."""
    results, memory = [], memory or NumberMemory()
    for each in tallies:
        found = each if isinstance(each, NumberTally) else tally(each)
        result = judge_number(
            number,
            found,
            baseline,
            memory,
            events=EVENTS,
            is_conclusive=is_conclusive,
            fewest=30,
            between=between,
        )
        memory = result.after
        results.append(result)
    return results


@pytest.mark.parametrize(
    ("limits", "fires"),
    [
        ({"alert_below": 0.8}, [False, False, True, True, False]),
        ({"alert_change": 0.15}, [False, False, True, True, False]),
        ({}, [False] * 5),
    ],
)
def test_two_of_three_windows_beyond_a_declared_size_fire(limits, fires):
    results = judge(replace(CORRECT, **limits), [0.9, 0.7, 0.7, 0.9, 0.9])
    assert [each.fires for each in results] == fires


@pytest.mark.parametrize(("events", "is_conclusive"), [(EVENTS - 1, True), (EVENTS, False)])
def test_window_in_doubt_neither_fires_nor_is_remembered(events, is_conclusive):
    number = replace(CORRECT, alert_below=0.8)
    results = judge(number, [tally(0.7, events)] * 3, is_conclusive=is_conclusive)
    assert not any(each.fires or each.exceeds for each in results)
    assert results[-1].after == NumberMemory(number)
    assert results[0].is_partial == (events < EVENTS)


def test_alert_goes_on_until_a_window_has_enough_values_again():
    number = replace(CORRECT, alert_below=0.8)
    memory = judge(number, [0.7, 0.7, 0.9])[-1].after
    few = np.where(np.arange(EVENTS) < 20, 1.0, np.nan)
    doubtful = [count(values) for values in (few, few + np.nan, np.ones(EVENTS - 1))]
    results = judge(number, doubtful, memory=memory)
    results += judge(number, [1.0], memory=results[-1].after, is_conclusive=False)
    assert {(each.exceeds, each.fires) for each in results} == {(False, True)}
    assert results[-1].after.mean is None, "the next window does not follow it"
    assert not judge(number, [0.9], memory=results[-1].after)[0].fires


@pytest.mark.parametrize("now", [{}, {"alert_below": 0.5}, {"alert_below": 0.8, "high": 2.0}])
def test_other_limits_or_range_do_not_inherit_an_alert(now):
    before = judge(replace(CORRECT, alert_below=0.8), [0.7, 0.7])[-1]
    assert before.fires
    number = replace(CORRECT, **now)
    counted = count(np.where(np.arange(EVENTS) < 0.7 * EVENTS, number.high, 0.0), number)
    (result,) = judge(number, [counted], baseline=None, memory=before.after)
    assert not result.fires
    assert (result.before.mean is None) == ("high" in now)


def test_windows_that_do_not_follow_one_another_are_not_compared():
    after = judge(CORRECT, [0.9, 0.9])[-1].after
    assert after.ratios
    assert remember({"correct": judge(CORRECT, [0.9])[-1]}, 1)["correct"].mean is None


def test_windows_without_result_end_the_alert():
    number = replace(CORRECT, alert_below=0.8)
    after = remember({"correct": judge(number, [0.7, 0.7])[-1]}, 2)["correct"]
    assert after.recent == (False, False)


def test_number_that_the_baseline_does_not_know_has_a_mean_and_no_change():
    (result,) = judge(replace(CORRECT, alert_change=0.01), [0.5], baseline=None)
    assert result.mean.value == 0.5
    assert (result.change, result.baseline_mean, result.exceeds) == (None, None, False)


def test_error_follows_the_variation_of_the_windows():
    random = np.random.default_rng(5)
    own = np.sqrt(0.8 * 0.2 / EVENTS)

    def last(deviation):
        return judge(CORRECT, 0.8 + deviation * random.normal(size=30))[-1].mean.error

    assert last(own) == pytest.approx(own, rel=0.4)
    assert last(4 * own) == pytest.approx(4 * own, rel=0.4)


def test_cycle_of_the_baseline_is_no_clear_change():
    hours, random = np.arange(24 * 7), np.random.default_rng(7)
    cycle = 0.85 + 0.08 * np.sin(hours * 2 * np.pi / 24)
    right = (random.random((len(hours), EVENTS)) < cycle[:, None]).ravel().astype(float)
    by_hour = CORRECT.count(right, np.repeat(hours, EVENTS), len(hours))
    between = NumberTally(CORRECT, by_hour).variance_between
    assert between == pytest.approx(0.08**2 / 2, rel=0.15)

    def clear(shares, between):
        results = judge(CORRECT, shares, baseline=count(right), between=between)
        return np.mean([each.has_changed for each in results])

    day = random.binomial(EVENTS, np.tile(cycle[:24], 3)) / EVENTS
    assert clear(day, 0.0) > 0.3
    assert clear(day, between) < 0.05
    assert clear(day - 0.25, between) == 1.0


def test_one_sudden_change_does_not_widen_the_error():
    random = np.random.default_rng(6)
    shares = np.repeat([0.9, 0.6], 12) + 0.01 * random.normal(size=24)
    assert judge(CORRECT, shares)[-1].overdispersion < 2.5
