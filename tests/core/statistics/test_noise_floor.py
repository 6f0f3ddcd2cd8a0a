"""The noise floor: the expected divergence of windows without drift."""

import math

import numpy as np
import pytest

from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import noise_floor


@pytest.mark.parametrize(
    ("clusters", "count", "baseline_count"),
    [(5, 1_000, 5_000), (20, 1_000, 25_000), (20, 500, 1_000), (50, 2_000, 20_000)],
)
def test_noise_floor_is_mean_divergence_without_drift(clusters, count, baseline_count):
    random = np.random.default_rng(clusters + count)
    shares = random.dirichlet(np.full(clusters, 5.0))
    simulated = [
        js_contributions(random.multinomial(count, shares), random.multinomial(baseline_count, shares)).sum()
        for _ in range(1_000)
    ]
    assert noise_floor(clusters, count, baseline_count) == pytest.approx(np.mean(simulated), rel=0.05)


def test_noise_floor_of_50_clusters_and_500_events_is_known():
    floor = noise_floor(50, 500, 10**9)
    assert floor == pytest.approx(0.018, abs=0.001)
    assert math.sqrt(floor) == pytest.approx(0.13, abs=0.01)


def test_noise_floor_includes_sampling_of_baseline():
    assert noise_floor(20, 1_000, 1_000) == pytest.approx(2 * noise_floor(20, 1_000, 10**12))


def test_noise_floor_of_single_cluster_is_zero():
    assert noise_floor(1, 10, 10) == 0
