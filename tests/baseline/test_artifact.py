"""Tests of `driftgauge.baseline.artifact`."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors

from driftgauge.baseline import artifact
from driftgauge.baseline.artifact import Baseline, load, parse, save, serialize
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.counting.projection import Projection
from driftgauge.errors import BaselineError
from tests.builders.baselines import ARRAYS, HOSTILE_NAMES, MEAN, build_baseline, header_of, write
from tests.builders.references import build_reference
from tests.processes import run_python


def test_load_after_save_restores_every_bit(baseline: Baseline, path: Path) -> None:
    loaded = load(path)
    assert loaded.metadata == baseline.metadata
    assert loaded.identity == baseline.identity
    assert loaded.centroids.metric is DistanceMetric.EUCLIDEAN
    assert loaded.centroids.values.tobytes() == baseline.centroids.values.tobytes()
    for name in ARRAYS:
        assert getattr(loaded, name).tobytes() == getattr(baseline, name).tobytes()
        assert getattr(loaded, name).dtype == getattr(baseline, name).dtype


def test_parse_restores_overdispersion_and_segments_bit_by_bit(full_baseline: Baseline) -> None:
    loaded = parse(serialize(full_baseline))
    assert loaded.identity == full_baseline.identity
    assert loaded.metadata == full_baseline.metadata
    assert loaded.overdispersion is not None
    assert full_baseline.overdispersion is not None
    assert (loaded.overdispersion.windows, loaded.overdispersion.counts) == (40, 2.25)
    assert loaded.overdispersion.means.tobytes() == full_baseline.overdispersion.means.tobytes()
    assert [(segment.key, segment.value) for segment in loaded.segments] == [
        ("country", "de"),
        ("country", "other"),
        ("größe", "xl"),
    ]
    for segment, saved in zip(loaded.segments, full_baseline.segments, strict=True):
        for name in ("counts", "mean", "covariance"):
            assert getattr(segment, name).tobytes() == getattr(saved, name).tobytes()
            assert getattr(segment, name).dtype == getattr(saved, name).dtype
    known, *unknown = loaded.segments
    assert [segment.overdispersion for segment in unknown] == [None, None]
    assert known.overdispersion is not None
    assert full_baseline.segments[0].overdispersion is not None
    assert (known.overdispersion.windows, known.overdispersion.counts) == (25, 3.5)
    assert known.overdispersion.means.tobytes() == full_baseline.segments[0].overdispersion.means.tobytes()
    assert loaded.descriptions == full_baseline.descriptions
    assert serialize(loaded) == serialize(full_baseline)


def test_parse_of_plain_baseline_has_no_overdispersion_segments_or_names(baseline: Baseline) -> None:
    loaded = parse(serialize(baseline))
    assert loaded.overdispersion is None
    assert loaded.segments == ()
    assert loaded.names == (None,) * 6
    assert loaded.example_ids == ((),) * 6


def test_names_and_examples_are_those_of_descriptions(full_baseline: Baseline) -> None:
    loaded = parse(serialize(full_baseline))
    assert loaded.names == (*HOSTILE_NAMES, None)
    assert loaded.example_ids[0] == ("köln-0", HOSTILE_NAMES[0])


def test_file_without_names_has_no_descriptions(path: Path) -> None:
    """Versions that know no descriptions read it."""
    assert header_of(path).keys() == {"format_version", "identity", "metadata", "segments"}
    assert load(path).names == (None,) * 6


def test_fields_of_later_versions_are_ignored(path: Path, full_baseline: Baseline) -> None:
    path.write_bytes(serialize(full_baseline))
    header = header_of(path)
    for part in (header, header["metadata"], *header["segments"], *header["descriptions"]):
        part["later"] = 1
    write(path, load_tensors(path.read_bytes()), header)
    assert serialize(load(path)) == serialize(full_baseline)


def test_positions_are_means_in_standard_deviations(baseline: Baseline) -> None:
    positions = baseline.positions
    assert positions.shape == (6, 2)
    assert positions[3, 1] == baseline.cluster_means[3, 1] / np.sqrt(baseline.variances[1])
    # All vectors together lie at the origin: of those counted the mean lies near.
    assert np.average(positions, axis=0, weights=baseline.counts) == pytest.approx(0, abs=0.1)


def test_positions_of_one_component_lie_on_line() -> None:
    projection = Projection(MEAN, np.eye(4, dtype=np.float32)[:1], np.array([0.25]))
    means = np.array([[-1.0], [0.5], [0.0], [2.0]])
    baseline = build_baseline(reference=build_reference(projection=projection), cluster_means=means)
    assert baseline.positions[:, 0].tolist() == [-2, 1, 0, 4]
    assert baseline.positions[:, 1].tolist() == [0] * 4


def test_save_rejects_header_beyond_limit(baseline: Baseline, path: Path, monkeypatch: Any) -> None:
    content = path.read_bytes()
    monkeypatch.setattr(artifact, "MAX_HEADER_BYTES", 100)
    with pytest.raises(BaselineError, match=r"the header with the clusters' names .* fit fewer clusters"):
        save(baseline, path)
    assert path.read_bytes() == content


def test_radii_are_99_percent_distance_quantiles(baseline: Baseline) -> None:
    assert baseline.radii.dtype == np.float32
    assert baseline.radii.tolist() == baseline.distance_quantiles[:, -1].tolist()
    assert baseline.distances(0.5).tolist() == baseline.distance_quantiles[:, 2].tolist()


def test_save_of_equal_baselines_writes_equal_bytes(baseline: Baseline, path: Path, tmp_path: Path) -> None:
    save(load(path), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_parse_restores_baseline_from_file_content(baseline: Baseline, path: Path) -> None:
    content = serialize(baseline)
    assert content == path.read_bytes()
    parsed = parse(content)
    assert parsed.metadata == baseline.metadata
    assert parsed.identity == baseline.identity
    assert parsed.centroids.values.tobytes() == baseline.centroids.values.tobytes()
    assert serialize(parsed) == content


def test_parse_rejects_damaged_content_without_naming_file(baseline: Baseline) -> None:
    content = serialize(baseline)
    altered = content[:-1] + bytes([content[-1] ^ 1])
    for damaged, fault in (
        (b"", "not a complete safetensors file"),
        (b"not a baseline", "not a complete safetensors file"),
        (content[:-1], "not a complete safetensors file"),
        (content + b"x", "not a complete safetensors file"),
        (altered, "the content was altered"),
    ):
        with pytest.raises(BaselineError, match=f"^{fault}"):
            parse(damaged)


def test_save_replaces_file_and_leaves_no_other_file(baseline: Baseline, path: Path) -> None:
    path.write_bytes(b"something older")
    save(baseline, path)
    assert load(path).identity == baseline.identity
    assert list(path.parent.iterdir()) == [path]


def test_save_applies_umask(path: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_save_into_missing_folder_names_path(baseline: Baseline, tmp_path: Path) -> None:
    target = tmp_path / "missing" / "stream.safetensors"
    with pytest.raises(BaselineError, match=f"{re.escape(str(target))}: cannot write.*No such file"):
        save(baseline, target)


def test_failed_save_leaves_folder_unchanged(baseline: Baseline, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BaselineError, match="cannot write"):
        save(baseline, tmp_path / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_import_of_artifact_loads_no_scikit_learn() -> None:
    code = "import sys, driftgauge.baseline.artifact, driftgauge.baseline.report; print(*sys.modules)"
    shown = run_python(code).stdout
    assert "safetensors" in shown
    assert "sklearn" not in shown
    assert "scipy.stats" not in shown
