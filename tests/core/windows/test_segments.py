"""Segments of consecutive windows: panes, memory, verdicts, calibration, examples."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.examples import Example
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.overdispersion import (
    MIN_WINDOWS,
    CalibratedOverdispersion,
    Overdispersion,
)
from driftgauge.core.windows.result import Verdict
from driftgauge.core.windows.scoring import WindowScorer
from driftgauge.core.windows.warm_up import WarmUp, recentre
from tests.builders.batches import build_bursts, build_segment_tally, read_tally
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.references import COMPONENTS, DE, REST, RICH, SEGMENTED
from tests.builders.results import plain, summarize_segments
from tests.core.windows.judged_stream import FEW, FIRST_AFTER, MOVED, ODD, QUIET, WARM_UP, JudgedStream
from tests.examples import examples

OK, WARNING, DRIFT = Verdict.OK, Verdict.WARNING, Verdict.DRIFT


def build_segment_bursts(number):
    """The counts of a segment in an hour of the warm-up: bursts of eight events."""
    return tuple(8 * np.random.default_rng(-number % 1_000).multinomial(200, RICH.counts / RICH.counts.sum()))


def build_warmed_up_segments(windows=MIN_WINDOWS + 1, **changes):
    """A stream with segments after this number of warm-up windows, the last without the first segment."""
    stream = JudgedStream(warm_up=WARM_UP, segment_keys=("country",), **{"reference": SEGMENTED} | changes)
    for number in range(2, 2 + windows):
        if number < 1 + windows:
            stream.add_pane(number, build_segment_bursts(number), DE)
        stream.add_pane(number, FEW, REST)
        stream.judge(number, build_bursts(number))
    return stream


def expected_warm_up_of_segment(windows):
    """The warm-up of the first segment."""
    part = SEGMENTED.segments[0]
    fields = tuple(field for field in registry.fields_of(SEGMENTED) if field.in_segments)
    clean = WarmUp.empty(fields, COMPONENTS)
    for number in range(2, 2 + windows):
        tally = read_tally(build_segment_tally(*build_segment_bursts(number), reference=SEGMENTED))
        clean = clean.add(tally, SEGMENTED, part)
    return clean


def test_warm_up_calibrates_segments_with_enough_events():
    stream = build_warmed_up_segments(min_events=11)
    assert list(stream.history.segments) == [DE]
    own = expected_warm_up_of_segment(MIN_WINDOWS)
    assert plain(stream.history.segments[DE]) == plain(own)
    stream.restart()
    stream.add_pane(FIRST_AFTER, MOVED, DE)
    stream.add_pane(FIRST_AFTER, QUIET, REST)
    result = stream.judge(FIRST_AFTER)
    assert [segment.calibrated for segment in result.segments] == [True, False]
    scheme = stream.spec.scheme(SEGMENTED)
    offsets = {
        None: stream.history.clean.offset(scheme.fields, SEGMENTED),
        DE: own.offset(scheme.of_segments.fields, SEGMENTED, SEGMENTED.segments[0]),
    }
    known = {
        DE: CalibratedOverdispersion(offsets[DE].recentred, calibrated=True),
        REST: CalibratedOverdispersion(offsets[None].windows, calibrated=False),
    }
    reference, overdispersion = recentre(SEGMENTED, offsets), offsets[None].recentred
    expected = WindowScorer(stream.spec, reference, overdispersion, calibrated=True, segments=known)
    tallies = {
        name: read_tally(build_segment_tally(*counts, reference=SEGMENTED))
        for name, counts in ((DE, MOVED), (REST, QUIET))
    }
    assert plain(result.segments) == plain(expected.judge_segments(tallies, {})[0])
    # In bursts of eight this change is not significant.
    assert summarize_segments(result)[DE] != (4_000, WARNING)


def test_uncalibrated_segment_uses_overdispersion_of_baseline():
    own, whole = (Overdispersion(40, value, np.eye(COMPONENTS) * value) for value in (4.0, 2.0))
    parts = (replace(SEGMENTED.segments[0], overdispersion=own), SEGMENTED.segments[1])
    for overdispersion_ms, is_calibrated in ((HOUR_MS, True), (DAY_MS, False)):
        reference = replace(
            SEGMENTED, overdispersion=whole, overdispersion_ms=overdispersion_ms, segments=parts
        )
        stream = build_warmed_up_segments(windows=MIN_WINDOWS, reference=reference)
        for segment in (DE, REST):
            stream.add_pane(FIRST_AFTER, ODD, segment)
        result = stream.judge(FIRST_AFTER)
        known = {DE: CalibratedOverdispersion(own, calibrated=is_calibrated)}
        judge = WindowScorer(stream.spec, reference, whole, calibrated=True, segments=known)
        tally = read_tally(build_segment_tally(*ODD, reference=SEGMENTED))
        found = judge.judge_segments({DE: tally, REST: tally}, {})[0]
        # The warm-up has enough windows of the other segment, though with few events.
        assert result.segments[0].p_value == found[0].p_value
        assert [segment.calibrated for segment in result.segments] == [is_calibrated, True]


def test_segments_are_judged_from_own_panes_and_memory():
    stream = JudgedStream(reference=SEGMENTED, segment_keys=("country",))
    for number, (counts, verdict) in enumerate(((MOVED, WARNING), (QUIET, OK), (MOVED, DRIFT))):
        stream.add_pane(number, counts, DE)
        stream.add_pane(number, counts, DE)
        result = stream.judge(number)
        assert summarize_segments(result) == {DE: (8_000, verdict), REST: (0, Verdict.INSUFFICIENT)}
        assert result.verdict is OK
    assert stream.history.memory.segments == {DE: (False, True)}


@pytest.mark.parametrize("is_whole_missing", [True, False])
@pytest.mark.parametrize("part", [None, FEW])
@pytest.mark.parametrize(("gap", "verdict"), [(0, DRIFT), (1, DRIFT), (2, WARNING), (5, WARNING)])
def test_windows_without_segment_score_count_as_false(gap, verdict, part, is_whole_missing):
    stream = JudgedStream(reference=SEGMENTED, segment_keys=("country",), min_events=11)
    for number in range(2 + gap):
        counts = part if 0 < number < 1 + gap else MOVED
        if counts:
            stream.add_pane(number, counts, DE)
        if counts is MOVED or not is_whole_missing:
            result = stream.judge(number)
    assert summarize_segments(result)[DE] == (4_000, verdict)
    assert result.verdict is OK


@settings(max_examples=examples(25))
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from([(QUIET, None), (QUIET, FEW), (QUIET, QUIET), (QUIET, MOVED), (FEW, FEW)]),
        ),
        min_size=3,
        max_size=12,
    ),
    st.sets(st.integers(0, 12)),
)
def test_segment_drift_depends_on_last_three_despite_restarts(steps, restarts):
    steady, restarted = (
        JudgedStream(reference=SEGMENTED, segment_keys=("country",), min_events=11) for _ in range(2)
    )
    number, found_in = 0, set()
    for step, (gap, (counts, part)) in enumerate(steps):
        number += 1 + gap
        if step in restarts:
            restarted.restart()
        if part is MOVED:
            found_in.add(number)
        seen = []
        for stream in (steady, restarted):
            if part:
                stream.add_pane(number, part, DE)
            seen.append(stream.judge(number, counts))
        assert plain(seen[0]) == plain(seen[1])
        if part in (QUIET, MOVED):
            is_drift = len(found_in & {number - 2, number - 1, number}) >= 2
            assert (summarize_segments(seen[0])[DE][1] is DRIFT) is is_drift
    assert plain(steady.history) == plain(restarted.history)


def test_unscored_window_has_no_examples():
    stream = JudgedStream(reference=SEGMENTED, min_events=11)
    stream.add_pane(0, FEW, examples=(Example(0, 1, "a"),))
    assert stream.judge(0, FEW).examples == {}
