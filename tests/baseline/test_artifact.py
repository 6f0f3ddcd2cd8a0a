import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save_file

from driftgauge.baseline.artifact import Baseline, load, parse, save, serialize
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.errors import BaselineError

ARRAYS = ("counts", "quantile_levels", "distance_quantiles", "mean", "components", "variances")
OPTIONAL_ARRAYS = (
    "dependence_counts",
    "dependence_means",
    "dependence_windows",
    "segment_counts",
    "segment_covariances",
    "segment_dependence_counts",
    "segment_dependence_means",
    "segment_dependence_windows",
    "segment_means",
)


def header_of(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["driftgauge"])


def write(path: Path, arrays: dict[str, np.ndarray], header: object) -> Path:
    save_file(
        arrays, path, metadata={"driftgauge": header if isinstance(header, str) else json.dumps(header)}
    )
    return path


@pytest.fixture
def path(baseline: Baseline, tmp_path: Path) -> Path:
    path = tmp_path / "stream.safetensors"
    save(baseline, path)
    return path


def test_what_was_saved_is_loaded_bit_by_bit(baseline: Baseline, path: Path) -> None:
    loaded = load(path)
    assert loaded.metadata == baseline.metadata
    assert loaded.identity == baseline.identity
    assert loaded.centroids.metric is DistanceMetric.EUCLIDEAN
    assert loaded.centroids.values.tobytes() == baseline.centroids.values.tobytes()
    for name in ARRAYS:
        assert getattr(loaded, name).tobytes() == getattr(baseline, name).tobytes()
        assert getattr(loaded, name).dtype == getattr(baseline, name).dtype


def test_what_related_events_do_and_the_segments_are_loaded_bit_by_bit(full_baseline: Baseline) -> None:
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
    assert serialize(loaded) == serialize(full_baseline)


def test_without_them_there_are_none(baseline: Baseline) -> None:
    loaded = parse(serialize(baseline))
    assert loaded.overdispersion is None
    assert loaded.segments == ()


def test_radii_are_the_99_percent_quantiles(baseline: Baseline) -> None:
    assert baseline.radii.dtype == np.float32
    assert baseline.radii.tolist() == baseline.distance_quantiles[:, -1].tolist()
    assert baseline.distances(0.5).tolist() == baseline.distance_quantiles[:, 2].tolist()


