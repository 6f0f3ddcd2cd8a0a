"""Builders of window scorers and of the tallies that they score."""

from dataclasses import replace

from driftgauge.core.windows.scoring import WindowScorer
from tests.builders.batches import build_tally, read_tally
from tests.builders.references import RICH
from tests.builders.specs import ALARM, build_spec


def build_scorer(reference=RICH, overdispersion=None, *, min_events=1, smallest=(), **alarm):
    alarm["smallest"] = {**ALARM.smallest, **dict(smallest)}
    return WindowScorer(
        build_spec(reference=reference, min_events=min_events, alarm=replace(ALARM, **alarm)),
        reference,
        overdispersion,
        calibrated=overdispersion is not None,
    )


def tally(*counts, outliers=0, sums=None):
    """A tally of unit vectors, or one with other sums."""
    values = build_tally(*counts, reference=RICH, outliers=outliers)
    if sums is not None:
        read_tally(values)["clipped_coordinate_sums"][:] = sums
    return read_tally(values)
