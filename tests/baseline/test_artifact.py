"""The file of a baseline and its identity, as `schemas/baseline.md` defines them; files of other versions."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors

from driftgauge import api
from driftgauge.baseline import artifact
from driftgauge.baseline.artifact import Baseline, load, parse, save, serialize
from driftgauge.baseline.metadata import ExampleDescription
from driftgauge.baseline.quality import notes
from driftgauge.core.counting.projection import Projection
from driftgauge.core.statistics import registry
from driftgauge.errors import BaselineError, InputError
from tests.builders.baselines import (
    ARRAYS,
    HOSTILE_NAMES,
    MEAN,
    build_baseline,
    fit,
    header_of,
    with_metadata,
    write,
)
from tests.builders.references import build_reference
from tests.core.statistics.toy import TOY
from tests.records.test_golden import held
from tests.tools.golden import golden_baseline, golden_files, to_json


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


def published_identity(content: bytes, segments: str, window_ms: str, must_understand: str = "") -> str:
    parts = ",".join(
        f'"{name}":{{"dtype":"{array.dtype}","sha256":"{hashlib.sha256(array.tobytes()).hexdigest()}",'
        f'"shape":{json.dumps(array.shape, separators=(",", ":"))}}}'
        for name, array in sorted(load_tensors(content).items())
    )
    text = (
        f'{{"arrays":{{{parts}}},"fitted_count":600,"format_version":7,"metric":"euclidean","model_version":"v1",'
        f'{must_understand}"segments":{segments},"stream":"resnet18-fc1","window_ms":{window_ms}}}'
    )
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_identity_matches_published_definition(baseline: Baseline, full_baseline: Baseline) -> None:
    assert baseline.identity == published_identity(serialize(baseline), "[]", "null")
    segments = '[["country","de"],["country","other"],["größe","xl"]]'
    assert full_baseline.identity == published_identity(serialize(full_baseline), segments, "3600000")
    mixed = with_metadata(baseline, mixed_windows=True)
    required = '"must_understand":{"mixed_windows":true},'
    assert mixed.identity == published_identity(serialize(mixed), "[]", "null", required)


def changed(baseline: Baseline, **change: object) -> str:
    return dataclasses.replace(baseline, **change).identity


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"stream": "other"}, False),
        ({"model_version": None}, False),
        ({"model_version": "vé"}, False),
        ({"fitted_count": 700}, False),
        ({"window_ms": 60_000}, False),
        # The origin of a fit.
        ({"created_ms": 5, "seed": 99, "versions": {}, "stability": 0.5, "training_set": True}, True),
    ],
)
def test_identity_changes_with_metadata_that_matter(
    full_baseline: Baseline, change: dict[str, object], is_same: bool
) -> None:
    metadata = full_baseline.metadata.model_copy(update=change)
    assert (changed(full_baseline, metadata=metadata) == full_baseline.identity) is is_same


@pytest.mark.parametrize("name", [*ARRAYS, "hash_counts", "spread_moments"])
def test_identity_changes_with_last_bit_of_array(baseline: Baseline, name: str) -> None:
    array = baseline.arrays.get(name, getattr(baseline, name, None)).copy()
    if name in ("counts", "hash_counts"):
        array[:2] += np.array([1, -1])
    else:
        array.flat[0] = np.nextafter(array.flat[0], array.dtype.type(0))
    change = {"arrays": {**baseline.arrays, name: array}} if name in baseline.arrays else {name: array}
    assert changed(baseline, **change) != baseline.identity


def test_identity_changes_with_name_of_segment_and_not_of_cluster(full_baseline: Baseline) -> None:
    first, *others = full_baseline.segments
    for change in ({"value": "fr"}, {"key": "land"}):
        renamed = dataclasses.replace(first, **change)
        assert changed(full_baseline, segments=(renamed, *others)) != full_baseline.identity
    assert changed(full_baseline, descriptions=()) == full_baseline.identity


LATER = np.arange(3, dtype=np.uint8)


@pytest.mark.parametrize("path", golden_files("baseline", "safetensors"), ids=lambda path: path.stem)
def test_golden_baselines_are_read(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert expected["identity"].startswith("sha256:")
    assert held(expected, to_json(load(path))) == expected


def test_newest_golden_baseline_is_as_this_version_writes() -> None:
    assert golden_files("baseline", "safetensors")[-1].read_bytes() == serialize(golden_baseline()), (
        "the format changed: read schemas/baseline.md, then run python -m tests.tools.golden"
    )


def test_fields_of_later_versions_are_ignored(path: Path, full_baseline: Baseline) -> None:
    path.write_bytes(serialize(full_baseline))
    header = header_of(path)
    for part in (header, header["metadata"], *header["segments"], *header["descriptions"]):
        part["later"] = 1
    write(path, load_tensors(path.read_bytes()), header)
    assert serialize(load(path)) == serialize(full_baseline)


def test_arrays_of_later_versions_are_ignored_and_part_of_identity(
    path: Path, full_baseline: Baseline
) -> None:
    path.write_bytes(serialize(full_baseline))
    arrays = load_tensors(path.read_bytes()) | {"later": LATER, "segment_later": LATER}
    write(path, arrays, header_of(path))
    with pytest.raises(BaselineError, match="the content was altered"):
        load(path)
    segments = '[["country","de"],["country","other"],["größe","xl"]]'
    identity = published_identity(path.read_bytes(), segments, "3600000")
    write(path, arrays, {**header_of(path), "identity": identity})
    loaded = load(path)
    assert loaded.identity == identity
    assert to_json(loaded)["arrays"] == to_json(full_baseline)["arrays"]
    again = parse(serialize(loaded))
    assert (again.identity, again.later["later"].tolist()) == (identity, [0, 1, 2])
    assert [note for note in notes(again) if "this one ignores later, segment_later" in note]


def test_two_versions_give_a_baseline_one_identity(
    blobs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The later version has one statistic more.
    statistics = registry.STATISTICS
    monkeypatch.setattr(registry, "STATISTICS", (*statistics, TOY))
    by_later = fit(blobs)
    assert by_later.untested == ()
    monkeypatch.setattr(registry, "STATISTICS", statistics)
    by_earlier = parse(serialize(by_later))
    assert by_earlier.identity == by_later.identity
    names = {each.name for each in registry.counted(by_later.arrays)} - {TOY.name}
    assert api.score_vectors(by_earlier, blobs).findings.keys() == names
    monkeypatch.setattr(registry, "STATISTICS", (*statistics, TOY))
    assert parse(serialize(by_earlier)).untested == ()


@pytest.mark.parametrize("names", [["later"], ["mixed_windows", "an_array", "later"]])
def test_what_must_be_understood_is_refused_by_name(path: Path, names: list[str]) -> None:
    header = header_of(path)
    # The rest may be of a form that only the later version can read.
    write(path, {"an_array": LATER}, {**header, "must_understand": names, "segments": {}})
    unknown = ", ".join(sorted({*names} - {"mixed_windows"}))
    with pytest.raises(BaselineError, match=rf"stream\.safetensors: it has {unknown}, which a reader must"):
        load(path)


def test_field_that_decides_results_must_be_understood_where_it_is_set(
    baseline: Baseline, path: Path
) -> None:
    assert "must_understand" not in header_of(path)
    mixed = with_metadata(baseline, mixed_windows=True)
    path.write_bytes(serialize(mixed))
    header = header_of(path)
    assert header["must_understand"] == ["mixed_windows"]
    assert load(path).identity == mixed.identity != baseline.identity
    arrays = load_tensors(path.read_bytes())
    write(path, arrays, {name: each for name, each in header.items() if name != "must_understand"})
    with pytest.raises(BaselineError, match=r"must_understand names nothing, .* it names mixed_windows"):
        load(path)
    header["metadata"]["mixed_windows"] = False
    write(path, arrays, {**header, "must_understand": []})
    with pytest.raises(BaselineError, match="the content was altered: the header states"):
        load(path)
