"""Tests of `driftgauge.baseline.report`."""

import json
from pathlib import Path

import pytest

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.quality import notes
from driftgauge.baseline.report import as_json, describe
from driftgauge.cli.printing import render
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import noise_floor


def test_describe_lists_facts(baseline: Baseline) -> None:
    text = render(describe(baseline, Path("stream.safetensors")))
    assert text.startswith("stream.safetensors\n")
    text = " ".join(text.split())
    for part in (
        baseline.identity,
        "resnet18-fc1",
        "v1",
        "6, by euclidean distance",
        "600 fitted, 600 others counted",
        "2025-11-03T00:00:00Z",
        "scikit-learn",
        f"{noise_floor(6, 1_000, 600):.4f} at 1,000 events",
        "training set no",
        "up to 30 events are at most 1/20 of the vectors counted",
        "overdispersion not known",
        "(adjusted Rand index, 1 is the same clusters)",
        "note: The overdispersion is not known",
    ):
        assert part in text


def test_describe_lists_overdispersion(full_baseline: Baseline) -> None:
    text = " ".join(render(describe(full_baseline, Path("x"))).split())
    assert (
        "counts vary 2.25 times as much as those of independent events, means up to 3.15 times; "
        "measured on 40 windows of 1h"
    ) in text
    assert f"{2.25 * noise_floor(6, 1_000, 600):.4f} at 1,000 events" in text
    assert "is not known" not in text


def test_describe_lists_segments(full_baseline: Baseline) -> None:
    lines = render(describe(full_baseline, Path("x"))).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("  segment"))
    for line, segment in zip(lines[start + 1 : start + 4], full_baseline.segments, strict=True):
        name, count, share, divergence, distance, over_dispersion = line.split()
        assert over_dispersion == ("3.50" if segment.value == "de" else "unknown")
        assert name == f"{segment.key}={segment.value}"
        assert int(count) == segment.counts.sum()
        assert share == f"{segment.counts.sum() / 600:.2%}"
        assert float(divergence) == pytest.approx(
            js_contributions(segment.counts, full_baseline.counts).sum(), abs=1e-4
        )
        assert float(distance) == pytest.approx(
            (segment.mean**2 / full_baseline.variances).sum() ** 0.5, abs=1e-3
        )


def test_describe_lists_clusters(full_baseline: Baseline) -> None:
    table = render(describe(full_baseline, Path("x"))).splitlines()[-14:-8]
    for cluster, line in enumerate(table):
        number, count, share, median, p99, name = line.split(maxsplit=5)
        assert int(number) == cluster
        assert name == (full_baseline.names[cluster] or "-")
        assert int(count) == full_baseline.counts[cluster]
        assert share == f"{full_baseline.counts[cluster] / 600:.2%}"
        assert float(median) == pytest.approx(full_baseline.distance_quantiles[cluster, 2], rel=1e-3)
        assert float(p99) == pytest.approx(full_baseline.distance_quantiles[cluster, -1], rel=1e-3)


def test_describe_lists_examples(full_baseline: Baseline, baseline: Baseline) -> None:
    table = render(describe(full_baseline, Path("x"))).splitlines()[-7:]
    assert table[0].split(maxsplit=1) == ["cluster", "examples, the nearest to the centroid first"]
    assert table[1].split(maxsplit=1) == ["0", "köln-0, <script>alert(1)</script>"]
    assert table[-1].split(maxsplit=1) == ["5", "köln-5, -"]
    assert "examples" not in render(describe(baseline, Path("x")))


def test_json_holds_facts(baseline: Baseline) -> None:
    document = json.loads(json.dumps(as_json(baseline), allow_nan=False))
    assert document["identity"] == baseline.identity
    assert document["stream"] == "resnet18-fc1"
    assert document["metric"] == "euclidean"
    assert document["created"] == "2025-11-03T00:00:00Z"
    assert document["noise_floor"]["1000"] == pytest.approx(noise_floor(6, 1_000, 600))
    assert document["largest_window"] == 30
    assert (document["overdispersion"], document["window_ms"], document["segments"]) == (None, None, [])
    assert document["training_set"] is False
    assert document["stability"] == baseline.metadata.stability
    assert document["notes"] == notes(baseline)
    assert [cluster["count"] for cluster in document["clusters"]] == baseline.counts.tolist()
    assert sum(cluster["share"] for cluster in document["clusters"]) == pytest.approx(1)
    assert document["clusters"][2]["distance_quantiles"]["0.99"] == baseline.distance_quantiles[2, -1]


def test_json_holds_overdispersion_and_segments(full_baseline: Baseline) -> None:
    document = json.loads(json.dumps(as_json(full_baseline), allow_nan=False))
    assert document["window_ms"] == 3_600_000
    assert document["overdispersion"] == {
        "windows": 40,
        "counts": 2.25,
        "means_largest": pytest.approx(3.1514, abs=1e-4),
    }
    assert [(segment["key"], segment["value"]) for segment in document["segments"]] == [
        ("country", "de"),
        ("country", "other"),
        ("größe", "xl"),
    ]
    assert document["segments"][0]["count"] == full_baseline.segments[0].counts.sum()
    assert document["segments"][0]["js_divergence"] >= 0
    assert document["segments"][0]["overdispersion"] == {
        "windows": 25,
        "counts": 3.5,
        "means_largest": pytest.approx(2 * 3.1514, abs=1e-4),
    }
    assert document["segments"][1]["overdispersion"] is None


def test_json_holds_descriptions(full_baseline: Baseline, baseline: Baseline) -> None:
    clusters = json.loads(json.dumps(as_json(full_baseline), allow_nan=False))["clusters"]
    assert [each["name"] for each in clusters] == list(full_baseline.names)
    assert [tuple(each["example_ids"]) for each in clusters] == list(full_baseline.example_ids)
    assert clusters[1]["position"] == full_baseline.positions[1].tolist()
    assert json.loads(json.dumps(as_json(baseline)))["clusters"][0]["name"] is None
