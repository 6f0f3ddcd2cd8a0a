"""Consecutive windows of a stream: memory, history and verdicts."""

import math

import numpy as np
import pytest

from driftgauge.core.judging.verdict import SlowDrift, Verdict, VerdictHistory, VerdictMemory
from driftgauge.core.statistics.cusum import advance
from driftgauge.core.windows.changelog import HistoryKey
from tests.builders.batches import AWAY, build_tally
from tests.builders.clocks import HOUR_MS
from tests.builders.references import RICH, build_reference, measured
from tests.builders.results import hour_window, plain
from tests.core.judging.judged_stream import FEW, LEVEL, MOVED, JudgedStream
from tests.core.judging.scorers import build_scorer

NEXT = measured(build_reference("next", count=100_000))
OK, WARNING, DRIFT = Verdict.OK, Verdict.WARNING, Verdict.DRIFT


def test_result_holds_memory_and_superseded_verdict():
    stream = JudgedStream()
    first = stream.judge(0, MOVED)
    assert (first.stream, first.window, first.revision, first.published_ms) == (
        "images",
        hour_window(0),
        0,
        7,
    )
    assert (first.superseded, plain(first.memory), first.verdict) == (None, plain(VerdictMemory()), WARNING)
    assert first.counts.tolist() == list(MOVED)
    assert first.baseline_id == RICH.baseline_id
    np.testing.assert_array_equal(first.baseline_counts, RICH.counts)
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


def test_new_baseline_begins_new_history():
    stream = JudgedStream()
    stream.judge(0, MOVED)
    assert stream.verdict(1, MOVED, reference=NEXT) is WARNING
    assert stream.state.histories[HOUR_MS, NEXT.key].memory.recent == (True,)
    assert stream.verdict(2, MOVED, reference=NEXT) is DRIFT


def test_result_has_evidence_of_its_run():
    stream, alone = JudgedStream(), JudgedStream()
    results = [stream.judge(number, counts) for number, counts in enumerate([MOVED, MOVED, MOVED[::-1]])]
    own = alone.judge(0, MOVED[::-1]).score
    before = results[1].score.evidence
    # The run's two windows before weigh 1 and 0.75, and one window later 0.75 times as much.
    weight = 0.75 + 0.75**2
    expected = {kind: (share + weight * before[kind]) / (1 + weight) for kind, share in own.evidence.items()}
    assert results[2].score.evidence == pytest.approx(expected)
