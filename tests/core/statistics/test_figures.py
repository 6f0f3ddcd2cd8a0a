"""All figures of known windows: they change with the fit, the statistics and their weights only."""

import json

import numpy as np
import pytest

from driftgauge.api import score_vectors
from driftgauge.baseline.fitting import Provenance
from driftgauge.baseline.windows import Traffic
from tests.builders.baselines import fit
from tests.builders.clocks import HOUR_MS
from tests.tools.golden import to_json

DIMENSION, CLUSTERS = 40, 5


def draw(seed, number, repeated=1):
    """Vectors of far clusters, each so many times; those of one cluster have heavy tails."""
    random = np.random.default_rng(seed)
    centres = 8 * np.eye(CLUSTERS, DIMENSION)
    clusters = random.choice(CLUSTERS, number // repeated, p=[0.3, 0.25, 0.2, 0.15, 0.1])
    noise = random.normal(size=(len(clusters), DIMENSION)) * np.arange(1, DIMENSION + 1) ** -0.25
    noise[clusters == 0] *= np.sqrt(5 / random.chisquare(5, size=((clusters == 0).sum(), 1)))
    return np.repeat(centres[clusters] + noise, repeated, axis=0).astype(np.float32)


@pytest.fixture(scope="module", params=[1, 3], ids=["independent", "bursts of three"])
def baseline(request):
    """A baseline that knows how hours of a hundred events vary."""
    traffic = Traffic.of(np.arange(6_000) // 100 * HOUR_MS, HOUR_MS)
    return fit(draw(1, 6_000, request.param), clusters=CLUSTERS, provenance=Provenance(traffic))


@pytest.mark.parametrize("is_changed", [False, True])
def test_figures_of_known_windows(snapshot, baseline, is_changed):
    vectors = draw(2, 300)
    if is_changed:
        vectors[:60] *= 2
        vectors[:30] = vectors[0]
        vectors[:, 5] = vectors[:, 6]
        vectors[60] *= 100
        vectors += np.float32(0.1)
    score = score_vectors(baseline, vectors, window_ms=HOUR_MS)
    # Four digits, which do not differ between machines.
    digits = json.loads(json.dumps(to_json(score)), parse_float=lambda text: float(f"{float(text):.4g}"))
    assert digits == snapshot
