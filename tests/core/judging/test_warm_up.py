"""Calibration of the overdispersion in a warm-up."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from driftgauge.core.judging.calibration import Calibration, SegmentCalibration, Source
from driftgauge.core.judging.clean_windows import WindowSums
from driftgauge.core.judging.scoring import WindowScorer
from driftgauge.core.judging.verdict import Verdict, VerdictMemory
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, Overdispersion
from driftgauge.core.window import Window
from tests.builders.batches import build_bursts, build_tally, read_tally
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.references import COMPONENTS, RICH, build_reference
from tests.builders.results import plain
from tests.builders.specs import ALARM, build_schedule
from tests.core.judging.judged_stream import FIRST_AFTER, LEVEL, MOVED, ODD, QUIET, WARM_UP, JudgedStream
from tests.core.statistics.toy import TOY

DRIFT = Verdict.DRIFT


def build_warmed_up(counts_of=build_bursts, reference=RICH, **changes):
    """A stream after its warm-up, by the counts of each hour."""
    stream = JudgedStream(reference=reference, warm_up=WARM_UP, **changes)
    for number in range(2, FIRST_AFTER):
        stream.judge(number, counts_of(number))
    return stream


def draw_like(counts):
    """The counts of each hour, by chance from the same mix."""
    shares = np.array(counts) / sum(counts)
    return lambda number: tuple(np.random.default_rng(number).multinomial(sum(counts), shares).tolist())


def expected_sums(windows, reference=RICH):
    """The sums over the first windows of the warm-up."""
    sums = WindowSums.empty(reference)
    for number in range(2, 2 + windows):
        sums = sums.add(read_tally(build_tally(*build_bursts(number), reference=reference)), reference)
    return sums


def test_warm_up_windows_only_calibrate():
    stream = JudgedStream(warm_up=WARM_UP)
    for number in (0, 1):
        stream.judge(number, MOVED)
    assert (stream.history.memory.recent, stream.measurement) == ((True, True), None)
    # Only a part of this day is in the warm-up.
    stream.judge(Window(DAY_MS, 0), MOVED)
    assert stream.state.histories[DAY_MS, RICH.key].memory.recent == (True,)
    for number in range(2, FIRST_AFTER):
        result = stream.judge(number, build_bursts(number))
        assert (plain(result.memory), stream.calibration) == (plain(VerdictMemory()), None)
        assert result.verdict is not DRIFT
        assert stream.history.end_ms == result.window.end_ms
    assert plain(stream.history.memory) == plain(VerdictMemory(has_fitted=True))
    assert plain(stream.measurement.clean.all) == plain(expected_sums(MIN_WINDOWS + 1))


def test_another_warm_up_is_measured_from_its_own_first_window():
    stream = build_warmed_up()
    assert stream.measurement.clean.all.windows.windows == MIN_WINDOWS + 1
    stream.reconfigure(stream.spec.baselines, (FIRST_AFTER * HOUR_MS, 10**15))
    stream.judge(FIRST_AFTER)
    assert stream.measurement.clean.all.windows.windows == 1
    # The former holds until the new one is measured.
    assert stream.calibration.to_ms == FIRST_AFTER * HOUR_MS


def test_warm_up_whose_end_is_moved_is_not_measured_again():
    stream = build_warmed_up()
    stream.reconfigure(stream.spec.baselines, (2 * HOUR_MS, (FIRST_AFTER + 2) * HOUR_MS))
    stream.judge(FIRST_AFTER)
    assert stream.measurement.clean.all.windows.windows == MIN_WINDOWS + 2
    judged = [stream.judge(FIRST_AFTER + number) for number in (1, 2)]
    assert stream.calibration.whole.overdispersion.windows == MIN_WINDOWS + 3
    stream.reconfigure(stream.spec.baselines, (2 * HOUR_MS, 10**12))
    stream.judge(FIRST_AFTER + 3)
    assert (stream.measurement, judged[-1].score.calibrated) == (None, True)


def test_calibration_applies_only_after_warm_up():
    stream = build_warmed_up()
    after = stream.judge(FIRST_AFTER, ODD)
    tally = read_tally(build_tally(*ODD, reference=RICH))
    offset = expected_sums(MIN_WINDOWS + 1).offset(RICH, least=MIN_WINDOWS)
    part = SegmentCalibration(offset.recentred, values=offset.tally.values, share=offset.share)
    calibration = Calibration(Source.WARM_UP, HOUR_MS, *WARM_UP, len(tally.values), part)
    scorer = WindowScorer(stream.spec, RICH, calibration, HOUR_MS)
    assert plain(after.score) == plain(scorer.score(tally))
    assert after.score.calibrated
    np.testing.assert_array_equal(after.baseline_counts, scorer.reference.counts)
    assert plain(stream.judge(FIRST_AFTER + 1, ODD).score) == plain(after.score)
    before = stream.history
    during = stream.judge(FIRST_AFTER - 1, ODD)
    unknown = WindowScorer(stream.spec, RICH, Calibration.of_baseline(RICH, HOUR_MS), HOUR_MS)
    assert plain(during.score) == plain(unknown.score(tally))
    assert stream.history is before


@pytest.mark.parametrize("is_restarted", [False, True])
def test_revision_under_former_baseline_is_judged_by_its_warm_up(is_restarted):
    stream = build_warmed_up()
    first = stream.judge(FIRST_AFTER, ODD)
    following = build_reference("next", count=100_000)
    stream.judge(FIRST_AFTER + 1, reference=following)
    if is_restarted:
        stream.restart()
    again = stream.judge(FIRST_AFTER, ODD)
    assert (again.score.calibrated, plain(again.memory)) == (True, plain(first.memory))
    assert (again.score.p_value, again.verdict) == (first.score.p_value, first.verdict)
    # A late first publication goes on with the history of its baseline.
    assert stream.judge(FIRST_AFTER + 2, MOVED).memory.recent == (False, False)
    assert stream.judge(FIRST_AFTER + 3, MOVED, reference=following).memory.recent == (False, False)


def test_window_declared_clean_is_not_drift_by_itself():
    related = Overdispersion(50, 1.0, np.eye(COMPONENTS))
    reference = replace(RICH, overdispersion=related, overdispersion_ms=HOUR_MS)
    during, without = (
        JudgedStream(reference=reference, warm_up=warm_up).judge(2, (4_000, 10, 10, 10))
        for warm_up in (WARM_UP, None)
    )
    assert (during.verdict, without.verdict) == (Verdict.WARNING, DRIFT)


@pytest.mark.parametrize(
    ("warm_up", "later", "verdict"),
    [
        ("clean", QUIET, Verdict.OK),
        ("clean", MOVED, Verdict.WARNING),
        # Drifted from the first window: alike all along, and unlike the baseline.
        ("drifted", MOVED, Verdict.MISFIT),
        ("drifted", (2_400, 800, 560, 240), Verdict.WARNING),
    ],
)
def test_stream_that_drifted_before_its_warm_up_ended_never_shows_ok(warm_up, later, verdict):
    stream = build_warmed_up(draw_like(QUIET if warm_up == "clean" else MOVED))
    assert stream.verdict(FIRST_AFTER, later) is verdict
    stream.restart()
    assert stream.verdict(FIRST_AFTER + 2, later) is (DRIFT if verdict is Verdict.WARNING else verdict)


def test_new_statistic_begins_slow_drift_again(monkeypatch):
    reference = replace(RICH, arrays={**RICH.arrays, "toy_share": np.array([0.5])})
    stream = build_warmed_up(reference=reference, smallest={**ALARM.smallest, TOY.name: TOY.smallest})
    assert stream.judge(FIRST_AFTER, MOVED).slow_drift > 0
    monkeypatch.setattr(registry, "STATISTICS", (*registry.STATISTICS, TOY))
    for window in (Window(DAY_MS, DAY_MS), FIRST_AFTER + 1):
        result = stream.judge(window)
        assert (result.score.calibrated, result.memory.slow_drift.blocks) == (False, ())


# Few events of the baseline hide large drift, many only what is below the floor.
@pytest.mark.parametrize(("count", "drifted"), [(100, MOVED), (100_000, (1_900, 1_050, 710, 340))])
def test_no_less_is_detectable_than_hides_in_the_warm_up(count, drifted):
    stream = build_warmed_up(lambda _: drifted, build_reference(count=count))
    result = stream.judge(FIRST_AFTER, drifted)
    hidden = js_contributions(np.array(drifted), np.array(QUIET)).sum()
    assert (result.verdict, result.score.detectable["js_divergence"] > hidden) == (Verdict.OK, True)


def test_groups_of_the_baseline_explain_an_offset_and_widen_the_noise():
    # Groups of forty events each make the offset of a drifted warm-up one of chance.
    groups = Overdispersion(50, 40.0, np.eye(COMPONENTS) * 40)
    shared = replace(groups, counts=79.0)
    few, independent = replace(groups, kurtosis=40.0), Overdispersion.independent(COMPONENTS)
    related, mixed = (
        replace(build_reference(count=2_000), overdispersion=each, groups=groups)
        for each in (few, replace(independent, baseline=shared))
    )
    found = {}
    for name, reference in (("whole", related), ("mixed", mixed)):
        stream = build_warmed_up(draw_like(MOVED), reference)
        whole = stream.measurement.clean.all.offset(reference, least=MIN_WINDOWS)
        assert stream.verdict(FIRST_AFTER, MOVED) is Verdict.OK
        offset, later = whole.overdispersion, stream.calibration.whole.overdispersion
        # Later windows of whole groups have their tail, others share the offset of as many.
        expected = (0.0, 79.0) if name == "mixed" else (40.0, 40.0)
        total = whole.tally.count + 2_000
        assert (later.kurtosis, later.baseline.counts * 2_000 / total) == pytest.approx(expected)
        # The warm-up's mean is as uncertain as that of as many groups as items come again above the
        # baseline's rate: two of its events are the same in .347 of pairs, of the baseline's in .3.
        assert offset.counts >= 39 * (MIN_WINDOWS + 1) * 4_000 * 0.04
        assert offset.baseline is groups
        # Else as that of as many groups as the baseline has.
        fewer = expected_sums(MIN_WINDOWS, reference).offset(reference, least=MIN_WINDOWS)
        offset = fewer.overdispersion
        assert offset.counts == pytest.approx(39 * MIN_WINDOWS * 3_000 / 2_000, rel=0.05)
        found[name] = stream.judge(FIRST_AFTER + 1, (3_000, 500, 300, 200)).score.p_value
    # Windows of whole groups vary as groups do.
    assert found["mixed"] < found["whole"]


def test_mean_of_items_that_come_again_varies_though_groups_hardly_do():
    groups = Overdispersion(50, 1.01, np.eye(COMPONENTS) * 1.01)
    reference = replace(build_reference(count=2_000), overdispersion=groups, groups=groups)
    sums = WindowSums.empty(reference)
    for _ in range(MIN_WINDOWS):
        sums = sums.add(read_tally(build_tally(*MOVED, reference=reference), reference), reference)
    # Of its 80,000 events two are the same item in .047 more of pairs than of the baseline's.
    assert sums.offset(reference, least=MIN_WINDOWS).overdispersion.counts > 80_000 * 0.04


@cache
def _warmed_up(warm_up, level):
    stream = JudgedStream(reference=RICH, warm_up=(0, warm_up * HOUR_MS), level=level)
    for number in range(1, warm_up):
        stream.judge(number, build_few(number))
    return stream


def judge_after(warm_up, later, level=LEVEL):
    """Return a stream after so many hours of warm-up like RICH, one of them empty, and the later results."""
    stream = deepcopy(_warmed_up(warm_up, level))
    return stream, [stream.judge(number, counts) for number, counts in enumerate(later, warm_up)]


def build_few(number):
    return tuple(np.random.default_rng(number).multinomial(400, RICH.counts / RICH.counts.sum()).tolist())


SHIFTED, BACK = (210, 110, 55, 25), (110, 130, 105, 55)
ONE_WAY, OTHER = (78, 23, 13, 6), (23, 46, 30, 21)
TWO_WEEKS = 14 * 24
MORE, LESS = (200, 100, 65, 35), (120, 140, 95, 45)


@pytest.mark.parametrize(
    ("warm_up", "later", "last"),
    [
        pytest.param(TWO_WEEKS, [SHIFTED] * 6, DRIFT, id="lasts"),
        pytest.param(TWO_WEEKS - 24, [SHIFTED] * 6, Verdict.WARNING, id="less than two weeks of warm-up"),
        pytest.param(
            TWO_WEEKS, [(200, 108, 60, 32)] * 18, Verdict.WARNING, id="less than the smallest drift"
        ),
        pytest.param(TWO_WEEKS, [SHIFTED, BACK] * 7, Verdict.WARNING, id="nothing together"),
        pytest.param(
            TWO_WEEKS,
            [ONE_WAY, OTHER, ONE_WAY, OTHER, ONE_WAY, ONE_WAY, ONE_WAY],
            Verdict.WARNING,
            id="large together, by chance",
        ),
    ],
)
def test_slow_drift_whose_windows_together_are_overwhelming_is_drift(warm_up, later, last):
    stream, results = judge_after(warm_up, later)
    assert {result.verdict for result in results} == {Verdict.OK, last}
    assert results[-1].verdict is last
    assert {result.slow_drift_since_ms for result in results} == {warm_up * HOUR_MS}
    stream.restart()
    assert stream.verdict(warm_up + len(later), later[1]) is last


@pytest.mark.parametrize("first", [100, 300])
def test_drift_that_lasted_ends_within_twenty_windows(first):
    after = [build_few(number) for number in range(first, first + 50)]
    _, results = judge_after(TWO_WEEKS, [SHIFTED] * 30 + after, level=1 / 8_766)
    assert {result.verdict for result in results[3:30]} == {DRIFT}
    assert {result.verdict for result in results[30 + 20 :]} == {Verdict.OK}
    assert results[-1].slow_drift_since_ms != TWO_WEEKS * HOUR_MS


@pytest.mark.parametrize(
    ("judged", "last"),
    [
        (range(23, TWO_WEEKS), DRIFT),
        (range(24, TWO_WEEKS), Verdict.WARNING),
        (range(0, TWO_WEEKS, 2), DRIFT),
        (range(0, TWO_WEEKS, 3), Verdict.WARNING),
    ],
)
def test_days_of_the_warm_up_are_half_full(judged, last):
    stream = JudgedStream(reference=RICH, warm_up=(0, TWO_WEEKS * HOUR_MS))
    for number in judged:
        stream.judge(number, build_few(number))
    assert [stream.verdict(number, SHIFTED) for number in range(TWO_WEEKS, TWO_WEEKS + 6)][-1] is last


def test_windows_that_vary_more_than_days_decide_by_their_own_variation():
    stream = JudgedStream(reference=RICH, warm_up=(0, TWO_WEEKS * HOUR_MS))
    for number in range(TWO_WEEKS):
        stream.judge(number, (MORE, LESS)[number % 2])
    verdicts = {stream.verdict(number, SHIFTED) for number in range(TWO_WEEKS, TWO_WEEKS + 12)}
    assert DRIFT not in verdicts


@pytest.mark.parametrize("following_warm_up", [None, (30 * HOUR_MS, 60 * HOUR_MS)])
def test_baseline_that_is_announced_leaves_warm_up_of_the_one_in_force(following_warm_up):
    """The configuration names the next baseline, and its warm-up, while windows of the former still come."""
    stream = build_warmed_up()
    first = stream.judge(FIRST_AFTER, ODD)
    following = build_reference("next", count=100_000)
    stream.reconfigure(build_schedule((30 * HOUR_MS, following), first=RICH), following_warm_up)
    again, ordinary = stream.judge(FIRST_AFTER, ODD), stream.judge(FIRST_AFTER + 1, ODD)
    assert (again.score.calibrated, again.score.p_value) == (True, first.score.p_value)
    assert (ordinary.score.calibrated, ordinary.score.p_value) == (True, first.score.p_value)
    stream.judge(31, reference=following)
    held = stream.state.measurements[HOUR_MS, following.key]
    assert (held.warm_up, held.clean.all.windows.windows) == (following_warm_up, 1)
