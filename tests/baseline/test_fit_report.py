"""Reports of a baseline, as text and as JSON, and the notes on its weaknesses."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from driftgauge.baseline.artifact import Baseline, ClusterDescription
from driftgauge.baseline.fit_report import compare, describe, report_baseline
from driftgauge.baseline.quality import notes
from driftgauge.cli.printing import print_report, render
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.nulls.divergence_null import noise_floor
from driftgauge.core.statistics.overdispersion import Overdispersion
from tests.builders.baselines import HOSTILE_NAMES, SEGMENTS, build_baseline, with_metadata

FILE = Path("stream.safetensors")
PLAIN = with_metadata(build_baseline(), stability=0.7)
FULL = build_baseline(
    overdispersion=Overdispersion(40, 2.25, np.array([[3, 0.5], [0.5, 1.5]])),
    segments=SEGMENTS,
    descriptions=(
        *(ClusterDescription(name=name, example_ids=(f"köln-{name[:2]}", "b")) for name in HOSTILE_NAMES[:3]),
        ClusterDescription(),
    ),
)


@pytest.mark.parametrize("baseline", [PLAIN, FULL])
def test_text_holds_facts(snapshot: SnapshotAssertion, baseline: Baseline) -> None:
    text = render(describe(report_baseline(baseline, FILE)))
    assert text.replace(baseline.identity, "IDENTITY") == snapshot


def test_json_holds_facts(snapshot: SnapshotAssertion, capsys: pytest.CaptureFixture[str]) -> None:
    for baseline in (PLAIN, FULL):
        print_report(report_baseline(baseline, FILE), describe, as_json=True)
    # Six digits, which do not differ between machines.
    documents = [
        json.loads(document, parse_float=lambda text: float(f"{float(text):.6g}"))
        for document in capsys.readouterr().out.replace("}\n{", "}\0{").split("\0")
    ]
    assert [document.pop("identity") for document in documents] == [PLAIN.identity, FULL.identity]
    assert documents == snapshot


def differences(baseline: Baseline, other: Baseline) -> str:
    """The lines of the text on how a baseline differs from another one."""
    text = render(describe(report_baseline(baseline, FILE, compare(baseline, other, Path("other")))))
    return text.partition("\nagainst other\n")[2].partition("\n\n")[0]


def test_baseline_does_not_differ_from_itself(baseline: Baseline) -> None:
    again = compare(baseline, with_metadata(baseline, created_ms=1, versions={}), FILE)
    assert (again.identity, again.mean_distance, again.js_divergence) == (baseline.identity, 0, 0)
    assert "identity    the same, and so are the results" in differences(baseline, baseline)


def test_difference_is_the_divergence_and_in_standard_deviations_less_noise(baseline: Baseline) -> None:
    counts = baseline.counts.copy()
    counts[[0, 5]] += [-100, 100]
    step = 0.5 * np.sqrt(baseline.variances[0]) * baseline.components[0]
    other = dataclasses.replace(baseline, counts=counts, mean=baseline.mean + step)
    found, lines = compare(baseline, other, FILE), differences(baseline, other)
    divergence = js_contributions(counts, baseline.counts).sum()
    assert found.js_divergence == pytest.approx(divergence)
    assert found.js_excess == pytest.approx(divergence - noise_floor(6, 600, 600))
    assert f"histograms  JSD {divergence:.5f}; less noise" in lines
    assert found.mean_distance == pytest.approx(0.5, rel=1e-4)
    assert found.mean_excess == pytest.approx(0.25 - 8 * (1 / 1_200 + 1 / 1_200), rel=5e-3)
    assert "means       0.5000 standard deviations apart; " in lines


def test_what_is_large_follows_from_the_smallest_drift_of_the_stream(baseline: Baseline) -> None:
    assert "large from 0.025 on" in differences(baseline, baseline)
    own = compare(baseline, baseline, FILE, {"mean_shift": 0.4, "js_divergence": 0.03})
    assert (own.mean_floor, own.js_floor) == (0.2, 0.015)


def test_other_clusters_and_spaces_are_not_comparable(baseline: Baseline) -> None:
    values = baseline.centroids.values
    moved = dataclasses.replace(baseline, centroids=Centroids(values + 9, DistanceMetric.EUCLIDEAN))
    found = compare(baseline, moved, FILE)
    assert (found.mean_distance, found.js_divergence) == (0, None)
    assert "histograms  of other clusters: not comparable" in differences(baseline, moved)
    wider = dataclasses.replace(
        baseline,
        metadata=baseline.metadata.model_copy(update={"dimension": 9}),
        centroids=Centroids(np.pad(values, ((0, 0), (0, 1))), DistanceMetric.EUCLIDEAN),
        mean=np.append(baseline.mean, 0),
        components=np.pad(baseline.components, ((0, 0), (0, 1))),
        arrays={
            **baseline.arrays,
            "minor_components": np.pad(baseline.arrays["minor_components"], ((0, 0), (0, 1))),
        },
    )
    for other in (wider, with_metadata(baseline, model_version="v2")):
        assert compare(baseline, other, FILE).mean_distance is None
        assert "means       of another dimension, metric or model version" in differences(baseline, other)
    assert compare(baseline, with_metadata(baseline, model_version=None), FILE).js_divergence == 0


def counted(baseline: Baseline, *counts: int) -> Baseline:
    metadata = baseline.metadata.model_copy(update={"reference_count": sum(counts)})
    return dataclasses.replace(baseline, metadata=metadata, counts=np.array(counts, dtype=np.int64))


def of_items(baseline: Baseline, items: int) -> Baseline:
    """The baseline, of 10,000 vectors of so many items."""
    random = np.random.default_rng(0)
    hashes = random.integers(HASH_BINS, size=items)[np.arange(10_000) % items]
    arrays = {**baseline.arrays, "hash_counts": np.bincount(hashes, minlength=HASH_BINS)}
    return dataclasses.replace(with_metadata(baseline, stability=0.9), arrays=arrays)


def test_notes_name_weakness_and_remedy(baseline: Baseline, full_baseline: Baseline) -> None:
    sound = of_items(full_baseline, 10_000)
    assert notes(sound) == []
    for weak, part, remedy in (
        (with_metadata(sound, training_set=True), "The model was trained on this reference", "has not seen"),
        (of_items(baseline, 10_000), "not calibrated for bursts", "events with timestamps"),
        (
            counted(sound, *[99] * 6),
            "small: it counts 594 vectors. Its noise adds 5% to that of a window of 30 events",
            "Fit on 1,200 vectors or more",
        ),
        (of_items(full_baseline, 200), "only from 7.1%", "Set smallest_drift.duplicates above"),
        (with_metadata(sound, stability=0.5), "clusters depend on the seed", "Fewer clusters"),
    ):
        (note,) = notes(weak)
        assert part in note
        assert remedy in note
    small = counted(with_metadata(baseline, stability=None), 1, 1, 1, 1, 1, 995)
    assert "5 of the clusters are tiny (0, 1, 2, 3, 4)" in notes(small)[-1]
