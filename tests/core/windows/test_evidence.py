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
from driftgauge.core.windows.evidence import Evidence, EvidenceAttribution, Kind
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


def test_strongest_test_names_kind():
    assert attribute(js=1e-9).kind is Kind.MIX
    assert attribute(shift=(0.5, 0.5), mean=1e-9).kind is Kind.SHIFT
    assert attribute(novelty=1e-9).kind is Kind.NOVELTY
    assert attribute(changes=(None, change(0.3, 0.0, 1e-9))).kind is Kind.SPREAD
    assert attribute(repeated=(0.05, 1e-9)).kind is Kind.DUPLICATES


def test_change_of_mix_without_shift_is_not_that_of_an_item():
    assert attribute(js=1e-20, repeated=(0.03, 0.005)).kind is Kind.MIX
    assert attribute(js=1e-6, shift=(0.1, 0.1), mean=1e-6, repeated=(0.1, 1e-6)).kind is Kind.DUPLICATES


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


def test_smallest_p_values_name_shift():
    least = np.finfo(float).tiny
    assert attribute(shift=(0.5, 0.5), js=least, mean=least).kind is Kind.SHIFT


def test_mean_that_outliers_move_is_novelty():
    changes = (change(0.01, 0.0, 0.4), change(0.3, 0.25, 1e-9))
    found = attribute(shift=(0.5, 0.5), js=1e-20, mean=1e-60, novelty=1e-9, changes=changes)
    assert found.kind is Kind.NOVELTY
    # So it is where events lie further out, but not along the components, by which the mean moved.
    changes = (change(0.01, 0.0, 0.4), change(0.3, 0.1, 1e-9))
    assert attribute(shift=(0.5, 0.5), mean=1e-60, novelty=0.02, changes=changes).kind is Kind.NOVELTY
    # Where most of the change of spread is that of all events, they moved.
    changes = (change(0.2, 0.1, 1e-4), change(0.3, 0.1, 1e-9))
    assert attribute(shift=(0.5, 0.5), mean=1e-60, novelty=1e-9, changes=changes).kind is Kind.SHIFT
    assert attribute(shift=(0.5, 0.5), mean=1e-60, novelty=0.02, changes=changes).kind is Kind.SHIFT


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


def test_mean_that_moved_too_little_for_its_outliers_is_novelty():
    """A shift of all events by a deviation and a half puts a tenth of them beyond the radius."""
    for shift, kind in (((0.5, 0.5), Kind.NOVELTY), ((1.2, 1.2), Kind.SHIFT)):
        found = attribute(shift=shift, js=1e-20, mean=1e-60, novelty=1e-9, excess_of_outliers=0.1)
        assert found.kind is kind


def test_shift_that_clusters_shares_explain_is_change_of_mix():
    # A tenth of the events more in the first cluster and less in the second moves the mean by 0.3 deviations.
    moved = np.array([350, 150, 250, 250])
    assert attribute(moved, (0.3, 0.0), mean=1e-9).kind is Kind.MIX
    assert attribute(moved, (-0.3, 0.0), mean=1e-9).kind is Kind.SHIFT
    assert attribute(moved, (0.3, 0.8), mean=1e-9).kind is Kind.SHIFT
    assert attribute(QUIET, (0.3, 0.0), mean=1e-9).kind is Kind.SHIFT


def test_divergence_of_events_that_moved_is_shift():
    moved = np.array([350, 150, 250, 250])
    assert attribute(moved, (0.3, 0.8), js=1e-20, mean=1e-9).kind is Kind.SHIFT
    assert attribute(moved, (0.3, 0.8), js=1e-20, mean=0.02).kind is Kind.MIX
    assert attribute(moved, (0.3, 0.0), js=1e-20, mean=1e-9).kind is Kind.MIX


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
    assert found.novelty == pytest.approx(0.75, abs=1e-6)
    assert found.spread == pytest.approx(0.25, abs=1e-6)
    # Fewer outliers do not explain a growth, and more of them no shrinking.
    assert attribute(changes=(change(0.4, -0.3, 1e-9), None)).kind is Kind.SPREAD
    assert attribute(changes=(change(-0.4, 0.3, 1e-9), None)).kind is Kind.SPREAD
    assert attribute(changes=(change(0.0, 0.3, 1e-9), None)).kind is Kind.SPREAD


def test_shift_and_spread_that_repeated_item_causes_are_duplicates():
    # An item of a tenth of the events moves the mean by a tenth of its distance.
    item = {"repeated": (0.1, 1e-6), "changes": (change(0.2, 0.0, 1e-9), None)}
    found = attribute(shift=(0.1, 0.1), js=1e-9, mean=1e-20, novelty=1e-9, **item)
    assert found.duplicates == pytest.approx(1)
    # No item of a tenth moves the mean by a deviation, or makes all distances twice as long.
    assert attribute(shift=(1.0, 1.0), js=1e-9, mean=1e-60, **item).kind is Kind.SHIFT
    assert attribute(changes=(change(3.0, 0.0, 1e-60), None), repeated=(0.1, 1e-6)).kind is Kind.SPREAD
    # An item of a tenth is a tenth of the events beyond the radius.
    assert attribute(novelty=1e-20, excess_of_outliers=0.1, repeated=(0.1, 1e-6)).kind is Kind.DUPLICATES
    assert attribute(novelty=1e-60, excess_of_outliers=0.4, repeated=(0.1, 1e-6)).kind is Kind.NOVELTY


def test_duplicates_that_are_not_seen_explain_nothing():
    found = attribute(shift=(0.1, 0.1), js=1e-9, mean=1e-9, repeated=(0.1, 0.02))
    assert found.shift > 0.9


def test_kind_has_largest_share():
    assert Evidence(0.1, 0.2, 0.4, 0.2, 0.1).kind is Kind.NOVELTY
