"""The evidence by kind: findings of the mean that are a change of mix, and of the spread that are novelty."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.judging.evidence import attribute_evidence
from driftgauge.core.statistics.duplicates import Duplicates
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.statistics.minor_shift import MinorShift
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.relations import RelationChange, Relations
from driftgauge.core.statistics.spread import Spread, SpreadChange
from driftgauge.core.statistics.statistic import Findings
from tests.builders.batches import build_values, read_tally
from tests.builders.references import COMPONENTS, RICH
from tests.builders.results import build_novelty, build_score

# Two clusters far from the mean along the first component, two along the second.
MEANS = RICH.projection.deviations * np.array([[1.5, 0], [-1.5, 0], [0, 1.5], [0, -1.5]])
REFERENCE = replace(RICH, counts=np.full(4, 25_000), cluster_means=MEANS)
QUIET = np.full(4, 250)
NOTHING = 0.5
INDEPENDENT = Overdispersion.independent(COMPONENTS)


def attribute(  # noqa: PLR0913 - one for each finding
    counts=QUIET,
    shift=(0.0, 0.0),
    *,
    js=NOTHING,
    mean=NOTHING,
    novelty=NOTHING,
    changes=(None, None),
    few=0.0,
    excess_of_outliers=0.0,
    repeated=(0.0, NOTHING),
    related=(0.0, NOTHING),
    minor=NOTHING,
    overdispersion=INDEPENDENT,
):
    """The evidence of a window; the shift is in standard deviations along the components.

    A few far events make the part `few` of its changes of spread.
    """
    largest = max((each.change for each in changes if each), default=0.0)
    typical = change((1 - few) * largest, NOTHING) if any(changes) else None
    excess = float(np.square(shift).sum())
    moved = MeanShift(1.0, mean, 1.0, mean, excess)
    return find(
        overdispersion,
        counts,
        shift,
        js,
        mean_shift=moved,
        novelty=build_novelty(0.0, excess_of_outliers, novelty),
        spread=Spread(changes[0], changes[1], typical),
        duplicates=Duplicates(*repeated),
        relations=Relations(*[RelationChange(related[0], *related)] * 2),
        minor_shift=MinorShift(0.0, minor),
    )


def find(overdispersion, counts, shift, js, **findings):
    """The evidence of findings; the shift is in standard deviations along the components."""
    sums = np.array(shift) * REFERENCE.projection.deviations * np.sum(counts) / REFERENCE.projection.step
    tally = read_tally(build_values(cluster_counts=counts, clipped_coordinate_sums=np.rint(sums)))
    divergence = replace(build_score(counts).findings["js_divergence"], p_value=js)
    found = Findings(findings, js_divergence=divergence)
    return attribute_evidence(tally, found, REFERENCE, overdispersion)


def kind_of(evidence):
    return max(evidence, key=evidence.get)


def change(size, p_value):
    return SpreadChange(size, abs(size), p_value)


@given(*[st.floats(1e-308, 1)] * 5, st.floats(-1, 1), st.floats(-2, 2), st.floats(0, 1))
def test_shares_sum_to_one(js, mean, novelty, spread, repeated, size, few, share):
    found = attribute(
        js=js,
        mean=mean,
        novelty=novelty,
        changes=(change(size, spread), None),
        few=few,
        repeated=(share, repeated),
    )
    shares = found.values()
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0


SHIFT = {"shift": (0.5, 0.5)}
SPREAD_OF_OTHERS = {"changes": (change(0.01, 0.4), change(0.3, 1e-9)), "few": 0.3}
SPREAD_OF_ALL = {"changes": (change(0.2, 1e-4), change(0.3, 1e-9)), "few": 0.3}
# A tenth of the events more in the first cluster and less in the second moves the mean by 0.3 deviations.
MIXED = {"counts": (350, 150, 250, 250)}
# An item of a tenth of the events moves the mean by a tenth of its distance.
ITEM = {"repeated": (0.1, 1e-6)}
LEAST = np.finfo(float).tiny


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        # The strongest test names the kind.
        ({"js": 1e-9}, "mix"),
        ({**SHIFT, "mean": 1e-9}, "shift"),
        ({"novelty": 1e-9}, "novelty"),
        ({"changes": (None, change(0.3, 1e-9))}, "spread"),
        ({"repeated": (0.05, 1e-9)}, "duplicates"),
        ({"related": (0.3, 1e-9)}, "relations"),
        # What moves the mean changes relations too, and shows no less in the mean.
        ({**SHIFT, "mean": 1e-9, "related": (0.4, 1e-15)}, "shift"),
        ({**SHIFT, "mean": 1e-9, "related": (0.4, 1e-60)}, "relations"),
        # Without a shift that is seen there is none to cause it.
        ({**SHIFT, "related": (0.4, 1e-9)}, "relations"),
        ({**SHIFT, "js": LEAST, "mean": LEAST}, "shift"),
        # A mean that outliers move, also where events lie further out, but not along the components.
        (
            {**SHIFT, "changes": (change(0.01, 0.4), change(0.3, 1e-9)), "few": 0.8}
            | {"js": 1e-20, "mean": 1e-60, "novelty": 1e-9},
            "novelty",
        ),
        ({**SHIFT, **SPREAD_OF_OTHERS, "mean": 1e-60, "novelty": 0.02}, "novelty"),
        # Where most of the change of spread is that of all events, they moved.
        ({**SHIFT, **SPREAD_OF_ALL, "mean": 1e-60, "novelty": 1e-9}, "shift"),
        ({**SHIFT, **SPREAD_OF_ALL, "mean": 1e-60, "novelty": 0.02}, "shift"),
        # A shift of all events by a deviation and a half puts a tenth of them beyond the radius.
        (
            {**SHIFT, "js": 1e-20, "mean": 1e-60, "novelty": 1e-9, "excess_of_outliers": 0.1},
            "novelty",
        ),
        (
            {"shift": (1.2, 1.2), "js": 1e-20, "mean": 1e-60, "novelty": 1e-9, "excess_of_outliers": 0.1},
            "shift",
        ),
        # A shift that the clusters' shares explain is a change of mix.
        ({**MIXED, "shift": (0.3, 0.0), "mean": 1e-9}, "mix"),
        ({**MIXED, "shift": (-0.3, 0.0), "mean": 1e-9}, "shift"),
        ({**MIXED, "shift": (0.3, 0.8), "mean": 1e-9}, "shift"),
        ({"shift": (0.3, 0.0), "mean": 1e-9}, "shift"),
        # The divergence of events that moved is shift.
        ({**MIXED, "shift": (0.3, 0.8), "js": 1e-20, "mean": 1e-9}, "shift"),
        ({**MIXED, "shift": (0.3, 0.8), "js": 1e-20, "mean": 0.02}, "mix"),
        ({**MIXED, "shift": (0.3, 0.0), "js": 1e-20, "mean": 1e-9}, "mix"),
        # Noise beside the components alone, of which typical distances know nothing.
        ({"changes": (change(0.0, 0.9), change(0.3, 1e-9)), "novelty": 1e-6, "few": 1.0}, "spread"),
        # What moves the mean along the leading components moves it along the others.
        ({**SHIFT, "mean": 1e-9, "minor": 1e-30}, "shift"),
        ({**SHIFT, "mean": 0.02, "minor": 1e-30}, "detail"),
        # Few events explain no growth of typical ones, and no shrinking.
        ({"changes": (change(0.4, 1e-9), None), "few": -0.7}, "spread"),
        ({"changes": (change(-0.4, 1e-9), None), "few": 0.7}, "spread"),
        ({"changes": (change(0.0, 1e-9), None), "few": 1.0}, "spread"),
        # A repeated item explains a change of mix only with a shift.
        ({"js": 1e-20, "repeated": (0.03, 0.005)}, "mix"),
        ({**ITEM, "js": 1e-6, "shift": (0.1, 0.1), "mean": 1e-6}, "duplicates"),
        # No item of a tenth moves the mean by a deviation, or makes all distances twice as long.
        ({**ITEM, "shift": (0.1, 0.1), "minor": 1e-7}, "duplicates"),
        ({**ITEM, "shift": (1.0, 1.0), "js": 1e-9, "mean": 1e-60}, "shift"),
        ({**ITEM, "changes": (change(3.0, 1e-60), None)}, "spread"),
        # An item of a tenth is a tenth of the events beyond the radius.
        ({**ITEM, "novelty": 1e-20, "excess_of_outliers": 0.1}, "duplicates"),
        ({**ITEM, "novelty": 1e-60, "excess_of_outliers": 0.4}, "novelty"),
        # A repeated item that is not significant explains nothing.
        ({"shift": (0.1, 0.1), "js": 1e-9, "mean": 1e-9, "repeated": (0.1, 0.02)}, "shift"),
    ],
)
def test_kind_of_evidence(found, kind):
    assert kind_of(attribute(**found)) == kind


def test_equal_p_values_have_equal_shares():
    changes = (change(0.3, 1e-6), change(0.2, 1e-3))
    found = attribute(shift=(0.5, 0.5), js=1e-6, mean=1e-6, novelty=1e-6, changes=changes, few=0.5)
    # Half of the spread comes from few events, and so they moved the mean.
    assert (found["mix"], found["shift"]) == (0, 0)
    assert (found["novelty"], found["spread"]) == (pytest.approx(3 / 4), pytest.approx(1 / 4))
    changes = (change(0.3, 0.5), change(0.2, 0.5))
    found = attribute(shift=(0.5, 0.5), js=1e-6, mean=1e-6, novelty=1e-6, changes=changes)
    # The divergence of events that moved counts for the shift.
    assert (found["mix"], found["shift"]) == (0, pytest.approx(2 / 3))
    assert (found["novelty"], found["spread"]) == (pytest.approx(1 / 3), 0)


def test_outliers_of_events_that_all_lie_further_out_are_spread():
    found = attribute(novelty=1e-20, changes=(change(0.3, 1e-9), None), few=1 / 6)
    assert found["spread"] == pytest.approx(5 / 6)


def test_students_tails_do_not_hide_novelty():
    """With 20 windows a p-value of 1e-6 is as far out as one of 1e-12 of a normal variable."""
    moved = MeanShift(1.0, 1e-9, 1.0, 1e-9, 9.0)
    novelty = build_novelty(0.1, 0.09, 1e-6)
    calibrated = Overdispersion(20, 1.0, np.eye(COMPONENTS))
    for overdispersion, kind in ((calibrated, "novelty"), (INDEPENDENT, "shift")):
        spread, duplicates = Spread(None, None, None), Duplicates(0.0, 0.5)
        found = find(
            overdispersion,
            QUIET,
            (0.5, 0.5),
            0.5,
            mean_shift=moved,
            novelty=novelty,
            spread=spread,
            duplicates=duplicates,
        )
        assert kind_of(found) == kind


@pytest.mark.parametrize("burst", [1, 5])
def test_noise_does_not_hide_change_of_mix(burst):
    # The noise within the clusters is half a deviation an event; events come in bursts of equal ones.
    random = np.random.default_rng(0)
    overdispersion = INDEPENDENT if burst == 1 else Overdispersion(200, burst, burst * np.eye(COMPONENTS))
    kinds = []
    for _ in range(200):
        counts = burst * random.multinomial(100, [0.4, 0.1, 0.25, 0.25])
        shift = (counts / counts.sum()) @ (MEANS / REFERENCE.projection.deviations)
        shift = shift + random.standard_normal(2) / 20
        kinds.append(kind_of(attribute(counts, tuple(shift), mean=1e-9, overdispersion=overdispersion)))
    assert kinds.count("mix") > 180


def test_spread_that_few_events_make_is_novelty():
    found = attribute(changes=(change(0.4, 1e-9), None), few=0.75)
    assert (found["novelty"], found["spread"]) == (
        pytest.approx(0.75, abs=1e-6),
        pytest.approx(0.25, abs=1e-6),
    )


def test_shift_and_spread_that_repeated_item_causes_are_duplicates():
    changes, item = (change(0.2, 1e-9), None), {"repeated": (0.1, 1e-9)}
    found = attribute(shift=(0.1, 0.1), js=1e-9, mean=1e-9, novelty=1e-20, changes=changes, **item)
    assert found["duplicates"] == pytest.approx(1)
    # Of what shifts the mean far more clearly than an item repeats, the item is no cause.
    found = attribute(shift=(0.1, 0.1), js=1e-9, mean=1e-60, **item)
    assert kind_of(found) == "shift"
    # The item explains half of this shift, whose evidence is as strong as its own.
    share, p_value = ITEM["repeated"]
    found = attribute(shift=(share * 12**0.5, 0.0), mean=p_value, **ITEM)
    assert found["duplicates"] == pytest.approx(0.75)