def test_the_same_baseline_is_the_same_bytes(baseline: Baseline, path: Path, tmp_path: Path) -> None:
    save(load(path), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_the_bytes_of_a_file_are_the_baseline_without_the_file(baseline: Baseline, path: Path) -> None:
    content = serialize(baseline)
    assert content == path.read_bytes()
    parsed = parse(content)
    assert parsed.metadata == baseline.metadata
    assert parsed.identity == baseline.identity
    assert parsed.centroids.values.tobytes() == baseline.centroids.values.tobytes()
    assert serialize(parsed) == content


def test_bytes_are_verified_as_a_file_is_and_the_error_names_no_file(baseline: Baseline) -> None:
    content = serialize(baseline)
    altered = content[:-1] + bytes([content[-1] ^ 1])
    for damaged, fault in (
        (b"", "not a whole safetensors file"),
        (b"not a baseline", "not a whole safetensors file"),
        (content[:-1], "not a whole safetensors file"),
        (content + b"x", "not a whole safetensors file"),
        (altered, "its content was altered"),
    ):
        with pytest.raises(BaselineError, match=f"^{fault}"):
            parse(damaged)


def test_saving_replaces_the_file_and_leaves_nothing_else(baseline: Baseline, path: Path) -> None:
    path.write_bytes(b"something older")
    save(baseline, path)
    assert load(path).identity == baseline.identity
    assert list(path.parent.iterdir()) == [path]


def test_other_users_may_read_the_file_as_the_umask_says(path: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_that_cannot_be_written_is_named(baseline: Baseline, tmp_path: Path) -> None:
    target = tmp_path / "missing" / "stream.safetensors"
    with pytest.raises(BaselineError, match=f"{re.escape(str(target))}: cannot write.*No such file"):
        save(baseline, target)


def test_a_failed_write_leaves_what_was_there(baseline: Baseline, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BaselineError, match="cannot write"):
        save(baseline, tmp_path / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def published_identity(content: bytes, segments: str, window_ms: str) -> str:
    parts = ",".join(
        f'"{name}":{{"dtype":"{array.dtype}","sha256":"{hashlib.sha256(array.tobytes()).hexdigest()}",'
        f'"shape":{json.dumps(array.shape, separators=(",", ":"))}}}'
        for name, array in sorted(load_tensors(content).items())
    )
    text = (
        f'{{"arrays":{{{parts}}},"format_version":2,"metric":"euclidean","model_version":"v1",'
        f'"segments":{segments},"stream":"resnet18-fc1","window_ms":{window_ms}}}'
    )
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_the_identity_follows_the_published_definition(baseline: Baseline, full_baseline: Baseline) -> None:
    assert baseline.identity == published_identity(serialize(baseline), "[]", "null")
    segments = '[["country","de"],["country","other"],["größe","xl"]]'
    assert full_baseline.identity == published_identity(serialize(full_baseline), segments, "3600000")


@pytest.mark.parametrize("change", [{"stream": "other"}, {"model_version": None}, {"model_version": "vé"}])
def test_the_identity_changes_with_what_decides_a_result(
    baseline: Baseline, change: dict[str, str | None]
) -> None:
    other = dataclasses.replace(baseline, metadata=baseline.metadata.model_copy(update=change))
    assert other.identity != baseline.identity


@pytest.mark.parametrize("name", ARRAYS)
def test_the_identity_changes_with_the_last_bit_of_each_array(baseline: Baseline, name: str) -> None:
    array = getattr(baseline, name).copy()
    if name == "counts":
        array[:2] += np.array([1, -1])
    else:
        array.flat[0] = np.nextafter(array.flat[0], array.dtype.type(0))
    assert dataclasses.replace(baseline, **{name: array}).identity != baseline.identity


@pytest.mark.parametrize("name", OPTIONAL_ARRAYS)
def test_the_identity_changes_with_the_last_bit_of_each_optional_array(
    full_baseline: Baseline, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "full.safetensors"
    save(full_baseline, path)
    header, arrays = header_of(path), load_tensors(path.read_bytes())
    array = arrays[name].copy()
    array.flat[0] = array.flat[0] + 1 if array.dtype == np.int64 else np.nextafter(array.flat[0], 9)
    write(path, arrays | {name: array}, header)
    with pytest.raises(BaselineError, match="its content was altered"):
        load(path)


@pytest.mark.parametrize("change", [("country", "fr"), ("land", "de")])
def test_the_identity_changes_with_a_segments_name(full_baseline: Baseline, change: tuple[str, str]) -> None:
    key, value = change
    renamed = dataclasses.replace(full_baseline.segments[0], key=key, value=value)
    other = dataclasses.replace(full_baseline, segments=(renamed, *full_baseline.segments[1:]))
    assert other.identity != full_baseline.identity


def test_the_identity_changes_with_the_windows_behind_the_overdispersion(full_baseline: Baseline) -> None:
    metadata = full_baseline.metadata.model_copy(update={"window_ms": 60_000})
    assert dataclasses.replace(full_baseline, metadata=metadata).identity != full_baseline.identity


def test_the_identity_does_not_change_with_where_and_when_it_was_made(baseline: Baseline) -> None:
    update = {
        "created_ms": 5,
        "seed": 99,
        "versions": {},
        "fitted_count": 1,
        "stability": 0.5,
        "training_set": True,
    }
    other = dataclasses.replace(baseline, metadata=baseline.metadata.model_copy(update=update))
    assert other.identity == baseline.identity


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"none\.safetensors: cannot read.*No such file.*check the path"):
        load(tmp_path / "none.safetensors")


def test_every_flipped_byte_of_the_arrays_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for position in range(start, len(content), 13):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x40]) + content[position + 1 :])
        with pytest.raises(BaselineError, match=r"altered: it says it is sha256:\w+.*baseline fit"):
            load(path)


