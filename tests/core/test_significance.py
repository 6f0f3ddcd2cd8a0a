"""The noise floor against simulated windows in which nothing drifts."""

import math

import numpy as np
import pytest

from driftgauge.core.divergence import js_contributions
from driftgauge.core.significance import noise_floor


@pytest.mark.parametrize(
    ("clusters", "count", "baseline_count"),
    [(5, 1_000, 5_000), (20, 1_000, 25_000), (20, 500, 1_000), (50, 2_000, 20_000)],
)
def test_the_noise_floor_is_the_mean_divergence_of_undrifted_windows(clusters, count, baseline_count):
    random = np.random.default_rng(clusters + count)
    shares = random.dirichlet(np.full(clusters, 5.0))
    simulated = [
        js_contributions(random.multinomial(count, shares), random.multinomial(baseline_count, shares)).sum()
        for _ in range(1_000)
    ]
    assert noise_floor(clusters, count, baseline_count) == pytest.approx(np.mean(simulated), rel=0.05)


def test_fifty_clusters_and_five_hundred_events_make_a_distance_above_a_tenth_of_pure_noise():
    floor = noise_floor(50, 500, 10**9)
    assert floor == pytest.approx(0.018, abs=0.001)
    assert math.sqrt(floor) == pytest.approx(0.13, abs=0.01)


def test_the_baselines_own_sampling_is_part_of_the_noise():
    assert noise_floor(20, 1_000, 1_000) == pytest.approx(2 * noise_floor(20, 1_000, 10**12))


def test_a_single_cluster_cannot_diverge():
    assert noise_floor(1, 10, 10) == 0
