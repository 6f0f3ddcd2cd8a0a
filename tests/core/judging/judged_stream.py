"""One stream whose windows are judged without Kafka, window scorers, and counts and tallies to judge."""

from dataclasses import replace
from typing import Any

from driftgauge.core.counting.examples import Example
from driftgauge.core.counting.partial import PaneDelta
from driftgauge.core.judging.calibrating import Siblings
from driftgauge.core.judging.calibration import Calibration
from driftgauge.core.judging.measuring import Measurement
from driftgauge.core.judging.scoring import WindowScorer
from driftgauge.core.judging.verdict import Verdict, VerdictHistory
from driftgauge.core.reference import Reference, Segment
from driftgauge.core.spec import ScheduledBaseline
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, Overdispersion
from driftgauge.core.window import Window
from driftgauge.core.windows.completeness import Completeness
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.stream_judge import StreamJudge
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.records.changelog_records import decode, encode_key, encode_value
from tests.builders.batches import HOME, build_segment_tally, build_tally, read_tally
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.references import RICH, SEGMENTED, measured
from tests.builders.results import hour_window, plain
from tests.builders.specs import ALARM, build_spec

HOURLY = measured(RICH)
"""A baseline that windows of an hour are not judged provisionally against."""

# Counts of windows with the mix of RICH, and with another mix.
QUIET = (1_600, 1_200, 800, 400)
MOVED = (2_000, 1_000, 680, 320)
# Too small a change for drift, with a p-value of about 0.01.
ODD = (1_690, 1_180, 780, 350)
FEW = (4, 3, 2, 1)
# So rare that a few significant windows are not slow drift yet.
LEVEL = 1e-9

WARM_UP = (2 * HOUR_MS, (MIN_WINDOWS + 3) * HOUR_MS)
FIRST_AFTER = MIN_WINDOWS + 3
"""The number of the first hour after the warm-up."""


class JudgedStream:
    """Judges windows of one stream, and keeps its state as a shard does."""

    def __init__(
        self,
        *,
        reference: Reference = HOURLY,
        min_events: int = 1,
        siblings: Siblings = lambda *_: (),
        **alarm: Any,
    ) -> None:
        self.siblings = siblings
        self.reference = reference
        self.spec = build_spec(
            reference=reference,
            min_events=min_events,
            sizes_ms=(HOUR_MS, DAY_MS),
            alarm=replace(ALARM, **{"level": LEVEL, **alarm}),
        )
        self.changelog: dict[bytes, bytes] = {}
        self.state = StreamState("images")
        self._judge = StreamJudge(self.spec, self.state, self.siblings)

    def restart(self) -> None:
        """Restore the state from the records of its changelog."""
        for key, value in self.state.drain_changes():
            if value is None:
                self.changelog.pop(encode_key(key), None)
            else:
                self.changelog[encode_key(key)] = encode_value(value)
        self.state = StreamState("images")
        for record in self.changelog.items():
            self.state.restore(*decode(*record))
        self._judge = StreamJudge(self.spec, self.state, self.siblings)

    def reconfigure(self, baselines: tuple[ScheduledBaseline, ...], warm_up: tuple[int, int] | None) -> None:
        """Restart with another schedule and another warm-up."""
        alarm = replace(self.spec.alarm, warm_up=warm_up)
        self.spec = replace(self.spec, baselines=baselines, alarm=alarm)
        self.restart()

    def judge(
        self,
        window: Window | int,
        counts: tuple[int, ...] = QUIET,
        *,
        reference: Reference | None = None,
        **completeness: Any,
    ) -> WindowResult:
        """Judge a window, or an hour by its number, with these counts; return its result."""
        if isinstance(window, int):
            window = hour_window(window)
        if completeness.get("missing"):
            completeness["incomplete_reason"] = "partitions_missing"
        reference = reference or self.reference
        tally = read_tally(build_tally(*counts, reference=reference), reference)
        result = self._judge.judge(window, tally, reference, Completeness(**completeness), 7)
        self.state.publish(result)
        return result

    def verdict(self, window: Window | int, counts: tuple[int, ...] = QUIET, **changes: Any) -> Verdict:
        """Judge a window; return its verdict."""
        return self.judge(window, counts, **changes).verdict

    def add_pane(
        self,
        number: int,
        counts: tuple[int, ...],
        segment: Segment | None = None,
        examples: tuple[Example, ...] = (),
    ) -> None:
        """Add counts to the pane of an hour."""
        build, scheme = build_tally, self.spec.scheme(self.reference)
        if segment is not None:
            build, scheme = build_segment_tally, scheme.of_segments
        values = build(*counts, reference=SEGMENTED)
        self.state.add_pane(
            PaneDelta("images", scheme, number * HOUR_MS, segment, values, sum(counts), (HOME, 0), examples)
        )

    @property
    def remembered(self) -> Any:
        """All that judging remembers, for bitwise comparison."""
        state = self.state
        return [plain(each) for each in (state.histories, state.measurements, state.calibrations)]

    @property
    def history(self) -> VerdictHistory:
        """The history of the hourly windows against the reference; None before the first."""
        return self.state.histories.get((HOUR_MS, self.reference.key))

    @property
    def measurement(self) -> Measurement | None:
        """The measurement of these windows; None before the first, and after it ended."""
        return self.state.measurements.get((HOUR_MS, self.reference.key))

    @property
    def calibration(self) -> Calibration | None:
        """Their calibration; None before there is one."""
        return self.state.calibrations.get((HOUR_MS, self.reference.key))


def build_scorer(reference=RICH, overdispersion=None, *, min_events=1, smallest=(), size_ms=HOUR_MS, **alarm):
    """The scorer of windows of a length by what the baseline knows of hours: they vary by this much."""
    alarm["smallest"] = {**ALARM.smallest, **dict(smallest)}
    overdispersion = overdispersion or Overdispersion.independent(reference.components)
    known = replace(reference, overdispersion=overdispersion, overdispersion_ms=HOUR_MS)
    spec = build_spec(reference=reference, min_events=min_events, alarm=replace(ALARM, **alarm))
    return WindowScorer(spec, reference, Calibration.of_baseline(known, HOUR_MS), size_ms)


def signs_of(scorer, score):
    """What a score allows the verdict to say; the tally counts for provisional windows only."""
    return scorer.read_signs(score, tally(1, 1, 1, 1))


def tally(*counts, outliers=0, sums=None):
    """A tally of unit vectors, or one with other sums."""
    values = build_tally(*counts, reference=RICH, outliers=outliers)
    if sums is not None:
        read_tally(values)["clipped_coordinate_sums"][:] = sums
    return read_tally(values)
