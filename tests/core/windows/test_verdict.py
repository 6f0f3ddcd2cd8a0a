"""Verdicts of windows, and the memory and history that carry them on."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.statistics.cusum import advance
from driftgauge.core.statistics.overdispersion import OverdispersionEstimator
from driftgauge.core.windows.result import Verdict, VerdictMemory
from driftgauge.core.windows.verdict import VerdictHistory, decide, update_memory
from driftgauge.core.windows.window import Window
from tests.builders.clocks import HOUR_MS

DE, FR = ("country", "de"), ("country", "fr")
LIMIT = 4.0
NEVER_SLOW = 1e9


@pytest.mark.parametrize("found", list(product([False, True], repeat=3)))
def test_two_of_three_windows_are_drift_one_alone_warns(found):
    *recent, is_significant_and_large = found
    verdict = decide(tuple(recent), is_significant_and_large=is_significant_and_large)
    if sum(found) >= 2:
        assert verdict is Verdict.DRIFT
    else:
        assert verdict is (Verdict.WARNING if is_significant_and_large else Verdict.OK)


@pytest.mark.parametrize(
    ("recent", "is_significant_and_large", "verdict"),
    [
        ((), False, Verdict.OK),
        ((), True, Verdict.WARNING),
        ((False,), True, Verdict.WARNING),
        ((True,), False, Verdict.OK),
        ((True,), True, Verdict.DRIFT),
    ],
)
def test_first_windows_are_judged_with_fewer_before(recent, is_significant_and_large, verdict):
    assert decide(recent, is_significant_and_large=is_significant_and_large) is verdict


@pytest.mark.parametrize(
    ("recent", "is_significant_and_large"), [((), False), ((True, False), False), ((), True)]
)
def test_slow_drift_alone_warns(recent, is_significant_and_large):
    assert (
        decide(
            recent,
            is_significant_and_large=is_significant_and_large,
            has_slow_drift=True,
        )
        is Verdict.WARNING
    )


@pytest.mark.parametrize("recent", [(), (False, False), (True,)])
def test_overwhelming_window_is_drift_by_itself(recent):
    assert decide(recent, is_significant_and_large=True, is_overwhelming=True) is Verdict.DRIFT


def test_slow_drift_does_not_lower_drift():
    assert decide((True,), is_significant_and_large=True, has_slow_drift=True) is Verdict.DRIFT


def entered(
    memory, *, is_significant_and_large=False, p_value=0.5, slow_drift_limit=NEVER_SLOW, segments=None
):
    return update_memory(
        memory,
        is_significant_and_large=is_significant_and_large,
        p_value=p_value,
        slow_drift_limit=slow_drift_limit,
        segments=segments or {},
    )


@given(st.lists(st.booleans(), max_size=8))
def test_memory_keeps_last_two_windows_in_order(found):
    memory = VerdictMemory()
    for is_significant_and_large in found:
        memory = entered(memory, is_significant_and_large=is_significant_and_large)
    assert memory.recent == tuple(found[-2:])


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_consecutive_verdicts_depend_on_last_three_windows(found):
    memory = VerdictMemory()
    for number, is_significant_and_large in enumerate(found):
        is_drift = sum(found[max(number - 2, 0) : number + 1]) >= 2
        verdict = decide(memory.recent, is_significant_and_large=is_significant_and_large)
        assert (verdict is Verdict.DRIFT) is is_drift
        memory = entered(memory, is_significant_and_large=is_significant_and_large)


P_VALUES = st.lists(st.floats(0, 1), max_size=20)


@given(P_VALUES)
def test_slow_drift_accumulates_over_windows(p_values):
    memory, statistic = VerdictMemory(), 0.0
    for p_value in p_values:
        memory = entered(memory, p_value=p_value)
        statistic = advance(statistic, p_value)
        assert memory.slow_drift == statistic


@given(P_VALUES)
def test_slow_drift_is_capped_above_limit(p_values):
    memory, statistic = VerdictMemory(), 0.0
    for p_value in p_values:
        memory = entered(memory, p_value=p_value, slow_drift_limit=LIMIT)
        statistic = min(advance(statistic, p_value), LIMIT + 3)
        assert memory.slow_drift == statistic <= LIMIT + 3


def test_slow_drift_warning_ends_seven_windows_after_drift():
    memory = VerdictMemory()
    for _ in range(1_000):
        memory = entered(memory, p_value=1e-12, slow_drift_limit=LIMIT)
    windows = 0
    while memory.slow_drift >= LIMIT:
        memory = entered(memory, p_value=0.5, slow_drift_limit=LIMIT)
        windows += 1
    assert windows == 7


def test_memory_keeps_segments_apart_missing_score_is_false():
    memory = entered(VerdictMemory(), segments={DE: True})
    memory = entered(memory, segments={DE: False, FR: True})
    assert memory.segments == {DE: (True, False), FR: (True,)}
    memory = entered(memory, segments={DE: True})
    assert memory.segments == {DE: (False, True), FR: (True, False)}


@pytest.mark.parametrize("quiet", [{}, {DE: False}, {FR: False}])
def test_memory_drops_segment_without_recent_drift(quiet):
    memory = entered(VerdictMemory(), segments={DE: True, FR: False})
    for segments in ({DE: (True,)}, {DE: (True, False)}, {}):
        assert memory.segments == segments
        memory = entered(memory, segments=quiet)


FOUND = st.dictionaries(st.sampled_from([DE, FR]), st.booleans())


@given(st.lists(st.tuples(st.integers(0, 3), FOUND), min_size=1, max_size=12))
def test_segment_verdicts_depend_on_last_three_windows(steps):
    history, number, found_in = VerdictHistory.begin("sha256:abc", 3, 0), 0, {DE: set(), FR: set()}
    for gap, found in steps:
        number += 1 + gap
        window = Window(HOUR_MS, number * HOUR_MS)
        memory = history.memory_for(window)
        for segment, is_significant_and_large in found.items():
            found_in[segment] |= {number} if is_significant_and_large else set()
            is_drift = len(found_in[segment] & {number - 2, number - 1, number}) >= 2
            verdict = decide(
                memory.segments.get(segment, ()),
                is_significant_and_large=is_significant_and_large,
            )
            assert (verdict is Verdict.DRIFT) is is_drift
        history = history.add(window, entered(memory, segments=found))
        assert all(any(recent) and len(recent) <= 2 for recent in history.memory.segments.values())


@pytest.mark.parametrize(
    ("gap", "recent", "segments"),
    [
        (0, (False, True), {DE: (False, True), FR: (True, False)}),
        (1, (True, False), {DE: (True, False)}),
        (2, (False, False), {}),
        (500, (False, False), {}),
    ],
)
def test_missing_windows_count_as_false_in_memory(gap, recent, segments):
    memory = VerdictMemory((False, True), 2.5, {DE: (False, True), FR: (True, False)})
    history = VerdictHistory.begin("sha256:abc", 3, 0).add(Window(HOUR_MS, HOUR_MS), memory)
    assert history.memory_for(Window(HOUR_MS, (2 + gap) * HOUR_MS)) == VerdictMemory(recent, 2.5, segments)


def test_new_history_counts_no_missing_windows():
    history = VerdictHistory.begin("sha256:abc", 3, 0)
    assert history.memory_for(Window(HOUR_MS, 500 * HOUR_MS)) == VerdictMemory()


def test_update_memory_does_not_change_memory_before():
    before = VerdictMemory((True,), 1.5, {DE: (True,)})
    after = entered(before, is_significant_and_large=True, p_value=0.01, segments={DE: False, FR: False})
    assert before == VerdictMemory((True,), 1.5, {DE: (True,)})
    assert after != before


def test_new_history_keeps_only_end_of_last_window():
    history = VerdictHistory.begin("sha256:abc", 3, 7)
    assert (history.baseline_id, history.end_ms, history.memory) == ("sha256:abc", 7, VerdictMemory())
    assert (history.clean.windows, history.clean.products.shape) == (0, (3, 3))


def test_another_warm_up_resets_estimators():
    clean = OverdispersionEstimator(1, 2.0, np.ones((3, 3)))
    taught = VerdictHistory("sha256:abc", 7, VerdictMemory((True,)), (0, 5), clean, {DE: clean})
    assert taught.with_warm_up((0, 5)) is taught
    for warm_up in ((0, 6), None):
        renewed = taught.with_warm_up(warm_up)
        assert (renewed.baseline_id, renewed.end_ms, renewed.memory) == (
            "sha256:abc",
            7,
            VerdictMemory((True,)),
        )
        assert (renewed.warm_up, renewed.segments) == (warm_up, {})
        assert (renewed.clean.windows, renewed.clean.chi_squared) == (0, 0.0)
        assert renewed.clean.products.tolist() == np.zeros((3, 3)).tolist()


def test_added_window_moves_end_of_history():
    history = VerdictHistory.begin("sha256:abc", 3, 7)
    memory, clean = VerdictMemory((True,)), OverdispersionEstimator(1, 2.0, history.clean.products + 1)
    remembered = history.add(Window(HOUR_MS, HOUR_MS), memory)
    assert (remembered.end_ms, remembered.memory, remembered.clean) == (2 * HOUR_MS, memory, history.clean)
    learned = history.add_warm_up(Window(HOUR_MS, HOUR_MS), clean, {DE: clean})
    assert (learned.end_ms, learned.memory, learned.clean) == (2 * HOUR_MS, VerdictMemory(), clean)
    assert learned.segments == {DE: clean}
    assert history.segments == {}
