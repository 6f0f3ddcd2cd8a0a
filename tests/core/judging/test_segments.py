"""Segments of consecutive windows: panes, memory, verdicts, calibration, examples."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.examples import Example
from driftgauge.core.judging.clean_windows import WindowSums
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, Overdispersion
from tests.builders.batches import build_bursts, build_segment_tally, read_tally
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.references import COMPONENTS, DE, REST, RICH, SEGMENTED, measured
from tests.builders.results import plain, summarize_segments
from tests.core.judging.judged_stream import FEW, FIRST_AFTER, MOVED, ODD, QUIET, WARM_UP, JudgedStream
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


def expected_sums_of_segment(windows):
    """The sums over the warm-up's windows of the first segment."""
    part = SEGMENTED.segments[0]
    sums = WindowSums.empty(SEGMENTED, part)
    for number in range(2, 2 + windows):
        tally = read_tally(build_segment_tally(*build_segment_bursts(number), reference=SEGMENTED))
        sums = sums.add(tally, SEGMENTED, part)
    return sums


def test_warm_up_calibrates_segments_with_enough_events():
    stream = build_warmed_up_segments(min_events=11)
    clean, part = stream.measurement.clean, SEGMENTED.segments[0]
    assert list(clean.segments) == [DE]
    own = expected_sums_of_segment(MIN_WINDOWS)
    assert plain(clean.segments[DE]) == plain(own)
    stream.restart()
    for segment, counts in ((DE, MOVED), (REST, QUIET)):
        stream.add_pane(FIRST_AFTER, counts, segment)
    result = stream.judge(FIRST_AFTER)
    assert [segment.calibrated for segment in result.segments] == [True, False]
    offset = own.offset(SEGMENTED, part, least=MIN_WINDOWS)
    # The other segment varies as all events do.
    assert {key: plain(each.overdispersion) for key, each in stream.calibration.segments.items()} == {
        DE: plain(replace(offset.recentred, baseline=None))
    }
    # In bursts of eight this change is not significant.
    assert summarize_segments(result)[DE] != (4_000, WARNING)


@pytest.mark.parametrize(("overdispersion_ms", "is_calibrated"), [(HOUR_MS, True), (DAY_MS, False)])
def test_uncalibrated_segment_uses_overdispersion_of_baseline(overdispersion_ms, is_calibrated):
    own, whole = (Overdispersion(40, value, np.eye(COMPONENTS) * value) for value in (4.0, 2.0))
    parts = (replace(SEGMENTED.segments[0], overdispersion=own), SEGMENTED.segments[1])
    reference = replace(SEGMENTED, overdispersion=whole, overdispersion_ms=overdispersion_ms, segments=parts)
    # The warm-up has enough windows of the other segment, though with few events.
    stream = build_warmed_up_segments(windows=MIN_WINDOWS, reference=reference)
    for segment in (DE, REST):
        stream.add_pane(FIRST_AFTER, ODD, segment)
    result = stream.judge(FIRST_AFTER)
    assert stream.calibration.segments[DE].overdispersion is own
    assert [segment.calibrated for segment in result.segments] == [is_calibrated, True]


def test_segments_are_judged_from_own_panes_and_memory():
    stream = JudgedStream(reference=measured(SEGMENTED), segment_keys=("country",))
    for number, (counts, verdict) in enumerate(((MOVED, WARNING), (QUIET, OK), (MOVED, DRIFT))):
        stream.add_pane(number, counts, DE)
        stream.add_pane(number, counts, DE)
        result = stream.judge(number)
        assert summarize_segments(result) == {DE: (8_000, verdict), REST: (0, Verdict.INSUFFICIENT)}
        assert result.verdict is OK
    assert stream.history.memory.segments == {DE: (False, True)}


@settings(max_examples=examples(16))
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
        JudgedStream(reference=measured(SEGMENTED), segment_keys=("country",), min_events=11)
        for _ in range(2)
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
    stream = JudgedStream(reference=measured(SEGMENTED), min_events=11)
    stream.add_pane(0, FEW, examples=(Example(0, 1, "a"),))
    assert stream.judge(0, FEW).examples == {}
