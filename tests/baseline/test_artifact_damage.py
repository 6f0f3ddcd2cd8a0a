"""Damaged baseline files are refused with the reason."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save_file

from driftgauge.baseline.artifact import (
    MAX_HEADER_BYTES,
    Baseline,
    ClusterDescription,
    load,
    parse,
    save,
    serialize,
)
from driftgauge.errors import BaselineError
from tests.builders.baselines import OPTIONAL_ARRAYS, header_of, write

CLUSTERS = 6


def test_load_of_missing_file_names_path(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"none\.safetensors: cannot read.*No such file.*check the path"):
        load(tmp_path / "none.safetensors")


def test_load_rejects_flipped_bit_of_arrays(path: Path) -> None:
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for position in range(start, len(content), 13):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x40]) + content[position + 1 :])
        with pytest.raises(BaselineError, match=r"altered: the header states sha256:\w+.*baseline fit"):
            load(path)


def test_load_rejects_truncated_file(path: Path) -> None:
    content = path.read_bytes()
    for length in [0, 1, 7, 8, 9, *range(10, len(content), 101), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(BaselineError, match="not a complete safetensors file"):
            load(path)


def test_load_rejects_trailing_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(BaselineError, match="not a complete safetensors file"):
        load(path)


def test_load_rejects_pickle(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04\x95" + b"cposix\nsystem\n" * 20)
    with pytest.raises(BaselineError, match="not a"):
        load(path)


def test_load_rejects_huge_header(tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(BaselineError, match="header is larger than 4,194,304 bytes"):
        load(path)


def test_load_rejects_huge_file(tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    with path.open("wb") as file:
        file.truncate(256 * 1024 * 1024 + 1)  # sparse: takes no space
    with pytest.raises(BaselineError, match="larger than 268,435,456 bytes"):
        load(path)


def test_load_rejects_other_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(BaselineError, match="not a driftgauge baseline"):
        load(path)


def test_load_of_later_format_names_version(path: Path) -> None:
    header = header_of(path) | {"format_version": 5, "something": "new"}
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match="format version is 5; this driftgauge reads version 4"):
        load(path)


@pytest.mark.parametrize("header", ["", "[]", "{}", "null", "not json", "[" * 20_000])
def test_load_rejects_header_without_format_version(path: Path, header: str) -> None:
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match="the header has no format version"):
        load(path)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"clusters": "6"}, "metadata.clusters: Input should be a valid integer"),
        ({"metric": "manhattan"}, "metadata.metric: Input should be 'euclidean' or 'cosine'"),
        ({"stream": "a/b"}, "metadata.stream: String should match"),
        ({"created_ms": 10**18}, "metadata.created_ms: Input should be less"),
        ({"window_ms": 0}, "metadata.window_ms: Input should be greater"),
        ({"training_set": 1}, "metadata.training_set: Input should be a valid boolean"),
        ({"stability": 1.5}, "metadata.stability: Input should be less"),
    ],
)
def test_load_names_invalid_metadata(path: Path, change: dict[str, object], fault: str) -> None:
    header = header_of(path)
    header["metadata"] = header["metadata"] | change
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match=re.escape(fault)):
        load(path)


def test_load_rejects_altered_model_version(path: Path) -> None:
    header = header_of(path)
    header["metadata"] = header["metadata"] | {"model_version": "v2"}
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match="the content was altered"):
        load(path)


@pytest.mark.parametrize("change", [{"clusters": 7}, {"dimension": 9}, {"reference_count": 599}])
def test_load_rejects_metadata_that_contradicts_arrays(path: Path, change: dict[str, int]) -> None:
    header = header_of(path)
    header["metadata"] = header["metadata"] | change
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match=r"the metadata states .* but the arrays have"):
        load(path)


def test_load_names_missing_array(path: Path) -> None:
    arrays, header = load_tensors(path.read_bytes()), header_of(path)
    del arrays["mean"]
    write(path, arrays, header)
    with pytest.raises(BaselineError, match=r"the arrays are centroids.*; expected .*mean"):
        load(path)


@pytest.mark.parametrize(
    ("name", "array", "fault"),
    [
        ("counts", np.ones(6, np.int32), r"counts is int32 of shape \(6,\); expected int64 \(k=6\)"),
        ("counts", np.ones(5, np.int64), r"counts is int64 of shape \(5,\); expected int64 \(k=6\)"),
        ("mean", np.ones((8, 1)), r"mean is float64 of shape \(8, 1\); expected float64 \(d=8\)"),
        ("centroids", np.ones(6, np.float32), r"centroids is float32 of shape \(6,\); .* \(k=6, d=\?\)"),
        ("quantile_levels", np.ones(0), r"expected float64 \(q=7\)"),
        ("components", np.ones((0, 8), np.float32), r"components is float32 of shape \(0, 8\)"),
        ("components", np.ones((8, 8), np.float16), "components is float16"),
    ],
)
def test_load_names_array_of_wrong_dtype_or_shape(
    path: Path, name: str, array: np.ndarray, fault: str
) -> None:
    header = header_of(path)
    write(path, load_tensors(path.read_bytes()) | {name: array}, header)
    with pytest.raises(BaselineError, match=fault):
        load(path)


@pytest.mark.parametrize("name", OPTIONAL_ARRAYS)
def test_load_rejects_incomplete_optional_group(full_baseline: Baseline, path: Path, name: str) -> None:
    array = load_tensors(serialize(full_baseline))[name]
    write(path, load_tensors(path.read_bytes()) | {name: array}, header_of(path))
    with pytest.raises(BaselineError, match=rf"the arrays are .*{name}.*; expected .*{name}"):
        load(path)


@pytest.mark.parametrize(
    ("name", "array", "fault"),
    [
        ("dependence_counts", np.ones(2), r"dependence_counts is float64 of shape \(2,\)"),
        ("dependence_means", np.eye(7), r"dependence_means .* expected float64 \(r=8, r=8\)"),
        ("dependence_windows", np.ones(1), r"dependence_windows is float64"),
        ("segment_means", np.zeros((2, 8)), r"segment_means .* expected float64 \(s=3, r=8\)"),
        ("segment_counts", np.ones((3, 6), np.int32), "segment_counts is int32"),
    ],
)
def test_load_names_optional_array_of_wrong_dtype_or_shape(
    full_baseline: Baseline, tmp_path: Path, name: str, array: np.ndarray, fault: str
) -> None:
    path = tmp_path / "full.safetensors"
    save(full_baseline, path)
    write(path, load_tensors(path.read_bytes()) | {name: array}, header_of(path))
    with pytest.raises(BaselineError, match=fault):
        load(path)


def test_load_rejects_segments_without_name(full_baseline: Baseline, tmp_path: Path) -> None:
    path = tmp_path / "full.safetensors"
    save(full_baseline, path)
    header = header_of(path)
    header["segments"] = header["segments"][:2]
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match="the header names 2 segments, but the arrays hold 3"):
        load(path)


def test_longest_names_of_most_segments_fit_into_header(full_baseline: Baseline) -> None:
    segment = dataclasses.replace(full_baseline.segments[1], counts=full_baseline.counts // 70, outliers=1)
    segments = tuple(
        dataclasses.replace(segment, key="\x01" * 256, value=f"{number:02}" + "\x01" * 254)
        for number in range(64)
    )
    most = dataclasses.replace(full_baseline, segments=segments)
    content = serialize(most)
    assert int.from_bytes(content[:8], "little") < 256 * 1024
    assert parse(content).identity == most.identity


def test_longest_descriptions_of_2000_clusters_fit_into_header(full_baseline: Baseline) -> None:
    longest = ClusterDescription(
        name='"' * 80, example_ids=tuple("\\" * 63 + str(number) for number in range(5))
    )
    size = header_size(dataclasses.replace(full_baseline, descriptions=(longest,) * CLUSTERS))
    added = (size - header_size(full_baseline)) / CLUSTERS
    assert 256 * 1024 + 2_000 * added < MAX_HEADER_BYTES


def header_size(baseline: Baseline) -> int:
    return int.from_bytes(serialize(baseline)[:8], "little")


@pytest.mark.parametrize(
    "description",
    [
        {"name": ""},
        {"name": "a" * 81},
        {"name": "é" * 41},
        {"name": "a\nb"},
        {"name": "\u202ea"},
        {"name": 7},
        {"example_ids": ["a" * 65]},
        {"example_ids": [""]},
        {"example_ids": list("abcdef")},
    ],
)
def test_load_rejects_invalid_description(path: Path, description: dict[str, object]) -> None:
    header = header_of(path)
    header["descriptions"] = [description] * CLUSTERS
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match=r"the header is not valid: descriptions\.0"):
        load(path)


def test_load_rejects_wrong_number_of_descriptions(path: Path) -> None:
    header = header_of(path)
    header["descriptions"] = [{}]
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match="1 descriptions of clusters, but there are"):
        load(path)
