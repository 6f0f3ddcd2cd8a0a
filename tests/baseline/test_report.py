import json
from pathlib import Path

import pytest

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.report import as_json, describe
from driftgauge.core.significance import noise_floor


def test_the_text_says_what_the_baseline_is(baseline: Baseline) -> None:
    text = describe(baseline, Path("stream.safetensors"))
    assert text.startswith("stream.safetensors\n")
    for part in (
        baseline.identity,
        "resnet18-fc1",
        "v1",
        "6, by euclidean distance",
        "600 fitted, 600 others counted",
        "2025-11-03T00:00:00Z",
        "scikit-learn",
        f"{noise_floor(6, 1_000, 600):.4f} at 1,000 events",
    ):
        assert part in text


def test_the_text_has_a_line_for_each_cluster(baseline: Baseline) -> None:
    table = describe(baseline, Path("x")).splitlines()[-6:]
    for cluster, line in enumerate(table):
        number, count, share, median, p99 = line.split()
        assert int(number) == cluster
        assert int(count) == baseline.counts[cluster]
        assert share == f"{baseline.counts[cluster] / 600:.2%}"
        assert float(median) == pytest.approx(baseline.distance_quantiles[cluster, 2], rel=1e-3)
        assert float(p99) == pytest.approx(baseline.distance_quantiles[cluster, -1], rel=1e-3)


def test_the_json_says_the_same_in_numbers(baseline: Baseline) -> None:
    document = json.loads(json.dumps(as_json(baseline), allow_nan=False))
    assert document["identity"] == baseline.identity
    assert document["stream"] == "resnet18-fc1"
    assert document["metric"] == "euclidean"
    assert document["created"] == "2025-11-03T00:00:00Z"
    assert document["noise_floor"]["1000"] == noise_floor(6, 1_000, 600)
    assert [cluster["count"] for cluster in document["clusters"]] == baseline.counts.tolist()
    assert sum(cluster["share"] for cluster in document["clusters"]) == pytest.approx(1)
    assert document["clusters"][2]["distance_quantiles"]["0.99"] == baseline.distance_quantiles[2, -1]
