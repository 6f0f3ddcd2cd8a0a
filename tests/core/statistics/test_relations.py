"""The tests of relations: their level, and integers that depend on the event alone."""

import math
from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.projection import Projection
from driftgauge.core.counting.tally import CLUSTER_COUNTS, Tally, TallyField, tally_batch
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.relations import (
    RELATION_MOMENTS,
    RELATION_SPECTRUM,
    RELATION_SUMS,
    RELATIONS,
    RelationsNull,
)
from tests.builders.references import build_reference

DIMENSION, EVENTS, VECTORS = 10, 100, 1_000
FIELDS = TallyField(CLUSTER_COUNTS, 1), TallyField(RELATION_SUMS, 72)


def measure(vectors):
    """Return the sums that each of some normal vectors adds, around 0 and two clusters' means."""
    dimension = vectors.shape[1]
    means = np.stack([np.full(dimension, -0.5), np.full(dimension, 0.5)])
    (measured,) = RELATIONS.measure(
        MeasuredEvents(
            vectors.astype(np.float32),
            (vectors[:, 0] > 0).astype(np.intp),
            Centroids(means.astype(np.float32), DistanceMetric.EUCLIDEAN),
            np.ones(2, np.float32),
            Projection(np.zeros(dimension), np.eye(dimension, dtype=np.float32), np.ones(dimension)),
            means,
        )
    )
    return measured


def add(measured, group):
    """Return the sums of groups of events, (groups, 72)."""
    return tally_batch(group, int(group.max()) + 1, FIELDS[1:], [measured])


def arrays_of(vectors):
    return RELATIONS.fit({RELATION_SUMS: measure(vectors)}, np.zeros(len(vectors), bool))


def fit(vectors, overdispersion=1.0, windows=math.inf):
    arrays = arrays_of(vectors)
    return RelationsNull(
        arrays[RELATION_MOMENTS],
        arrays[RELATION_SPECTRUM],
        np.full(72, overdispersion),
        windows,
    )


def score(null, windows):
    """Return the findings of windows, (windows, events, d)."""
    sums = add(
        measure(windows.reshape(-1, windows.shape[2])), np.repeat(np.arange(len(windows)), windows.shape[1])
    )
    return [null.test(Tally(np.array([windows.shape[1], *each]), FIELDS)) for each in sums]


@pytest.mark.parametrize(
    ("degrees", "repeated", "windows", "dimension"),
    [
        (math.inf, 1, math.inf, DIMENSION),
        (3, 1, math.inf, DIMENSION),
        (math.inf, 2, 30, DIMENSION),
        (math.inf, 1, math.inf, 3),
    ],
)
def test_level_holds_for_heavy_tails_and_bursts(degrees, repeated, windows, dimension):
    random = np.random.default_rng(0)
    p_values = []
    for _ in range(10):
        drawn = random.standard_normal((VECTORS + 2_000, dimension))
        if math.isfinite(degrees):
            drawn /= np.sqrt(random.chisquare(degrees, (len(drawn), 1)) / degrees)
        null = fit(drawn[:VECTORS], float(repeated), windows)
        own = np.repeat(drawn[VECTORS:].reshape(-1, EVENTS, dimension), repeated, axis=1)
        p_values += [found.p_values for found in score(null, own)]
    for level in (0.1, 0.01):
        assert (np.mean(np.array(p_values) < level, axis=0) < 1.5 * level + 0.005).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_recentred_baseline_expects_the_relations_of_the_warm_up_by_its_share(share):
    random = np.random.default_rng(5)
    vectors = random.standard_normal((VECTORS, DIMENSION))
    reference = replace(build_reference(), arrays=arrays_of(vectors))
    moved = vectors + np.linspace(0, 1, DIMENSION)
    (sums,) = add(measure(moved), np.zeros(VECTORS, np.intp))
    warm_up = Tally(np.array([VECTORS, *sums]), FIELDS)
    recentred = replace(
        reference, arrays={**reference.arrays, **RELATIONS.recentre(reference, None, warm_up, share)}
    )
    before, after = (
        RELATIONS.null(each, None, Overdispersion.independent(DIMENSION)).standardized(warm_up)
        for each in (reference, recentred)
    )
    assert after == pytest.approx((1 - share) * before, abs=1e-9)
    assert abs(before).max() > 10


def test_sums_depend_on_events_alone():
    random = np.random.default_rng(3)
    vectors = random.standard_normal((500, DIMENSION)) * random.lognormal(sigma=3, size=(500, 1))
    order, group = random.permutation(500), random.integers(0, 7, 500)
    whole, parts = add(measure(vectors), np.zeros(500, np.intp)), add(measure(vectors)[order], group)
    assert np.array_equal(whole[0], parts.sum(axis=0))
    alone = np.concatenate([measure(vector[None]) for vector in vectors])
    assert np.array_equal(alone, measure(vectors))


def test_few_vectors_are_not_tested():
    random = np.random.default_rng(4)
    null = fit(random.standard_normal((19, DIMENSION)))
    (found,) = score(null, random.standard_normal((1, EVENTS, DIMENSION)))
    assert all(p_value > 0.5 for p_value in found.p_values)
    assert null.least(EVENTS, 0.01) is None
