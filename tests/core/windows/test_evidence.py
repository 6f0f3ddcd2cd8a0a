"""The evidence by kind: findings of the mean that are a change of mix, and of the spread that are novelty."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.statistics.duplicates import Duplicates
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.spread import Spread, SpreadChange
from driftgauge.core.windows.evidence import EvidenceAttribution, Kind
from tests.builders.references import COMPONENTS, RICH
from tests.builders.results import build_novelty

# Two clusters far from the mean along the first component, two along the second.
MEANS = RICH.projection.deviations * np.array([[1.5, 0], [-1.5, 0], [0, 1.5], [0, -1.5]])
REFERENCE = replace(RICH, counts=np.full(4, 25_000), cluster_means=MEANS)
QUIET = np.full(4, 250)
NOTHING = 0.5


def attribute(
    counts=QUIET,
    shift=(0.0, 0.0),
    *,
    js=NOTHING,
    mean=NOTHING,
    novelty=NOTHING,
    changes=(None, None),
    excess_of_outliers=0.0,
    repeated=(0.0, NOTHING),
    overdispersion=None,
):
    """The evidence of a window; the shift is in standard deviations along the components."""
    excess = float(np.square(shift).sum())
    moved = MeanShift(1.0, mean, mean, 1.0, mean, excess, np.ones(COMPONENTS) / COMPONENTS)
    return EvidenceAttribution(REFERENCE, overdispersion).evidence(
        np.array(counts),
        np.array(shift) * REFERENCE.projection.deviations,
        js,
        moved,
        build_novelty(0.0, excess_of_outliers, novelty),
        Spread(*changes),
        Duplicates(*repeated),
    )


def change(size, outliers, p_value):
    return SpreadChange(size, outliers, abs(size), p_value)


@given(*[st.floats(1e-308, 1)] * 5, st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1))
def test_shares_sum_to_one(js, mean, novelty, spread, repeated, size, outliers, share):
    found = attribute(
        js=js,
        mean=mean,
        novelty=novelty,
        changes=(change(size, outliers, spread), None),
        repeated=(share, repeated),
    )
    shares = dataclasses.astuple(found)
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0


SHIFT = {"shift": (0.5, 0.5)}
SPREAD_OF_OTHERS = {"changes": (change(0.01, 0.0, 0.4), change(0.3, 0.1, 1e-9))}
SPREAD_OF_ALL = {"changes": (change(0.2, 0.1, 1e-4), change(0.3, 0.1, 1e-9))}
# A tenth of the events more in the first cluster and less in the second moves the mean by 0.3 deviations.
MIXED = {"counts": (350, 150, 250, 250)}
# An item of a tenth of the events moves the mean by a tenth of its distance.
ITEM = {"repeated": (0.1, 1e-6)}
LEAST = np.finfo(float).tiny


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        # The strongest test names the kind.
        ({"js": 1e-9}, Kind.MIX),
        ({**SHIFT, "mean": 1e-9}, Kind.SHIFT),
        ({"novelty": 1e-9}, Kind.NOVELTY),
        ({"changes": (None, change(0.3, 0.0, 1e-9))}, Kind.SPREAD),
        ({"repeated": (0.05, 1e-9)}, Kind.DUPLICATES),
        ({**SHIFT, "js": LEAST, "mean": LEAST}, Kind.SHIFT),
        # A mean that outliers move, also where events lie further out, but not along the components.
        (
            {**SHIFT, "changes": (change(0.01, 0.0, 0.4), change(0.3, 0.25, 1e-9))}
            | {"js": 1e-20, "mean": 1e-60, "novelty": 1e-9},
            Kind.NOVELTY,
        ),
        ({**SHIFT, **SPREAD_OF_OTHERS, "mean": 1e-60, "novelty": 0.02}, Kind.NOVELTY),
        # Where most of the change of spread is that of all events, they moved.
        ({**SHIFT, **SPREAD_OF_ALL, "mean": 1e-60, "novelty": 1e-9}, Kind.SHIFT),
        ({**SHIFT, **SPREAD_OF_ALL, "mean": 1e-60, "novelty": 0.02}, Kind.SHIFT),
        # A shift of all events by a deviation and a half puts a tenth of them beyond the radius.
        (
            {**SHIFT, "js": 1e-20, "mean": 1e-60, "novelty": 1e-9, "excess_of_outliers": 0.1},
            Kind.NOVELTY,
        ),
        (
            {"shift": (1.2, 1.2), "js": 1e-20, "mean": 1e-60, "novelty": 1e-9, "excess_of_outliers": 0.1},
            Kind.SHIFT,
        ),
        # A shift that the clusters' shares explain is a change of mix.
        ({**MIXED, "shift": (0.3, 0.0), "mean": 1e-9}, Kind.MIX),
        ({**MIXED, "shift": (-0.3, 0.0), "mean": 1e-9}, Kind.SHIFT),
        ({**MIXED, "shift": (0.3, 0.8), "mean": 1e-9}, Kind.SHIFT),
        ({"shift": (0.3, 0.0), "mean": 1e-9}, Kind.SHIFT),
        # The divergence of events that moved is shift.
        ({**MIXED, "shift": (0.3, 0.8), "js": 1e-20, "mean": 1e-9}, Kind.SHIFT),
        ({**MIXED, "shift": (0.3, 0.8), "js": 1e-20, "mean": 0.02}, Kind.MIX),
        ({**MIXED, "shift": (0.3, 0.0), "js": 1e-20, "mean": 1e-9}, Kind.MIX),
        # Fewer outliers do not explain a growth, and more of them no shrinking.
        ({"changes": (change(0.4, -0.3, 1e-9), None)}, Kind.SPREAD),
        ({"changes": (change(-0.4, 0.3, 1e-9), None)}, Kind.SPREAD),
        ({"changes": (change(0.0, 0.3, 1e-9), None)}, Kind.SPREAD),
        # A repeated item explains a change of mix only with a shift.
        ({"js": 1e-20, "repeated": (0.03, 0.005)}, Kind.MIX),
        ({**ITEM, "js": 1e-6, "shift": (0.1, 0.1), "mean": 1e-6}, Kind.DUPLICATES),
        # No item of a tenth moves the mean by a deviation, or makes all distances twice as long.
        ({**ITEM, "shift": (1.0, 1.0), "js": 1e-9, "mean": 1e-60}, Kind.SHIFT),
        ({**ITEM, "changes": (change(3.0, 0.0, 1e-60), None)}, Kind.SPREAD),
        # An item of a tenth is a tenth of the events beyond the radius.
        ({**ITEM, "novelty": 1e-20, "excess_of_outliers": 0.1}, Kind.DUPLICATES),
        ({**ITEM, "novelty": 1e-60, "excess_of_outliers": 0.4}, Kind.NOVELTY),
        # A repeated item that is not significant explains nothing.
        ({"shift": (0.1, 0.1), "js": 1e-9, "mean": 1e-9, "repeated": (0.1, 0.02)}, Kind.SHIFT),
    ],
)
def test_kind_of_evidence(found, kind):
    assert attribute(**found).kind is kind


def test_equal_p_values_have_equal_shares():
    changes = (change(0.3, 0.15, 1e-6), change(0.2, 0.0, 1e-3))
    found = attribute(shift=(0.5, 0.5), js=1e-6, mean=1e-6, novelty=1e-6, changes=changes)
    # Half of the spread comes from outliers, and so they moved the mean.
    assert (found.mix, found.shift) == (0, 0)
    assert (found.novelty, found.spread) == (pytest.approx(3 / 4), pytest.approx(1 / 4))
    changes = (change(0.3, 0.0, 0.5), change(0.2, 0.0, 0.5))
    found = attribute(shift=(0.5, 0.5), js=1e-6, mean=1e-6, novelty=1e-6, changes=changes)
    # The divergence of events that moved counts for the shift.
    assert (found.mix, found.shift) == (0, pytest.approx(2 / 3))
    assert (found.novelty, found.spread) == (pytest.approx(1 / 3), 0)


def test_outliers_of_events_that_all_lie_further_out_are_spread():
    found = attribute(novelty=1e-20, changes=(change(0.3, 0.05, 1e-9), None))
    assert found.spread == pytest.approx(5 / 6)


def test_shares_are_in_proportion_to_logarithms():
    found = attribute(js=1e-40, novelty=1e-20)
    assert 2 < found.mix / found.novelty < 2.2


def test_students_tails_do_not_hide_novelty():
    """With 20 windows a p-value of 1e-6 is as far out as one of 1e-12 of a normal variable."""
    moved = MeanShift(1.0, 1e-9, 1e-9, 1.0, 1e-9, 9.0, np.ones(COMPONENTS) / COMPONENTS)
    shift = np.array([0.5, 0.5]) * REFERENCE.projection.deviations
    novelty = build_novelty(0.1, 0.09, 1e-6)
    calibrated = Overdispersion(20, 1.0, np.eye(COMPONENTS))
    for overdispersion, kind in ((calibrated, Kind.NOVELTY), (None, Kind.SHIFT)):
        attribution = EvidenceAttribution(REFERENCE, overdispersion)
        found = attribution.evidence(
            QUIET, shift, 0.5, moved, novelty, Spread(None, None), Duplicates(0.0, 0.5)
        )
        assert found.kind is kind


@pytest.mark.parametrize("burst", [1, 5])
def test_noise_does_not_hide_change_of_mix(burst):
    # The noise within the clusters is half a deviation an event; events come in bursts of equal ones.
    random = np.random.default_rng(0)
    overdispersion = None if burst == 1 else Overdispersion(200, burst, burst * np.eye(COMPONENTS))
    kinds = []
    for _ in range(200):
        counts = burst * random.multinomial(100, [0.4, 0.1, 0.25, 0.25])
        shift = (counts / counts.sum()) @ (MEANS / REFERENCE.projection.deviations)
        shift = shift + random.standard_normal(2) / 20
        kinds.append(attribute(counts, tuple(shift), mean=1e-9, overdispersion=overdispersion).kind)
    assert kinds.count(Kind.MIX) > 180


def test_spread_that_comes_from_outliers_is_novelty():
    found = attribute(changes=(change(0.4, 0.3, 1e-9), None))
    assert (found.novelty, found.spread) == (pytest.approx(0.75, abs=1e-6), pytest.approx(0.25, abs=1e-6))


def test_shift_and_spread_that_repeated_item_causes_are_duplicates():
    changes = (change(0.2, 0.0, 1e-9), None)
    found = attribute(shift=(0.1, 0.1), js=1e-9, mean=1e-20, novelty=1e-9, changes=changes, **ITEM)
    assert found.duplicates == pytest.approx(1)
