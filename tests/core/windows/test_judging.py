"""A stream's windows one after the other: what each is judged with, and what enters the history."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.examples import Example
from driftgauge.core.counting.partial import ExamplesDelta, PaneDelta
from driftgauge.core.counting.tally import Tally
from driftgauge.core.statistics.cusum import advance
from driftgauge.core.statistics.overdispersion import (
    MIN_WINDOWS,
    CalibratedOverdispersion,
    Overdispersion,
    OverdispersionEstimator,
)
from driftgauge.core.windows.changelog import HistoryKey
from driftgauge.core.windows.completeness import Completeness
from driftgauge.core.windows.judging import WindowJudge
from driftgauge.core.windows.result import Verdict, VerdictMemory
from driftgauge.core.windows.scoring import WindowScorer
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.verdict import VerdictHistory
from driftgauge.core.windows.window import Window
from tests.core.builders import (
    ALARM,
    CLUSTERS,
    COMPONENTS,
    DAY_MS,
    HOUR_MS,
    build_partitions,
    build_reference,
    build_segment,
    build_spec,
    build_tally,
    plain,
)
from tests.examples import examples

HOME, AWAY = build_partitions(2)
RICH = build_reference("rich", count=100_000)
NEXT = build_reference("next", count=100_000)
DE, REST = ("country", "de"), ("country", "other")

QUIET = (1_600, 1_200, 800, 400)
MOVED = (2_000, 1_000, 680, 320)
# Too small for drift, and the like of it comes once in a hundred windows.
ODD = (1_690, 1_180, 780, 350)
FEW = (4, 3, 2, 1)
# So rare that a few windows found are no slow drift yet.
LEVEL = 1e-9

OK, WARNING, DRIFT = Verdict.OK, Verdict.WARNING, Verdict.DRIFT


def hour(number):
    return Window(HOUR_MS, number * HOUR_MS)


class Stream:
    """Judges windows, and keeps what is to be kept as their shard does."""

    def __init__(self, *, reference=RICH, min_events=1, **alarm):
        self.reference = reference
        self.spec = build_spec(
            reference=reference,
            min_events=min_events,
            sizes_ms=(HOUR_MS, DAY_MS),
            alarm=replace(ALARM, **{"level": LEVEL, **alarm}),
        )
        self.kept = {}
        self.state = StreamState("images")
        self.judged_by = WindowJudge(self.spec, self.state)

    def restart(self):
        """Begin again with what the changelog holds."""
        self.kept.update(self.state.drain_changes())
        self.state = StreamState("images")
        for key, value in self.kept.items():
            self.state.restore(key, value)
        self.judged_by = WindowJudge(self.spec, self.state)

    def judge(self, window, counts=QUIET, *, reference=None, **completeness):
        """Judge a window as if these were its events; return its result."""
        if isinstance(window, int):
            window = hour(window)
        if completeness.get("missing"):
            completeness["incomplete_reason"] = "partitions_missing"
        reference = reference or self.reference
        result = self.judged_by.judge(
            window,
            Tally(build_tally(*counts, reference=reference), CLUSTERS),
            reference,
            Completeness(**completeness),
            7,
        )
        self.state.publish(result)
        return result

    def verdict(self, window, counts=QUIET, **how):
        return self.judge(window, counts, **how).verdict

    @property
    def history(self):
        return self.state.histories.get(HOUR_MS)


@pytest.mark.parametrize(
    ("windows", "verdicts"),
    [
        ([QUIET, MOVED, QUIET, QUIET, MOVED], [OK, WARNING, OK, OK, WARNING]),
        ([MOVED, MOVED, MOVED, QUIET, QUIET], [WARNING, DRIFT, DRIFT, DRIFT, OK]),
        ([MOVED, QUIET, MOVED, QUIET, MOVED], [WARNING, OK, DRIFT, OK, DRIFT]),
    ],
)
def test_drift_is_what_two_of_three_windows_show(windows, verdicts):
    stream = Stream()
    assert [stream.verdict(number, counts) for number, counts in enumerate(windows)] == verdicts


def test_each_size_has_a_history_of_its_own():
    stream = Stream()
    assert [stream.verdict(0, MOVED), stream.verdict(1, MOVED)] == [WARNING, DRIFT]
    assert [stream.verdict(Window(DAY_MS, number * DAY_MS), MOVED) for number in range(2)] == [WARNING, DRIFT]
    assert {size: history.end_ms for size, history in stream.state.histories.items()} == {
        HOUR_MS: 2 * HOUR_MS,
        DAY_MS: 2 * DAY_MS,
    }


def test_a_result_says_what_it_was_judged_with_and_what_it_supersedes():
    stream = Stream()
    first = stream.judge(0, MOVED)
    assert (first.stream, first.window, first.revision, first.published_ms) == ("images", hour(0), 0, 7)
    assert (first.superseded, first.memory, first.verdict) == (None, VerdictMemory(), WARNING)
    assert first.counts.tolist() == list(MOVED)
    assert first.baseline_id == RICH.baseline_id
    np.testing.assert_array_equal(first.baseline_counts, RICH.counts)
    assert first.slow_drift_limit == WindowScorer(stream.spec, RICH, None, calibrated=False).slow_drift_limit
    assert first.slow_drift == advance(0, first.score.p_value)
    second = stream.judge(1)
    assert second.memory == VerdictMemory((True,), first.slow_drift)
    again = stream.judge(0)
    assert (again.revision, again.superseded, again.verdict) == (1, WARNING, OK)


def test_a_window_enters_once_at_its_first_complete_revision():
    stream = Stream()
    assert stream.verdict(0, MOVED, missing=(AWAY,)) is Verdict.INCOMPLETE
    assert stream.history is None
    stream.judge(0, MOVED)
    entered = stream.history
    assert (entered.memory.recent, entered.end_ms) == ((True,), HOUR_MS)  # type: ignore[attr-defined]
    stream.judge(0, MOVED)
    stream.judge(0, QUIET)
    assert stream.history is entered


def test_a_revision_is_judged_with_what_the_first_one_was():
    stream = Stream()
    for number, counts in enumerate((MOVED, QUIET, MOVED, MOVED)):
        stream.judge(number, counts)
    before = stream.history
    revised = stream.judge(1, MOVED)
    assert (revised.verdict, revised.memory.recent) == (DRIFT, (True,))
    # What the windows after it were judged with was the first one's.
    assert stream.judge(2, MOVED).memory.recent == (True, False)
    assert stream.verdict(0, MOVED) is WARNING
    assert stream.history is before


def test_a_window_that_is_incomplete_again_keeps_what_it_was_judged_with():
    stream = Stream()
    stream.judge(0, MOVED)
    first = stream.judge(1, MOVED)
    between = stream.judge(1, MOVED, missing=(AWAY,))
    assert (between.verdict, between.slow_drift, between.memory) == (Verdict.INCOMPLETE, None, first.memory)
    before = stream.history
    again = stream.judge(1, MOVED)
    assert (again.verdict, again.memory, again.slow_drift) == (DRIFT, first.memory, first.slow_drift)
    assert stream.history is before


def test_a_window_that_comes_after_a_later_one_never_enters_and_is_judged_by_itself():
    stream = Stream()
    stream.judge(0, MOVED)
    stream.judge(1, MOVED, missing=(AWAY,))
    stream.judge(2, MOVED)
    before = stream.history
    late = stream.judge(1, MOVED)
    assert (late.verdict, late.memory) == (WARNING, VerdictMemory())
    assert (stream.judge(1, MOVED).memory, stream.history) == (VerdictMemory(), before)
    # When the one after it entered it was not known to be found.
    assert stream.judge(3).memory.recent == (False, True)


@pytest.mark.parametrize(("gap", "verdict"), [(0, DRIFT), (1, DRIFT), (2, WARNING), (500, WARNING)])
def test_windows_that_are_empty_or_not_scored_count_as_not_found(gap, verdict):
    stream = Stream(min_events=11)
    stream.judge(0, MOVED)
    for number in range(1, min(gap, 3)):
        stream.judge(number, FEW)
    assert stream.judge(1 + gap, MOVED).verdict is verdict


def test_a_window_without_a_score_does_not_enter_until_a_revision_has_one():
    stream = Stream(min_events=11)
    stream.judge(0, MOVED)
    before = stream.history
    few = stream.judge(1, FEW)
    assert (few.verdict, few.score, few.slow_drift, few.memory) == (Verdict.INSUFFICIENT, None, None, None)
    assert stream.history is before
    assert stream.verdict(1, MOVED) is DRIFT
    assert stream.history.memory.recent == (True, True)


def test_quiet_windows_of_few_events_say_too_little_and_enter():
    stream = Stream()
    assert stream.verdict(0, FEW) is Verdict.INSUFFICIENT
    assert stream.history.memory.recent == (False,)


def test_small_evidence_builds_up_to_a_warning_of_slow_drift():
    stream = Stream(level=0.001)
    seen = [stream.judge(number, ODD) for number in range(6)]
    assert not any(
        WindowScorer(stream.spec, RICH, None, calibrated=False).is_significant_and_large(result.score)
        for result in seen
    )
    statistic = 0.0
    for result in seen:
        statistic = min(advance(statistic, result.score.p_value), result.slow_drift_limit + 3)
        assert result.slow_drift == statistic
        assert result.verdict is (WARNING if statistic >= result.slow_drift_limit else OK)
    assert {result.verdict for result in seen} == {OK, WARNING}


def test_slow_drift_warns_from_its_limit_on():
    # So many events that the window's evidence is clipped, at four deviations, and far from large.
    trifle = (42_500, 28_500, 19_500, 9_500)
    limit = Stream().judge(0).slow_drift_limit
    for before, verdict in ((limit - 3.5, WARNING), (math.nextafter(limit - 3.5, 0), OK)):
        stream = Stream()
        history = VerdictHistory.begin(RICH.baseline_id, COMPONENTS, 0).add(
            hour(0), VerdictMemory((), before)
        )
        stream.state.restore(HistoryKey("images", HOUR_MS), history)
        result = stream.judge(1, trifle)
        assert (result.slow_drift == limit) is (verdict is WARNING)
        assert result.verdict is verdict


def test_a_new_baseline_begins_the_history_again():
    stream = Stream()
    stream.judge(0, MOVED)
    assert stream.verdict(1, MOVED, reference=NEXT) is WARNING
    assert (stream.history.baseline_id, stream.history.memory.recent) == (NEXT.baseline_id, (True,))
    assert stream.verdict(2, MOVED, reference=NEXT) is DRIFT


def test_after_a_new_baseline_has_begun_windows_of_the_old_one_leave_nothing():
    stream = Stream()
    stream.judge(0, MOVED)
    first = stream.judge(1, MOVED)
    stream.judge(2, MOVED, reference=NEXT)
    before = stream.history
    revised = stream.judge(1, MOVED)
    assert (revised.verdict, revised.memory) == (DRIFT, first.memory)
    assert stream.history is before


def test_a_window_that_is_older_than_what_has_entered_does_not_enter_against_a_new_baseline():
    stream = Stream()
    stream.judge(3, MOVED)
    stream.judge(1, MOVED, reference=NEXT)
    assert stream.history.baseline_id == RICH.baseline_id
    stream.judge(4, MOVED, reference=NEXT)
    assert stream.history.memory.recent == (True,)


def test_what_was_published_against_another_baseline_is_not_what_a_window_is_judged_with():
    stream = Stream()
    stream.judge(0, MOVED)
    stream.judge(1, MOVED)
    renewed = stream.judge(1, MOVED, reference=NEXT)
    assert (renewed.revision, renewed.memory, renewed.verdict) == (1, VerdictMemory(), WARNING)


WARM_UP = (2 * HOUR_MS, (MIN_WINDOWS + 3) * HOUR_MS)
FIRST_AFTER = MIN_WINDOWS + 3


def noisy(number):
    """A window of the warm-up: bursts of three, by chance."""
    return tuple(3 * np.random.default_rng(number).multinomial(1_000, RICH.counts / RICH.counts.sum()))


def warmed_up(windows=MIN_WINDOWS + 1, **changes):
    """A stream after so many windows of its warm-up."""
    stream = Stream(warm_up=WARM_UP, **changes)
    for number in range(2, 2 + windows):
        stream.judge(number, noisy(number))
    return stream


def learned(windows, reference=RICH):
    """What is to be learned from the first windows of the warm-up."""
    clean = OverdispersionEstimator.empty(COMPONENTS)
    for number in range(2, 2 + windows):
        tally = Tally(build_tally(*noisy(number), reference=reference), CLUSTERS)
        shift = reference.projection.shift(tally.sums, tally.count) / reference.projection.deviations
        clean = clean.add(tally.counts, reference.counts, shift, int(reference.counts.sum()))
    return clean


def test_the_windows_of_the_warm_up_are_learned_from_and_leave_nothing_else():
    stream = Stream(warm_up=WARM_UP)
    for number in (0, 1):
        stream.judge(number, MOVED)
    assert stream.history.memory.recent == (True, True)
    for number in range(2, FIRST_AFTER):
        result = stream.judge(number, noisy(number))
        assert (result.memory, result.score.calibrated) == (VerdictMemory(), False)
        assert result.verdict is not DRIFT
        assert stream.history.end_ms == result.window.end_ms
    assert stream.history.memory == VerdictMemory()
    assert plain(stream.history.clean) == plain(learned(MIN_WINDOWS + 1))


def test_another_warm_up_forgets_what_the_first_one_taught():
    stream = warmed_up()
    assert stream.history.clean.windows == MIN_WINDOWS + 1
    moved = replace(stream.spec, alarm=replace(stream.spec.alarm, warm_up=(FIRST_AFTER * HOUR_MS, 10**15)))
    tally = Tally(build_tally(*QUIET, reference=RICH), CLUSTERS)
    WindowJudge(moved, stream.state).judge(hour(FIRST_AFTER), tally, RICH, Completeness(), 0)
    assert stream.history.clean.windows == 1


@pytest.mark.parametrize(
    ("window", "is_learned"),
    [
        (hour(1), False),
        (hour(2), True),
        (hour(FIRST_AFTER - 1), True),
        (hour(FIRST_AFTER), False),
        (Window(DAY_MS, 0), False),
    ],
)
def test_a_window_that_lies_only_partly_in_the_warm_up_is_none_of_it(window, is_learned):
    stream = Stream(warm_up=WARM_UP)
    stream.judge(window, MOVED)
    history = stream.state.histories[window.size_ms]
    assert history.clean.windows == is_learned
    assert history.memory.recent == (() if is_learned else (True,))


def test_what_was_learned_is_used_for_all_windows_after_the_warm_up_and_no_other():
    stream = warmed_up()
    after = stream.judge(FIRST_AFTER, ODD)
    tally = Tally(build_tally(*ODD, reference=RICH), CLUSTERS)
    overdispersion = learned(MIN_WINDOWS + 1).overdispersion()
    assert plain(after.score) == plain(
        WindowScorer(stream.spec, RICH, overdispersion, calibrated=True).score(tally)
    )
    assert after.score.calibrated
    assert plain(stream.judge(FIRST_AFTER + 1, ODD).score) == plain(after.score)
    before = stream.history
    during = stream.judge(FIRST_AFTER - 1, ODD)
    assert plain(during.score) == plain(WindowScorer(stream.spec, RICH, None, calibrated=False).score(tally))
    assert stream.history is before


def test_too_short_a_warm_up_teaches_nothing():
    stream = warmed_up(MIN_WINDOWS - 1)
    assert stream.judge(FIRST_AFTER, ODD).score.calibrated is False


def test_without_a_warm_up_the_baselines_own_overdispersion_is_used_and_until_it_is_over():
    related = Overdispersion(50, 3.0, np.eye(COMPONENTS) * 3)
    reference = replace(RICH, overdispersion=related, overdispersion_ms=HOUR_MS)
    tally = Tally(build_tally(*ODD, reference=RICH), CLUSTERS)
    expected = plain(
        WindowScorer(build_spec(reference=reference), reference, related, calibrated=True).score(tally)
    )
    assert plain(Stream(reference=reference).judge(0, ODD).score) == expected
    stream = warmed_up(reference=reference)
    assert plain(stream.judge(2, ODD).score) == expected
    assert plain(stream.judge(FIRST_AFTER, ODD).score) != expected


def test_the_baselines_overdispersion_is_not_called_that_of_windows_of_another_length():
    related = Overdispersion(50, 3.0, np.eye(COMPONENTS) * 3)
    day, hours = (
        replace(RICH, overdispersion=related, overdispersion_ms=size_ms) for size_ms in (DAY_MS, HOUR_MS)
    )
    known, unknown = (Stream(reference=reference).judge(0, ODD).score for reference in (hours, day))
    assert (known.calibrated, unknown.calibrated) == (True, False)
    assert known.p_value == unknown.p_value


def test_a_revision_of_a_window_of_the_warm_up_is_not_learned_from_again():
    stream = warmed_up(5)
    before = stream.history
    stream.judge(6, MOVED)
    assert stream.history is before


@settings(max_examples=examples(25))
@given(
    st.lists(
        st.tuples(
            st.integers(-2, 2),
            st.sampled_from([QUIET, MOVED, ODD, FEW]),
            st.sampled_from([(), (), (), (AWAY,)]),
        ),
        min_size=3,
        max_size=20,
    ),
    st.sets(st.integers(0, 20)),
    st.sampled_from([None, (0, 3 * HOUR_MS)]),
)
def test_restarts_between_windows_change_nothing(steps, restarts, warm_up):
    whole, broken = (Stream(min_events=11, level=0.001, warm_up=warm_up) for _ in range(2))
    for number, (ahead, counts, missing) in enumerate(steps):
        if number in restarts:
            broken.restart()
        window = max(number // 2 + ahead, 0)
        seen = [stream.judge(window, counts, missing=missing) for stream in (whole, broken)]
        assert plain(seen[0]) == plain(seen[1])
    assert plain(whole.history) == plain(broken.history)


def test_a_restart_after_the_warm_up_forgets_nothing_that_was_learned():
    whole, broken = warmed_up(), warmed_up()
    broken.restart()
    seen = [stream.judge(FIRST_AFTER, MOVED) for stream in (whole, broken)]
    assert seen[0].score.calibrated
    assert plain(seen[0]) == plain(seen[1])


SEGMENTED = replace(
    RICH,
    segments=(
        build_segment(*DE, 20_000, 15_000, 10_000, 5_000),
        build_segment(*REST, 20_000, 15_000, 10_000, 5_000),
    ),
)


def part_of(number):
    """A window's events in the segment: a burst of five more than the whole's three."""
    return tuple(8 * np.random.default_rng(-number % 1_000).multinomial(200, RICH.counts / RICH.counts.sum()))


def warmed_up_by_segments(windows=MIN_WINDOWS + 1, **changes):
    """A stream with segments after so many windows of its warm-up, the last without the first segment."""
    stream = Stream(warm_up=WARM_UP, segment_keys=("country",), **{"reference": SEGMENTED} | changes)
    for number in range(2, 2 + windows):
        if number < 1 + windows:
            keep_pane(stream, number, part_of(number), DE)
        keep_pane(stream, number, FEW, REST)
        stream.judge(number, noisy(number))
    return stream


def learned_of_segment(windows):
    """What is to be learned of the first segment."""
    clean = OverdispersionEstimator.empty(COMPONENTS)
    part = SEGMENTED.segments[0]
    deviations = np.linalg.cholesky(part.covariance)
    for number in range(2, 2 + windows):
        tally = Tally(build_tally(*part_of(number), reference=SEGMENTED), CLUSTERS)
        shift = SEGMENTED.projection.shift(tally.sums, tally.count) - part.mean
        clean = clean.add(
            tally.counts, part.counts, np.linalg.solve(deviations, shift), int(part.counts.sum())
        )
    return clean


def test_a_warm_up_teaches_of_each_segment_that_has_enough_events():
    stream = warmed_up_by_segments(min_events=11)
    assert list(stream.history.segments) == [DE]
    learned_of = learned_of_segment(MIN_WINDOWS)
    assert stream.history.segments[DE].windows == MIN_WINDOWS
    np.testing.assert_allclose(stream.history.segments[DE].products, learned_of.products, rtol=1e-9)
    assert stream.history.segments[DE].chi_squared == learned_of.chi_squared
    stream.restart()
    keep_pane(stream, FIRST_AFTER, MOVED, DE)
    keep_pane(stream, FIRST_AFTER, QUIET, REST)
    result = stream.judge(FIRST_AFTER)
    assert [segment.calibrated for segment in result.segments] == [True, False]
    known = {DE: CalibratedOverdispersion(stream.history.segments[DE].overdispersion(), calibrated=True)}
    expected = WindowScorer(
        stream.spec, SEGMENTED, stream.history.clean.overdispersion(), calibrated=True, segments=known
    )
    tallies = {
        name: Tally(build_tally(*counts, reference=SEGMENTED), CLUSTERS)
        for name, counts in ((DE, MOVED), (REST, QUIET))
    }
    assert plain(result.segments) == plain(expected.judge_segments(tallies, {})[0])
    # In bursts of eight this is nothing.
    assert segments_of(result)[DE] != (4_000, WARNING)


def test_a_segment_of_few_windows_is_judged_with_the_baselines_overdispersion_of_it_or_the_wholes():
    own, whole = (Overdispersion(40, value, np.eye(COMPONENTS) * value) for value in (4.0, 2.0))
    parts = (replace(SEGMENTED.segments[0], overdispersion=own), SEGMENTED.segments[1])
    for overdispersion_ms, is_calibrated in ((HOUR_MS, True), (DAY_MS, False)):
        reference = replace(
            SEGMENTED, overdispersion=whole, overdispersion_ms=overdispersion_ms, segments=parts
        )
        stream = warmed_up_by_segments(windows=MIN_WINDOWS, reference=reference)
        for segment in (DE, REST):
            keep_pane(stream, FIRST_AFTER, ODD, segment)
        result = stream.judge(FIRST_AFTER)
        known = {DE: CalibratedOverdispersion(own, calibrated=is_calibrated)}
        overdispersion = stream.history.clean.overdispersion()
        judge = WindowScorer(stream.spec, reference, overdispersion, calibrated=True, segments=known)
        tally = Tally(build_tally(*ODD, reference=SEGMENTED), CLUSTERS)
        found = judge.judge_segments({DE: tally, REST: tally}, {})[0]
        # Of the other segment the warm-up has windows enough, though of few events.
        assert result.segments[0].p_value == found[0].p_value
        assert [segment.calibrated for segment in result.segments] == [is_calibrated, True]


def keep_pane(stream, number, counts, segment=None):
    values = build_tally(*counts, reference=SEGMENTED)
    scheme = stream.spec.scheme(stream.reference)
    stream.state.add_pane(
        PaneDelta("images", scheme, number * HOUR_MS, segment, values, sum(counts), (HOME, 0))
    )


def segments_of(result):
    return {segment.segment: (segment.count, segment.verdict) for segment in result.segments}


def test_segments_are_judged_from_their_own_panes_with_what_they_were_before():
    stream = Stream(reference=SEGMENTED, segment_keys=("country",))
    for number, (counts, verdict) in enumerate(((MOVED, WARNING), (QUIET, OK), (MOVED, DRIFT))):
        keep_pane(stream, number, counts, DE)
        keep_pane(stream, number, counts, DE)
        result = stream.judge(number)
        assert segments_of(result) == {DE: (8_000, verdict), REST: (0, Verdict.INSUFFICIENT)}
        assert result.verdict is OK
    assert stream.history.memory.segments == {DE: (False, True)}


@pytest.mark.parametrize("is_whole_missing", [True, False])
@pytest.mark.parametrize("part", [None, FEW])
@pytest.mark.parametrize(("gap", "verdict"), [(0, DRIFT), (1, DRIFT), (2, WARNING), (5, WARNING)])
def test_windows_in_which_a_segment_is_empty_or_not_scored_count_as_not_found(
    gap, verdict, part, is_whole_missing
):
    stream = Stream(reference=SEGMENTED, segment_keys=("country",), min_events=11)
    for number in range(2 + gap):
        counts = part if 0 < number < 1 + gap else MOVED
        if counts:
            keep_pane(stream, number, counts, DE)
        if counts is MOVED or not is_whole_missing:
            result = stream.judge(number)
    assert segments_of(result)[DE] == (4_000, verdict)
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
def test_a_segments_drift_is_of_the_last_three_windows_and_restarts_change_nothing(steps, restarts):
    whole, broken = (Stream(reference=SEGMENTED, segment_keys=("country",), min_events=11) for _ in range(2))
    number, found_in = 0, set()
    for step, (gap, (counts, part)) in enumerate(steps):
        number += 1 + gap
        if step in restarts:
            broken.restart()
        if part is MOVED:
            found_in.add(number)
        seen = []
        for stream in (whole, broken):
            if part:
                keep_pane(stream, number, part, DE)
            seen.append(stream.judge(number, counts))
        assert plain(seen[0]) == plain(seen[1])
        if part in (QUIET, MOVED):
            is_drift = len(found_in & {number - 2, number - 1, number}) >= 2
            assert (segments_of(seen[0])[DE][1] is DRIFT) is is_drift
    assert plain(whole.history) == plain(broken.history)


def test_the_segments_of_a_revision_are_judged_with_what_they_were_at_first():
    stream = Stream(reference=SEGMENTED, segment_keys=("country",))
    for number in range(3):
        keep_pane(stream, number, MOVED, DE)
        stream.judge(number)
    before = stream.history
    assert segments_of(stream.judge(0))[DE] == (4_000, WARNING)
    assert segments_of(stream.judge(1))[DE] == (4_000, DRIFT)
    assert stream.history is before


def test_the_segments_of_a_window_that_lacks_partitions_are_incomplete():
    stream = Stream(reference=SEGMENTED, segment_keys=("country",))
    keep_pane(stream, 0, MOVED, DE)
    assert {verdict for _, verdict in segments_of(stream.judge(0, missing=(AWAY,))).values()} == {
        Verdict.INCOMPLETE
    }


def test_a_window_of_too_few_events_has_segments_of_too_few():
    stream = Stream(reference=SEGMENTED, segment_keys=("country",), min_events=11)
    keep_pane(stream, 0, FEW, DE)
    assert segments_of(stream.judge(0, FEW)) == {
        DE: (10, Verdict.INSUFFICIENT),
        REST: (0, Verdict.INSUFFICIENT),
    }


def test_examples_are_of_the_clusters_that_moved_most():
    stream = Stream(reference=SEGMENTED)
    keep_pane(stream, 0, MOVED)
    for names in ("abc", "de"):
        chosen = tuple(
            Example(cluster, rank, name) for rank, name in enumerate(names) for cluster in range(4)
        )
        stream.state.add_examples(ExamplesDelta("images", stream.spec.scheme(SEGMENTED), 0, chosen))
    result = stream.judge(0, MOVED)
    assert list(result.examples) == list(result.score.movers)
    assert len(result.examples) == 3
    assert set(result.examples.values()) == {("a", "d", "b")}


def test_a_window_that_is_not_scored_has_no_examples():
    stream = Stream(reference=SEGMENTED, min_events=11)
    keep_pane(stream, 0, FEW)
    examples = (Example(0, 1, "a"),)
    stream.state.add_examples(ExamplesDelta("images", stream.spec.scheme(SEGMENTED), 0, examples))
    assert stream.judge(0, FEW).examples == {}