def test_every_truncation_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    for length in [0, 1, 7, 8, 9, *range(10, len(content), 101), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(BaselineError, match="not a whole safetensors file"):
            load(path)


def test_bytes_after_the_end_are_noticed(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(BaselineError, match="not a whole safetensors file"):
        load(path)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04\x95" + b"cposix\nsystem\n" * 20)
    with pytest.raises(BaselineError, match="not a"):
        load(path)


def test_a_huge_header_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(BaselineError, match="header would be larger than 262,144 bytes"):
        load(path)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    with path.open("wb") as file:
        file.truncate(256 * 1024 * 1024 + 1)  # sparse: takes no space
    with pytest.raises(BaselineError, match="larger than the 268,435,456 bytes"):
        load(path)


def test_another_safetensors_file_is_not_a_baseline(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(BaselineError, match="not a driftgauge baseline"):
        load(path)


def test_a_later_format_is_refused_by_its_number(path: Path) -> None:
    header = header_of(path) | {"format_version": 3, "something": "new"}
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match="format version is 3, and this driftgauge reads version 2"):
        load(path)


@pytest.mark.parametrize("header", ["", "[]", "{}", "null", "not json", "[" * 20_000])
def test_a_header_without_a_format_is_refused(path: Path, header: str) -> None:
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match="does not say in which format"):
        load(path)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"clusters": "6"}, "metadata.clusters: Input should be a valid integer"),
        ({"metric": "manhattan"}, "metadata.metric: Input should be 'euclidean' or 'cosine'"),
        ({"stream": "a/b"}, "metadata.stream: String should match"),
        ({"created_ms": 10**18}, "metadata.created_ms: Input should be less"),
        ({"extra": 1}, "metadata.extra: Extra inputs"),
        ({"window_ms": 0}, "metadata.window_ms: Input should be greater"),
        ({"training_set": 1}, "metadata.training_set: Input should be a valid boolean"),
        ({"stability": 1.5}, "metadata.stability: Input should be less"),
    ],
)
def test_invalid_metadata_is_named(path: Path, change: dict[str, object], fault: str) -> None:
    header = header_of(path)
    header["metadata"] = header["metadata"] | change
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match=re.escape(fault)):
        load(path)


def test_metadata_that_decides_a_result_cannot_be_altered(path: Path) -> None:
    header = header_of(path)
    header["metadata"] = header["metadata"] | {"model_version": "v2"}
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match="its content was altered"):
        load(path)


@pytest.mark.parametrize("change", [{"clusters": 7}, {"dimension": 9}, {"reference_count": 599}])
def test_metadata_that_contradicts_the_arrays_is_refused(path: Path, change: dict[str, int]) -> None:
    header = header_of(path)
    header["metadata"] = header["metadata"] | change
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match=r"its metadata says .* it holds"):
        load(path)


def test_a_missing_array_is_named(path: Path) -> None:
    arrays, header = load_tensors(path.read_bytes()), header_of(path)
    del arrays["mean"]
    write(path, arrays, header)
    with pytest.raises(BaselineError, match=r"it holds the arrays centroids.*and should hold.*mean"):
        load(path)


@pytest.mark.parametrize(
    ("name", "array", "fault"),
    [
        ("counts", np.ones(6, np.int32), r"counts is int32 of shape \(6,\), and should be int64 \(k=6\)"),
        ("counts", np.ones(5, np.int64), r"counts is int64 of shape \(5,\), and should be int64 \(k=6\)"),
        ("mean", np.ones((8, 1)), r"mean is float64 of shape \(8, 1\), and should be float64 \(d=8\)"),
        ("centroids", np.ones(6, np.float32), r"centroids is float32 of shape \(6,\), .* \(k=6, d=\?\)"),
        ("quantile_levels", np.ones(0), r"should be float64 \(q=7\)"),
        ("components", np.ones((0, 8), np.float32), r"components is float32 of shape \(0, 8\)"),
        ("components", np.ones((8, 8), np.float16), "components is float16"),
    ],
)
def test_an_array_of_the_wrong_kind_is_named(path: Path, name: str, array: np.ndarray, fault: str) -> None:
    header = header_of(path)
    write(path, load_tensors(path.read_bytes()) | {name: array}, header)
    with pytest.raises(BaselineError, match=fault):
        load(path)


@pytest.mark.parametrize("name", OPTIONAL_ARRAYS)
def test_an_array_without_the_others_of_its_group_is_refused(
    full_baseline: Baseline, path: Path, name: str
) -> None:
    array = load_tensors(serialize(full_baseline))[name]
    write(path, load_tensors(path.read_bytes()) | {name: array}, header_of(path))
    with pytest.raises(BaselineError, match=rf"it holds the arrays .*{name}.*and should hold .*{name}"):
        load(path)


