"""Tests of `driftgauge.baseline.comparison`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.comparison import Comparability, Comparison, compare, mean_distance
from driftgauge.baseline.comparison_report import as_json, describe
from driftgauge.cli.printing import render
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import noise_floor
from tests.builders.baselines import fit, with_metadata


def with_centroids(baseline: Baseline, values: NDArray[np.floating]) -> Baseline:
    metric = baseline.metadata.metric
    return dataclasses.replace(baseline, centroids=Centroids(values.astype(np.float32), metric))


def shifted(baseline: Baseline, deviations: float) -> Baseline:
    """The baseline with its mean shifted along the leading component, in standard deviations."""
    step = deviations * np.sqrt(baseline.variances[0]) * baseline.components[0]
    return dataclasses.replace(baseline, mean=baseline.mean + step)


def moved_counts(baseline: Baseline, count: int) -> Baseline:
    counts = baseline.counts.copy()
    counts[0] -= count
    counts[5] += count
    return dataclasses.replace(baseline, counts=counts)


def test_compare_with_itself_rates_same(baseline: Baseline) -> None:
    again = with_metadata(baseline, created_ms=1, versions={})
    compared = compare(baseline, again)
    assert compared.comparability is Comparability.SAME
    assert compared.comparability.is_comparable
    assert (compared.mean_distance, compared.js_divergence) == (0, 0)
    assert [(match.cluster, match.nearest) for match in compared.matches] == [(i, i) for i in range(6)]
    assert {(match.distance, match.ratio) for match in compared.matches} == {(0.0, 0.0)}


def test_compare_of_different_spaces_rates_incompatible(baseline: Baseline) -> None:
    values = baseline.centroids.values
    wider = dataclasses.replace(
        baseline,
        metadata=baseline.metadata.model_copy(update={"dimension": 9}),
        centroids=Centroids(np.pad(values, ((0, 0), (0, 1))), DistanceMetric.EUCLIDEAN),
        mean=np.append(baseline.mean, 0),
        components=np.pad(baseline.components, ((0, 0), (0, 1))),
    )
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    by_angle = dataclasses.replace(
        baseline,
        metadata=baseline.metadata.model_copy(update={"metric": DistanceMetric.COSINE}),
        centroids=Centroids(unit, DistanceMetric.COSINE),
    )
    for other in (wider, by_angle, with_metadata(baseline, model_version="v2")):
        compared = compare(baseline, other)
        assert compared.comparability is Comparability.INCOMPATIBLE
        assert not compared.comparability.is_comparable
        assert (compared.matches, compared.mean_distance, compared.js_divergence) == ((), None, None)
    unknown = compare(baseline, with_metadata(baseline, model_version=None))
    assert unknown.comparability is Comparability.COMPARABLE


def test_compare_with_equal_centroids_rates_by_divergence(baseline: Baseline) -> None:
    near = compare(baseline, moved_counts(baseline, 6))
    assert near.comparability is Comparability.COMPARABLE
    far = compare(baseline, moved_counts(baseline, 100))
    assert far.comparability is Comparability.MOVED
    divergence = js_contributions(far.second.counts, baseline.counts).sum()
    assert far.js_divergence == pytest.approx(divergence)
    assert far.js_excess == pytest.approx(divergence - noise_floor(6, 600, 600))


def test_compare_measures_mean_distance_in_standard_deviations(baseline: Baseline) -> None:
    near, far = compare(baseline, shifted(baseline, 0.1)), compare(baseline, shifted(baseline, -0.5))
    assert near.mean_distance == pytest.approx(0.1, rel=1e-4)
    assert near.comparability is Comparability.COMPARABLE
    assert far.mean_distance == pytest.approx(0.5, rel=1e-4)
    assert far.mean_excess == pytest.approx(0.25 - 8 * (1 / 1_200 + 1 / 1_200), rel=5e-3)
    assert far.comparability is Comparability.MOVED


def test_mean_distance_is_mahalanobis_distance(baseline: Baseline) -> None:
    assert mean_distance(baseline, np.sqrt(baseline.variances)) == pytest.approx(8**0.5)


def test_compare_matches_renumbered_centroids(baseline: Baseline) -> None:
    order = np.array([3, 0, 5, 1, 4, 2])
    nudge = 0.1 * baseline.distances(0.5)[order, None] / 8**0.5
    other = with_centroids(baseline, baseline.centroids.values[order] + nudge)
    compared = compare(baseline, other)
    assert compared.comparability is Comparability.RENUMBERED
    assert not compared.comparability.is_comparable
    assert [order[match.nearest] for match in compared.matches] == list(range(6))
    for match in compared.matches:
        assert match.ratio == pytest.approx(0.1, rel=1e-3)
        assert match.distance == pytest.approx(0.1 * baseline.distances(0.5)[match.cluster], rel=1e-3)
    assert compared.js_divergence is None
    assert compare(baseline, shifted(other, 1)).comparability is Comparability.MOVED


def test_compare_with_unmatched_centroids_rates_regrouped(baseline: Baseline) -> None:
    values = baseline.centroids.values
    far = values + 0.4 * baseline.distances(0.5)[:, None] / 8**0.5
    assert compare(baseline, with_centroids(baseline, far)).comparability is Comparability.REGROUPED
    twice = values + 1e-3
    twice[1] = twice[0]
    compared = compare(baseline, with_centroids(baseline, twice))
    assert compared.comparability is Comparability.REGROUPED
    assert compared.pairs == 5


@pytest.mark.parametrize("metric", DistanceMetric)
def test_compare_of_seeds_on_separate_clusters_rates_renumbered(metric: DistanceMetric) -> None:
    random = np.random.default_rng(0)
    centres = 20 * np.eye(6)
    vectors = centres[random.integers(6, size=3_000)] + random.normal(size=(3_000, 6))
    first, second = (fit(vectors, metric=metric, seed=seed) for seed in (0, 1))
    compared = compare(first, second)
    assert compared.comparability is Comparability.RENUMBERED
    assert compared.pairs == 6
    for match in compared.matches:
        own, other = first.centroids.values[match.cluster], second.centroids.values[match.nearest]
        expected = (
            np.linalg.norm(own - other) if metric is DistanceMetric.EUCLIDEAN else 1 - float(own @ other)
        )
        assert match.distance == pytest.approx(expected, rel=1e-2, abs=1e-6)


def test_cluster_of_equal_vectors_matches_only_itself(baseline: Baseline) -> None:
    points = dataclasses.replace(baseline, distance_quantiles=np.zeros_like(baseline.distance_quantiles))
    compared = compare(points, with_centroids(baseline, baseline.centroids.values + 1e-3))
    assert {match.ratio for match in compared.matches} == {np.inf}
    assert compared.comparability is Comparability.REGROUPED
    document = json.loads(json.dumps(as_json(compared), allow_nan=False))
    assert {match["ratio"] for match in document["matches"]} == {None}
    assert {match.ratio for match in compare(points, shifted(points, 1)).matches} == {0.0}


def shown(compared: Comparison) -> tuple[str, dict[str, Any]]:
    text = render(describe(compared, Path("a.safetensors"), Path("b.safetensors")))
    return text, json.loads(json.dumps(as_json(compared), allow_nan=False))


def test_report_states_comparability(baseline: Baseline, full_baseline: Baseline) -> None:
    values = baseline.centroids.values
    for part, other in (
        ("A and B are the same baseline", baseline),
        ("can be compared number by number", moved_counts(baseline, 1)),
        ("can be compared roughly", with_centroids(baseline, values[::-1])),
        ("cannot be compared: the clusters are the same or match", shifted(baseline, 1)),
        ("cannot be compared: the clusters differ", with_centroids(baseline, values + 9)),
        (
            "cannot be compared: their embedding spaces differ",
            with_metadata(baseline, model_version="v2"),
        ),
        ("P-values against A are not calibrated for bursts; the other P-values are", full_baseline),
    ):
        compared = compare(baseline, other)
        text, document = shown(compared)
        assert text.startswith("A  a.safetensors\nB  b.safetensors\n\n")
        assert part in " ".join(text.split("\n\n")[1].split())
        assert part in document["meaning"]
        assert document["comparable"] is compared.comparability.is_comparable
        assert document["comparability"] == compared.comparability.value


def test_report_marks_different_facts_and_lists_matches(baseline: Baseline, full_baseline: Baseline) -> None:
    text, document = shown(compare(baseline, full_baseline))
    marked = [line.split()[1] for line in text.splitlines() if line.startswith("  *")]
    assert marked == ["identity", "overdispersion", "segments"]
    assert "2.25, windows of 1h" in text
    assert (document["a"]["identity"], document["b"]["over_dispersion"]) == (baseline.identity, 2.25)
    assert document["b"]["segments"][0] == {"key": "country", "value": "de"}
    assert (document["same_centroids"], document["mean_distance"], document["js_divergence"]) == (True, 0, 0)
    same, _ = shown(compare(baseline, shifted(baseline, 0.01)))
    assert "nearest of B " not in same
    assert "  centroids   the same\n" in same
    assert "  histograms  JSD 0.00000; less noise -0.0" in same
    assert "  means       0.0100 standard deviations apart" in same
    hostile, none = "<script>alert(1)</script>", "-"
    reversed_ = with_centroids(full_baseline, full_baseline.centroids.values[::-1])
    text, document = shown(compare(full_baseline, reversed_))
    table = [line.split() for line in text.splitlines()[-6:]]
    assert [line[:2] for line in table] == [[str(i), str(5 - i)] for i in range(6)]
    assert (table[0][-2:], table[-1][-2:]) == ([hostile, none], [none, hostile])
    assert document["matches"][0] == {
        "cluster": 0,
        "name": hostile,
        "nearest": 5,
        "nearest_name": None,
        "distance": 0,
        "ratio": 0,
    }
