"""Builders of window scorers and of the tallies that they score."""

from dataclasses import replace

from driftgauge.core.judging.calibration import Calibration
from driftgauge.core.judging.scoring import WindowScorer
from driftgauge.core.statistics.overdispersion import Overdispersion
from tests.builders.batches import build_tally, read_tally
from tests.builders.clocks import HOUR_MS
from tests.builders.references import RICH
from tests.builders.specs import ALARM, build_spec


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
