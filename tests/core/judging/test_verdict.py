"""Verdicts of consecutive windows of a stream, and the memory and history that carry them on."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.tally import Tally, TallyField
from driftgauge.core.judging.verdict import (
    Signs,
    SlowDrift,
    Verdict,
    VerdictHistory,
    VerdictMemory,
    decide,
    update_memory,
)
from driftgauge.core.statistics.cusum import advance
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import HistoryKey
from tests.builders.batches import AWAY, build_tally
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.references import RICH
from tests.builders.results import hour_window, plain
from tests.core.judging.judged_stream import FEW, LEVEL, MOVED, JudgedStream, build_scorer

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


OK, WARNING, DRIFT = Verdict.OK, Verdict.WARNING, Verdict.DRIFT


def test_result_holds_memory_and_superseded_verdict():
    stream = JudgedStream()
    first = stream.judge(0, MOVED)
    assert (first.superseded, plain(first.memory), first.verdict) == (None, plain(VerdictMemory()), WARNING)
    assert first.slow_drift_limit == build_scorer(level=LEVEL).slow_drift_limit
    assert first.slow_drift == advance(0, first.score.p_value)
    second = stream.judge(1)
    values = build_tally(*MOVED, reference=RICH)
    slow_drift = SlowDrift(first.slow_drift, 0, ((0, values),))
    memory = VerdictMemory((True,), slow_drift, evidence=first.score.evidence)
    assert plain(second.memory) == plain(memory)
    assert (first.slow_drift_since_ms, second.slow_drift_since_ms) == (0, 0)
    again = stream.judge(0)
    assert (again.revision, again.superseded, again.verdict) == (1, WARNING, OK)


def test_window_incomplete_again_keeps_memory():
    stream = JudgedStream()
    stream.judge(0, MOVED)
    first = stream.judge(1, MOVED)
    between = stream.judge(1, MOVED, missing=(AWAY,))
    assert (between.verdict, between.slow_drift, between.memory) == (Verdict.INCOMPLETE, None, first.memory)
    before = stream.history
    again = stream.judge(1, MOVED)
    assert (again.verdict, again.memory, again.slow_drift) == (DRIFT, first.memory, first.slow_drift)
    assert stream.history is before


def test_window_after_later_one_is_judged_without_memory():
    stream = JudgedStream()
    stream.judge(0, MOVED)
    stream.judge(1, MOVED, missing=(AWAY,))
    stream.judge(2, MOVED)
    before = stream.history
    late = stream.judge(1, MOVED)
    assert (late.verdict, plain(late.memory)) == (WARNING, plain(VerdictMemory()))
    assert (stream.judge(1, MOVED).memory, stream.history) == (late.memory, before)
    # The window counted as False when the one after it entered.
    assert stream.judge(3).memory.recent == (False, True)


@pytest.mark.parametrize(("gap", "verdict"), [(0, DRIFT), (1, DRIFT), (2, WARNING), (500, WARNING)])
def test_empty_or_unscored_windows_count_as_false(gap, verdict):
    stream = JudgedStream(min_events=11)
    stream.judge(0, MOVED)
    for number in range(1, min(gap, 3)):
        stream.judge(number, FEW)
    assert stream.judge(1 + gap, MOVED).verdict is verdict


def test_window_enters_history_when_revision_is_scored():
    stream = JudgedStream(min_events=11)
    stream.judge(0, MOVED)
    before = stream.history
    few = stream.judge(1, FEW)
    assert (few.verdict, few.score, few.slow_drift, few.memory) == (Verdict.INSUFFICIENT, None, None, None)
    assert stream.history is before
    assert stream.verdict(1, MOVED) is DRIFT
    assert stream.history.memory.recent == (True, True)


def test_slow_drift_warns_from_its_limit():
    # The evidence of this many events is clipped at four deviations, and the change is far from large.
    trifle = (42_500, 28_500, 19_500, 9_500)
    limit = JudgedStream().judge(0).slow_drift_limit
    values = build_tally(*trifle, reference=RICH)
    for before, verdict in ((limit - 3.5, WARNING), (math.nextafter(limit - 3.5, 0), OK)):
        stream = JudgedStream()
        memory = VerdictMemory((), SlowDrift(before, 0, ((0, values),)))
        history = VerdictHistory(HOUR_MS, memory)
        stream.state.restore(HistoryKey("images", HOUR_MS, RICH.key), history)
        result = stream.judge(1, trifle)
        assert (result.slow_drift == limit) is (verdict is WARNING)
        assert result.verdict is verdict


def test_result_has_evidence_of_its_run():
    stream, alone = JudgedStream(), JudgedStream()
    results = [stream.judge(number, counts) for number, counts in enumerate([MOVED, MOVED, MOVED[::-1]])]
    own = alone.judge(0, MOVED[::-1]).score
    before = results[1].score.evidence
    # The run's two windows before weigh 1 and 0.75, and one window later 0.75 times as much.
    weight = 0.75 + 0.75**2
    expected = {kind: (share + weight * before[kind]) / (1 + weight) for kind, share in own.evidence.items()}
    assert results[2].score.evidence == pytest.approx(expected)
