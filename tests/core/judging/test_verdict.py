"""Verdicts of windows, and the memory and history that carry them on."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.tally import Tally, TallyField
from driftgauge.core.judging.verdict import Signs, SlowDrift, Verdict, VerdictMemory, decide, update_memory
from driftgauge.core.statistics.cusum import advance
from driftgauge.core.window import Window
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.results import hour_window, plain

DE, FR = ("country", "de"), ("country", "fr")
LIMIT = 4.0
NEVER_SLOW = 1e9


@pytest.mark.parametrize(
    ("recent", "counts", "verdict"),
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
def test_two_of_three_windows_are_drift_and_one_that_decides(recent, counts, verdict):
    assert decide(recent, counts=counts, warns=counts) is verdict
    assert decide(recent, counts=counts, warns=counts, decides=True) is Verdict.DRIFT
    is_quiet = verdict is Verdict.OK
    assert decide(recent, counts=counts, warns=True) is (Verdict.WARNING if is_quiet else verdict)
    misfit = decide(recent, counts=counts, warns=counts, is_misfit=True)
    assert misfit is (Verdict.MISFIT if is_quiet else verdict)


def entered(memory, number=0, *, counts=False, p_value=0.5, slow_drift_limit=NEVER_SLOW, segments=None):
    return update_memory(
        memory,
        number if isinstance(number, Window) else hour_window(number),
        Tally(np.array([1]), (TallyField("cluster_counts", 1),)),
        Signs(warns=True, counts=counts, decides=False, fits=True, p_value=p_value),
        slow_drift_limit=slow_drift_limit,
        segments=segments or {},
        evidence=memory.evidence,
    )


P_VALUES = st.lists(st.floats(0, 1), max_size=20)


@given(P_VALUES)
def test_slow_drift_is_capped_above_limit_and_holds_the_windows_since_it_was_0(p_values):
    memory, statistic, windows = VerdictMemory(), 0.0, 0
    for number, p_value in enumerate(p_values):
        memory = entered(memory, number, p_value=p_value, slow_drift_limit=LIMIT)
        statistic = min(advance(statistic, p_value), LIMIT + 1)
        windows = windows + 1 if statistic > 0 else 0
        since_ms = (number + 1 - windows) * HOUR_MS
        blocks = ((since_ms, np.array([windows])),)
        slow_drift = SlowDrift(statistic, since_ms, blocks) if windows else SlowDrift()
        assert plain(memory.slow_drift) == plain(slow_drift)


@pytest.mark.parametrize(("size_ms", "length"), [(HOUR_MS, 48), (DAY_MS, 20)])
def test_slow_drift_holds_the_windows_of_two_blocks(size_ms, length):
    memory = VerdictMemory()
    for number in range(4 * length):
        memory = entered(memory, Window(size_ms, number * size_ms), p_value=0.0)
        held = sum(values[0] for _, values in memory.slow_drift.blocks)
        assert held == min(number + 1, length + number % length + 1)
    assert (memory.slow_drift.since_ms, len(memory.slow_drift.blocks)) == (0, 2)


@pytest.mark.parametrize("quiet", [{}, {DE: False}, {FR: False}])
def test_memory_drops_segment_without_recent_drift(quiet):
    memory = entered(VerdictMemory(), segments={DE: True, FR: False})
    for segments in ({DE: (True,)}, {DE: (True, False)}, {}):
        assert memory.segments == segments
        memory = entered(memory, segments=quiet)


def test_evidence_is_that_of_a_run():
    memory = VerdictMemory()
    kinds = []
    for kind, is_significant in (*[("shift", True)] * 4, ("novelty", True), *[("mix", False)] * 14):
        own = {"mix": 0.0, "shift": 0.0, "novelty": 0.0} | {kind: 1.0}
        evidence = memory.add_evidence(own, is_significant=is_significant)
        memory = replace(memory, evidence=evidence, recent=(*memory.recent, is_significant)[-2:])
        kinds.append(max(evidence, key=evidence.__getitem__, default=None))
    # One window does not rename a drift of four, and quiet windows end the run.
    assert kinds[:5] == ["shift"] * 5
    assert kinds[-1] is None
    (found,) = memory.add_evidence({"mix": 1.0}, is_significant=True)
    assert found == "mix"
