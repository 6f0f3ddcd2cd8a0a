"""Tests of `driftgauge.baseline.artifact`."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from driftgauge.baseline import artifact
from driftgauge.baseline.artifact import Baseline, load, save, serialize
from driftgauge.baseline.metadata import ExampleDescription
from driftgauge.core.counting.projection import Projection
from driftgauge.errors import BaselineError, InputError
from tests.builders.baselines import HOSTILE_NAMES, MEAN, build_baseline, header_of
from tests.builders.references import build_reference


def test_load_after_save_restores_every_bit(baseline: Baseline, full_baseline: Baseline, path: Path) -> None:
    for saved in (full_baseline, baseline):
        save(saved, path)
        loaded = load(path)
        assert serialize(loaded) == serialize(saved) == path.read_bytes()
        np.testing.assert_equal(dataclasses.asdict(loaded), dataclasses.asdict(saved))
    assert (loaded.names, loaded.examples) == ((None,) * 6, (ExampleDescription(),) * 6)
    assert full_baseline.names == (*HOSTILE_NAMES, None)
    assert full_baseline.examples[0].example_ids == ("köln-0", HOSTILE_NAMES[0])
    assert header_of(path).keys() == {"format_version", "identity", "metadata", "segments"}


def test_baseline_too_large_to_be_read_keeps_the_former_file(
    baseline: Baseline, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("former")
    monkeypatch.setattr(artifact, "MAX_FILE_BYTES", len(serialize(baseline)) - 1)
    with pytest.raises(BaselineError, match=r"the baseline takes .* fit fewer clusters"):
        save(baseline, path)
    assert path.read_text() == "former"


def test_positions_are_means_in_standard_deviations(baseline: Baseline) -> None:
    positions = baseline.positions
    assert positions.shape == (6, 2)
    assert positions[3, 1] == baseline.cluster_means[3, 1] / np.sqrt(baseline.variances[1])
    # All vectors together lie at the origin: of those counted the mean lies near.
    assert np.average(positions, axis=0, weights=baseline.counts) == pytest.approx(0, abs=0.1)
    # Those of one component lie on a line.
    projection = Projection(MEAN, np.eye(4, dtype=np.float32)[:1], np.array([0.25]))
    means = np.array([[-1.0], [0.5], [0.0], [2.0]])
    flat = build_baseline(reference=build_reference(projection=projection), cluster_means=means)
    assert flat.positions.tolist() == [[-2, 0], [1, 0], [0, 0], [4, 0]]


def test_save_replaces_file_and_leaves_no_other_file(baseline: Baseline, path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"something older")
    save(baseline, path)
    assert load(path).identity == baseline.identity
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode, "the umask applies"


def test_failed_save_names_path_and_leaves_folder_unchanged(baseline: Baseline, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "missing" / "stream.safetensors", tmp_path / "folder"):
        with pytest.raises(InputError, match=f"{re.escape(str(target))}: cannot write"):
            save(baseline, target)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