@pytest.mark.parametrize(
    ("name", "array", "fault"),
    [
        ("dependence_counts", np.ones(2), r"dependence_counts is float64 of shape \(2,\)"),
        ("dependence_means", np.eye(7), r"dependence_means .* should be float64 \(r=8, r=8\)"),
        ("dependence_windows", np.ones(1), r"dependence_windows is float64"),
        ("segment_means", np.zeros((2, 8)), r"segment_means .* should be float64 \(s=3, r=8\)"),
        ("segment_counts", np.ones((3, 6), np.int32), "segment_counts is int32"),
    ],
)
def test_an_optional_array_of_the_wrong_kind_is_named(
    full_baseline: Baseline, tmp_path: Path, name: str, array: np.ndarray, fault: str
) -> None:
    path = tmp_path / "full.safetensors"
    save(full_baseline, path)
    write(path, load_tensors(path.read_bytes()) | {name: array}, header_of(path))
    with pytest.raises(BaselineError, match=fault):
        load(path)


def test_segments_without_a_name_are_refused(full_baseline: Baseline, tmp_path: Path) -> None:
    path = tmp_path / "full.safetensors"
    save(full_baseline, path)
    header = header_of(path)
    header["segments"] = header["segments"][:2]
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match="its header names 2 segments, and it holds 3"):
        load(path)


def test_the_longest_names_of_the_most_segments_fit_into_a_header(full_baseline: Baseline) -> None:
    segment = dataclasses.replace(full_baseline.segments[1], counts=full_baseline.counts // 70)
    segments = tuple(
        dataclasses.replace(segment, key="\x01" * 256, value=f"{number:02}" + "\x01" * 254)
        for number in range(64)
    )
    most = dataclasses.replace(full_baseline, segments=segments)
    content = serialize(most)
    assert int.from_bytes(content[:8], "little") < 256 * 1024
    assert parse(content).identity == most.identity


def with_first(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[0] = value
    return changed


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("counts", -1, "counts must not be negative"),
        ("distance_quantiles", np.nan, "array distance_quantiles holds values that are not finite"),
        ("mean", np.inf, "array mean holds values that are not finite"),
        ("distance_quantiles", -0.1, "distance quantiles must grow from 0"),
        ("distance_quantiles", 1e9, "distance quantiles must grow from 0"),
        ("quantile_levels", -0.5, "quantile levels must grow within 0 to 1"),
        ("quantile_levels", 0.9, "quantile levels must grow within 0 to 1"),
        ("variances", 0, "variances must be positive"),
    ],
)
def test_values_that_cannot_be_are_refused(baseline: Baseline, name: str, value: float, fault: str) -> None:
    array = with_first(getattr(baseline, name), value)
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(baseline, **{name: array})


@pytest.mark.parametrize(
    ("overdispersion", "fault"),
    [
        (Overdispersion(0, 1.0, np.eye(8)), "of at least one window"),
        (Overdispersion(20, 0.9, np.eye(8)), "overdispersion of the counts must be 1 or more"),
        (
            Overdispersion(19, 1.0, np.eye(8)),
            "must be of 20 windows or more, .* is of 19 windows and 600 vectors",
        ),
        (Overdispersion(601, 1.0, np.eye(8)), "at most one a vector; one is of 601 windows"),
        (Overdispersion(20, 360_001.0, np.eye(8)), "of 600 vectors cannot vary 360001 times as much"),
        (Overdispersion(20, 1e300, np.eye(8)), r"of 600 vectors cannot vary 1e\+300 times as much"),
        (
            Overdispersion(20, 1.0, np.diag([1.0] * 7 + [1e9])),
            r"of 600 vectors cannot vary 1e\+09 times as much",
        ),
        (Overdispersion(20, np.inf, np.eye(8)), "dependence_counts holds values that are not finite"),
        (Overdispersion(20, 1.0, -np.eye(8)), "overdispersion of the means must be a covariance"),
        (Overdispersion(20, 1.0, np.ones((8, 8))), "overdispersion of the means must be a covariance"),
        (Overdispersion(20, 1.0, np.triu(np.full((8, 8), 0.1)) + np.eye(8)), "must be a covariance"),
    ],
)
def test_a_overdispersion_that_cannot_be_is_refused(
    full_baseline: Baseline, overdispersion: Overdispersion, fault: str
) -> None:
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(full_baseline, overdispersion=overdispersion)


def test_the_strongest_overdispersion_that_can_be_is_accepted(full_baseline: Baseline) -> None:
    strongest = Overdispersion(20, 360_000.0, np.eye(8))
    accepted = dataclasses.replace(full_baseline, overdispersion=strongest)
    assert accepted.overdispersion is strongest
    assert 360_000 < strongest.inflation(6) < np.inf


