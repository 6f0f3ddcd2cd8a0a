"""Streams that measure themselves how their windows vary, and what their windows are judged by."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.judging.calibration import Calibration, Source
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import CalibrationKey
from tests.builders.batches import AWAY
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.references import COMPONENTS, DE, RICH, SEGMENTED, build_reference
from tests.builders.results import plain
from tests.builders.specs import build_schedule
from tests.core.judging.judged_stream import FEW, JudgedStream
from tests.examples import examples

# The mixes of days: like the baseline's, moved, moved twice as far, gross drift, and gross drift elsewhere.
MIXES = {
    "q": (0.4, 0.3, 0.2, 0.1),
    "M": (0.5, 0.25, 0.17, 0.08),
    "K": (0.55, 0.22, 0.15, 0.08),
    "G": (0.02, 0.03, 0.05, 0.9),
    "H": (0.02, 0.05, 0.9, 0.03),
}
LETTERS = {"ok": "o", "warning": "w", "drift": "D", "misfit": "m", "insufficient": "i"}
MEASURED = 14
"""So many days are measured."""
NEXT = build_reference("next", count=100_000)


def build_stream(reference=RICH, **changes):
    """A stream that nobody declared clean and whose baseline knows nothing of days."""
    return JudgedStream(reference=reference, level=1e-4, **changes)


def day(number):
    return Window(DAY_MS, number * DAY_MS)


def counts_of(letter, number):
    """The counts of a day, in bursts of three events; f: too few events to be scored."""
    if letter == "f":
        return FEW
    drawn = np.random.default_rng([number, 1]).multinomial(1_000, MIXES[letter])
    return tuple((3 * drawn).tolist())


def judge_days(stream, letters, first=0, **changes):
    """Judge one day after another, with a restart after each; return the results."""
    results = []
    for number, letter in enumerate(letters, first):
        results.append(stream.judge(day(number), counts_of(letter, number), **changes))
        stream.restart()
    return results


def verdicts(results):
    return "".join(LETTERS[each.verdict.value] for each in results)


def calibrations(stream):
    """The source of each calibration, its first and last day, and whether it is a misfit."""
    return [
        (each.source.value, each.from_ms // DAY_MS, each.to_ms // DAY_MS, each.whole.is_misfit)
        for each in stream.state.calibrations.values()
    ]


@pytest.mark.parametrize(
    ("letters", "expected", "calibration"),
    [
        pytest.param("q" * 15 + "Mqq", "o" * 15 + "Doo", (0, 14, False), id="clean"),
        pytest.param("q" * 14, "o" * 14, None, id="not over yet"),
        *(
            pytest.param(
                "q" * at + "K" * (30 - at),
                "o" * at + "w" * (28 - at) + "DD",
                (14, 28, False),
                id=f"shift on day {at}",
            )
            for at in (3, 7, 11)
        ),
        pytest.param("q" * 14 + "K" * 3, "o" * 14 + "DDD", (0, 14, False), id="shift after the last"),
        pytest.param("M" * 17 + "G", "w" * 14 + "mmmD", (0, 14, True), id="moved all along"),
        pytest.param("G" * 16 + "q", "m" * 16 + "D", (0, 14, True), id="gross drift all along"),
        pytest.param("qqqGGqq", "oooDDDo", None, id="gross drift while it is measured"),
        pytest.param("qqqGG" + "q" * 11 + "M", "oooDDDoooooowwooD", (0, 16, False), id="not measured"),
        pytest.param("GGq" + "q" * 14 + "M", "mmmowooooooowwoooD", (2, 16, False), id="fits at last"),
        pytest.param("f" * 14 + "q", "i" * 14 + "o", None, id="too few events"),
    ],
)
def test_stream_measures_itself_on_days_that_agree(letters, expected, calibration):
    stream = build_stream(min_events=11)
    results = judge_days(stream, letters)
    assert verdicts(results) == expected
    assert calibrations(stream) == ([] if calibration is None else [("first_windows", *calibration)])
    assert bool(stream.state.measurements) is (calibration is None)
    # The baseline stays what windows are compared with, unless it is a misfit.
    is_recentred = calibration is not None and calibration[2]
    assert (results[-1].baseline_counts.tolist() == RICH.counts.tolist()) is not is_recentred
    # All but the spread of fourteen days is in bursts of three.
    for each in stream.state.calibrations.values():
        assert 2 < each.whole.overdispersion.counts < 4.5
        assert each.whole.overdispersion.windows <= MEASURED
    # A revision is judged by what its window was judged by.
    for number, (result, letter) in enumerate(zip(results, letters, strict=True)):
        again = judge_days(stream, letter, number)[0]
        before = replace(again, revision=0, superseded=None, measuring=result.measuring)
        assert plain(before) == plain(result)


def test_stream_that_never_fits_is_no_drift_at_any_hour():
    # It begins in the afternoon, while days end at midnight.
    stream = build_stream()
    results = [stream.judge(number, counts_of("G", number)) for number in range(15, 15 + 15 * 24)]
    assert verdicts(results) == "m" * len(results)
    assert results[-1].calibration.source is Source.FIRST_WINDOWS


def test_first_window_of_many_events_hides_no_later_drift():
    stream = build_stream()
    stream.judge(day(0), tuple(10 * each for each in counts_of("G", 0)))
    assert verdicts(judge_days(stream, "qqGG", 1)) == "ooDD"


@pytest.mark.parametrize(
    ("warm_up", "letters", "expected"),
    [
        pytest.param((0, 5 * DAY_MS), "q" * 5 + "GGqq", "o" * 5 + "DDDo", id="too short"),
        pytest.param((30 * DAY_MS, 60 * DAY_MS), "q" * 14 + "KK", "o" * 14 + "DD", id="to come"),
    ],
)
def test_stream_measures_itself_if_the_warm_up_shows_nothing(warm_up, letters, expected):
    stream = build_stream(warm_up=warm_up)
    results = judge_days(stream, letters)
    assert verdicts(results) == expected
    # From the first window on that no warm-up holds, and that is no gross drift.
    assert results[7].measuring.from_ms == (0 if warm_up[0] else 7 * DAY_MS)


@pytest.mark.parametrize(("letter", "expected"), [("q", "oo"), ("M", "oo"), ("G", "wm")])
def test_segments_are_provisional_too(letter, expected):
    stream = build_stream(SEGMENTED, segment_keys=("country",))
    found = []
    for number in range(2):
        stream.add_pane(24 * number, counts_of(letter, number), DE)
        result = stream.judge(day(number), counts_of(letter, number))
        found += [each.verdict.value for each in result.segments if each.segment == DE]
    assert "".join(LETTERS[each] for each in found) == expected


DAYS = st.lists(st.tuples(st.sampled_from("qqqqqqMGHf"), st.booleans()), min_size=1, max_size=8)


@settings(max_examples=examples(8))
@given(
    st.sampled_from(["", "q" * 13, "q" * 7 + "M" * 12, "G" * 13, "GG" + "q" * 12]),
    DAYS,
    st.sets(st.integers(0, 24), min_size=3),
    st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24), st.sampled_from("qMGf")), max_size=6),
)
def test_restarts_and_revisions_change_no_later_result(first, later, restarts, revisions):
    """A window is measured once, at its first complete revision, and so are its segments."""
    steady, restarted = (build_stream(SEGMENTED, min_events=11, segment_keys=("country",)) for _ in range(2))
    for number, (letter, is_whole) in enumerate([*((each, True) for each in first), *later]):
        if number in restarts:
            restarted.restart()
        for step, former, revised in revisions:
            before = restarted.state.published.get(day(former))
            if step == number and before is not None and before.memory is not None:
                for missing in ((AWAY,), ()):
                    restarted.judge(day(former), counts_of(revised, former), missing=missing)
        results = []
        for stream in (steady, restarted):
            if not is_whole:
                stream.judge(day(number), counts_of("G", number), missing=(AWAY,))
            stream.add_pane(24 * number, counts_of(letter, number + 1_000), DE)
            results.append(plain(stream.judge(day(number), counts_of(letter, number))))
        assert results[0] == results[1]
        assert steady.remembered == restarted.remembered


# What is planted, by window size: the source, and the windows that it is worth.
DECLARED = (0, 60 * HOUR_MS)
HOUR, DAY = Window(HOUR_MS, 70 * HOUR_MS), day(3)


def plant(stream, size_ms, source, interval=DECLARED, length=None):
    """Let a stream remember a calibration by windows of a size."""
    of_baseline = Calibration.of_baseline(stream.reference, size_ms)
    from_ms, to_ms = interval
    value = replace(
        of_baseline, source=source, from_ms=from_ms, to_ms=to_ms, length=length or of_baseline.length
    )
    key = CalibrationKey("images", size_ms, stream.reference.key)
    stream.state.restore(key, value)


OF_WARM_UP, OF_FIRST = (HOUR_MS, Source.WARM_UP), (HOUR_MS, Source.FIRST_WINDOWS)


@pytest.mark.parametrize(
    ("baseline_ms", "planted", "window", "chosen"),
    [
        pytest.param(None, [], HOUR, (HOUR_MS, Source.NONE), id="none"),
        pytest.param(HOUR_MS, [], HOUR, (HOUR_MS, Source.BASELINE), id="baseline's own"),
        pytest.param(HOUR_MS, [], DAY, (HOUR_MS, Source.BASELINE), id="baseline's of shorter windows"),
        pytest.param(DAY_MS, [], HOUR, (DAY_MS, Source.BASELINE), id="baseline's of longer windows"),
        pytest.param(HOUR_MS, [OF_WARM_UP], HOUR, OF_WARM_UP, id="own before baseline's"),
        pytest.param(None, [OF_FIRST], HOUR, OF_FIRST, id="own first windows"),
        pytest.param(None, [OF_WARM_UP], DAY, (DAY_MS, Source.NONE), id="shorter windows"),
        pytest.param(None, [OF_WARM_UP, (DAY_MS, Source.WARM_UP)], DAY, (DAY_MS, Source.WARM_UP), id="own"),
        pytest.param(DAY_MS, [OF_WARM_UP], DAY, (DAY_MS, Source.BASELINE), id="baseline's before shorter"),
        pytest.param(
            HOUR_MS, [OF_WARM_UP], Window(HOUR_MS, 59 * HOUR_MS), (HOUR_MS, Source.BASELINE), id="within"
        ),
        pytest.param(
            None, [(*OF_WARM_UP, (0, 50 * HOUR_MS))], HOUR, OF_WARM_UP, id="another warm-up, until measured"
        ),
        pytest.param(None, [(*OF_FIRST, (0, 50 * HOUR_MS))], HOUR, OF_FIRST, id="another time"),
        pytest.param(None, [(*OF_FIRST, DECLARED, 7)], HOUR, (HOUR_MS, Source.NONE), id="another statistic"),
    ],
)
def test_calibration_of_a_window(baseline_ms, planted, window, chosen):
    independent = Overdispersion.independent(COMPONENTS) if baseline_ms else None
    reference = replace(RICH, overdispersion=independent, overdispersion_ms=baseline_ms)
    stream = build_stream(reference, warm_up=DECLARED)
    for each in planted:
        plant(stream, *each)
    result = stream.judge(window)
    assert (result.calibration.size_ms, result.calibration.source) == chosen
    size_ms, source = chosen
    assert result.score.calibrated is (source is not Source.NONE and size_ms == window.size_ms)


def test_new_baseline_borrows_from_the_one_before_until_it_is_measured():
    stream = build_stream()
    judge_days(stream, "q" * 15)
    of_former = stream.state.calibrations[DAY_MS, RICH.key].whole.overdispersion
    stream.reconfigure(build_schedule((15 * DAY_MS, NEXT), first=RICH), None)
    results = judge_days(stream, "qM", 15, reference=NEXT)
    assert {each.calibration.source for each in results} == {Source.BORROWED}
    assert verdicts(results) == "oD"
    held = stream.state.calibrations[DAY_MS, NEXT.key].whole
    assert held.overdispersion.means.tolist() == (of_former.largest_mean * np.eye(COMPONENTS)).tolist()
    assert held.values is None
    # The one before may be forgotten.
    stream.reconfigure(build_schedule(first=NEXT), None)
    stream.state.forget_judging(DAY_MS, RICH.key)
    stream.restart()
    results = judge_days(stream, "q" * 14, 17, reference=NEXT)
    assert [each.calibration.source for each in results] == [Source.BORROWED] * 12 + [
        Source.FIRST_WINDOWS
    ] * 2
    # A late event of a window that was measured.
    known = stream.remembered
    stream.judge(day(16), counts_of("M", 17), reference=NEXT)
    assert stream.remembered == known


def test_stream_borrows_from_the_sibling_that_was_measured_first():
    known = {}

    def measure(name, letters, first=0):
        other = build_stream()
        judge_days(other, letters, first)
        known[name] = other.state.calibrations[DAY_MS, RICH.key]
        return known[name]

    measure("later", "q" * 15, 20)
    before = measure("first", "q" * 15, 1)
    # One that does not fit its baseline says nothing of another.
    measure("misfit", "G" * 15)
    stream = build_stream(siblings=lambda size_ms, baseline: known.items() if size_ms == DAY_MS else ())
    # The first was measured by the end of day 14, and its windows of before are judged as they were.
    sources = [each.calibration.source for each in judge_days(stream, "qqq", 13)]
    assert sources == [Source.NONE, Source.NONE, Source.BORROWED]
    assert judge_days(stream, "M", 14)[0].calibration.source is Source.NONE
    borrowed = stream.state.calibrations[DAY_MS, RICH.key]
    assert plain(borrowed.whole) == plain(before.whole)
    # Drift from the first window on is that of a baseline that does not fit.
    other = build_stream(siblings=lambda *_: known.items())
    assert verdicts(judge_days(other, "KKqqK", 15)) == "mmmoD"
    # It keeps what it borrowed.
    known.clear()
    stream.restart()
    assert verdicts(judge_days(stream, "qM", 16)) == "oD"
    assert plain(stream.state.calibrations[DAY_MS, RICH.key]) == plain(borrowed)
