"""Verdicts of windows, and the memory and history that carry them on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.statistics.cusum import advance
from driftgauge.core.windows.result import Verdict, VerdictMemory
from driftgauge.core.windows.verdict import VerdictHistory, decide, update_memory
from driftgauge.core.windows.window import Window
from tests.builders.clocks import HOUR_MS

DE, FR = ("country", "de"), ("country", "fr")
LIMIT = 4.0
NEVER_SLOW = 1e9


@pytest.mark.parametrize(
    ("recent", "is_significant_and_large", "verdict"),
    [
        ((), False, Verdict.OK),
        ((), True, Verdict.WARNING),
        ((False,), True, Verdict.WARNING),
        ((True,), False, Verdict.OK),
        ((True,), True, Verdict.DRIFT),
        ((False, False), True, Verdict.WARNING),
        ((True, False), False, Verdict.OK),
        ((True, False), True, Verdict.DRIFT),
        ((True, True), False, Verdict.DRIFT),
    ],
)
def test_two_of_three_windows_are_drift_one_alone_warns(recent, is_significant_and_large, verdict):
    assert decide(recent, is_significant_and_large=is_significant_and_large) is verdict
    slow = decide(recent, is_significant_and_large=is_significant_and_large, has_slow_drift=True)
    assert slow is (Verdict.WARNING if verdict is Verdict.OK else verdict)


@pytest.mark.parametrize("recent", [(), (False, False), (True,)])
def test_overwhelming_window_is_drift_by_itself(recent):
    assert decide(recent, is_significant_and_large=True, is_overwhelming=True) is Verdict.DRIFT


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
def test_slow_drift_is_capped_above_limit(p_values):
    memory, statistic = VerdictMemory(), 0.0
    for p_value in p_values:
        memory = entered(memory, p_value=p_value, slow_drift_limit=LIMIT)
        statistic = min(advance(statistic, p_value), LIMIT + 3)
        assert memory.slow_drift == statistic <= LIMIT + 3


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