def test_more_components_than_are_fitted_are_refused(baseline: Baseline) -> None:
    many = {"components": np.ones((33, 8), np.float32), "variances": np.ones(33)}
    with pytest.raises(BaselineError, match="it has 33 components, and 32 are the most"):
        dataclasses.replace(baseline, **many)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"counts": np.zeros(6, np.int64)}, "counts of a segment must not be negative nor all zero"),
        ({"covariance": np.ones((8, 8))}, "covariance of a segment must be one"),
        ({"overdispersion": Overdispersion(-1, 1.0, np.eye(8))}, "of a segment must be of no window or more"),
        ({"overdispersion": Overdispersion(0, 1.0, np.eye(8))}, "must be of 20 windows or more"),
        ({"overdispersion": Overdispersion(19, 1.0, np.eye(8))}, "must be of 20 windows or more"),
        ({"overdispersion": Overdispersion(20, 360_000.0, np.eye(8))}, "cannot vary 360000 times as much"),
        (
            {"overdispersion": Overdispersion(20, 0.9, np.eye(8))},
            "overdispersion of a segment's counts must be 1",
        ),
        (
            {"overdispersion": Overdispersion(20, 1.0, -np.eye(8))},
            "overdispersion of a segment's means must be a cov",
        ),
        ({"overdispersion": Overdispersion(20, 1.0, np.eye(7))}, "its segments do not fit each other"),
        (
            {"counts": np.full(6, 10**6)},
            "its segments by country hold more vectors of a cluster than it does",
        ),
        ({"value": "other"}, "two of its segments have the same key and value"),
        ({"value": "x" * 257}, "a segment cannot be named so: value: String should have at most 256"),
        ({"counts": np.ones(5, np.int64)}, "its segments do not fit each other"),
    ],
)
def test_a_segment_that_cannot_be_is_refused(
    full_baseline: Baseline, change: dict[str, object], fault: str
) -> None:
    segment = dataclasses.replace(full_baseline.segments[0], **change)
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(full_baseline, segments=(segment, *full_baseline.segments[1:]))


def test_segments_are_not_known_better_than_the_whole(full_baseline: Baseline) -> None:
    metadata = full_baseline.metadata.model_copy(update={"window_ms": None})
    with pytest.raises(BaselineError, match="a segment's overdispersion is known, and not that of the whole"):
        dataclasses.replace(full_baseline, metadata=metadata, overdispersion=None)


def test_more_segments_than_are_bounded_are_refused(full_baseline: Baseline) -> None:
    segment = dataclasses.replace(full_baseline.segments[0], counts=full_baseline.counts // 70)
    segments = tuple(dataclasses.replace(segment, value=str(number)) for number in range(65))
    with pytest.raises(BaselineError, match="it has 65 segments, and 64 are the most"):
        dataclasses.replace(full_baseline, segments=segments)


def test_the_length_of_windows_and_the_overdispersion_belong_together(
    baseline: Baseline, full_baseline: Baseline
) -> None:
    for known, unknown in ((full_baseline, baseline), (baseline, full_baseline)):
        with pytest.raises(BaselineError, match="must give the length of the windows"):
            dataclasses.replace(known, metadata=unknown.metadata)


def test_quantile_levels_without_the_median_are_refused(baseline: Baseline) -> None:
    with pytest.raises(BaselineError, match=r"0\.5 and 0\.99 among them"):
        dataclasses.replace(baseline, quantile_levels=np.linspace(0.6, 0.99, 7))


def test_cosine_centroids_that_are_not_of_unit_length_are_refused(baseline: Baseline) -> None:
    with pytest.raises(BaselineError, match="must be of unit length"):
        dataclasses.replace(baseline, centroids=Centroids(baseline.centroids.values, DistanceMetric.COSINE))


def test_a_metric_that_contradicts_the_metadata_is_refused(baseline: Baseline) -> None:
    metadata = baseline.metadata.model_copy(update={"metric": DistanceMetric.COSINE})
    with pytest.raises(BaselineError, match="its metadata says"):
        dataclasses.replace(baseline, metadata=metadata)


def test_metadata_cannot_be_changed(baseline: Baseline) -> None:
    with pytest.raises(ValueError, match="frozen"):
        baseline.metadata.seed = 4


def test_loading_a_baseline_needs_no_scikit_learn() -> None:
    code = "import sys, driftgauge.baseline.artifact, driftgauge.baseline.report; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "safetensors" in shown
    assert "sklearn" not in shown
    assert "scipy.stats" not in shown
