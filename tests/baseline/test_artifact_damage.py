"""Damaged baseline files, and values that the service could not compute with, are refused with the reason."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from driftgauge.baseline.artifact import Baseline, load, parse, serialize
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.errors import BaselineError
from tests.builders.baselines import OPTIONAL_ARRAYS, header_of, with_metadata, write
from tests.builders.references import build_segment_arrays

CLUSTERS = 6


def test_load_of_unusable_file_names_path(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(BaselineError, match=r"x\.safetensors does not exist; fit it"):
        load(path)
    os.mkfifo(path)
    with pytest.raises(BaselineError, match=r"x\.safetensors: cannot read.*a pipe, a device.*check the path"):
        load(path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(256 * 1024 * 1024 + 1)  # sparse: takes no space
    with pytest.raises(BaselineError, match=r"x\.safetensors: .*larger than 268,435,456 bytes"):
        load(path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"not a baseline", r"x\.safetensors: not a complete safetensors file"),
        (b"{}", "not a complete safetensors file"),
        (b"\x80\x04\x95" + b"cposix\nsystem\n" * 20, "not a"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "not a complete safetensors file"),
        (save_tensors({"weight": np.zeros(3, np.float32)}), "not a driftgauge baseline"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(BaselineError, match=fault):
        load(path)


def test_damaged_content_is_refused(path: Path) -> None:
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for position in range(start, len(content), 97):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x40]) + content[position + 1 :])
        with pytest.raises(BaselineError, match=r"altered: the header states sha256:\w+.*baseline fit"):
            load(path)
    truncated = [content[:length] for length in (0, 1, 7, 8, 9, *range(10, len(content), 397), -1)]
    for damaged in (*truncated, content + b"x"):
        with pytest.raises(BaselineError, match=r"^not a complete safetensors file"):
            parse(damaged)


CONTRADICTION = r"the metadata states .* but the arrays have"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"format_version": 8, "later": 1},
            "this driftgauge reads format version 7; restore the file or fit it again",
        ),
        ({"metadata": {"clusters": "6"}}, r"metadata\.clusters: Input should be a valid integer"),
        ({"metadata": {"metric": "manhattan"}}, r"metadata\.metric: Input should be 'euclidean' or 'cosine'"),
        ({"metadata": {"stream": "a b"}}, r"metadata\.stream: String should match"),
        ({"metadata": {"created_ms": 10**18}}, r"metadata\.created_ms: Input should be less"),
        ({"metadata": {"window_ms": 0}}, r"metadata\.window_ms: Input should be greater"),
        ({"metadata": {"training_set": 1}}, r"metadata\.training_set: Input should be a valid boolean"),
        ({"metadata": {"stability": 1.5}}, r"metadata\.stability: Input should be less"),
        ({"metadata": {"model_version": "v2"}}, "the content was altered"),
        ({"metadata": {"clusters": 7}}, CONTRADICTION),
        ({"metadata": {"dimension": 9}}, CONTRADICTION),
        ({"metadata": {"reference_count": 599}}, CONTRADICTION),
        *(
            ({"numbers": {"score": {"low": 0, "high": 1, "tally": [[0] * CLUSTERS] * 5} | each}}, refusal)
            for each, refusal in (
                ({"low": 1}, "the range of a number is empty"),
                ({"high": "1"}, "numbers.score.high: Input should be a valid number"),
                ({"tally": [[0] * CLUSTERS] * 4}, "at least 5 items"),
                ({"tally": [[0] * CLUSTERS] * 4 + [[-1] * CLUSTERS]}, "greater than or equal to 0"),
                ({"tally": [[2**63] * CLUSTERS] * 5}, "less than or equal to"),
                ({"tally": [[0]] * 5}, "the tally of a number is not by the"),
                ({"tally": [[0] * CLUSTERS] * 4 + [[0]]}, "the tally of the number score is no table"),
                ({"between": -1}, "numbers.score.between: Input should be greater"),
            )
        ),
        ({"descriptions": [{}]}, "1 descriptions of clusters, but there are"),
        *(
            ({"descriptions": [each] * CLUSTERS}, r"the header is not valid: descriptions\.0")
            for each in (
                {"name": ""},
                {"name": "a" * 81},
                {"name": "é" * 41},
                {"name": "a\nb"},
                {"name": "\u202ea"},
                {"name": 7},
                {"example_ids": ["a" * 65]},
                {"example_ids": [""]},
                {"example_ids": list("abcdef")},
            )
        ),
    ],
)
def test_invalid_header_is_refused(path: Path, change: dict[str, Any], fault: str) -> None:
    header = header_of(path)
    metadata = header["metadata"] | change.get("metadata", {})
    write(path, load_tensors(path.read_bytes()), {**header, **change, "metadata": metadata})
    with pytest.raises(BaselineError, match=fault):
        load(path)


@pytest.mark.parametrize("header", ["", "[]", "{}", "null", "not json", "[" * 20_000])
def test_other_header_is_refused(path: Path, header: str) -> None:
    write(path, load_tensors(path.read_bytes()), header)
    with pytest.raises(BaselineError, match="the header is not valid"):
        load(path)


@pytest.mark.parametrize(
    ("name", "array", "fault"),
    [
        ("mean", None, r"the arrays are centroids.*; expected .*mean"),
        ("counts", np.ones(6, np.int32), r"counts is int32 of shape \(6,\); expected int64 \(k=6\)"),
        ("counts", np.ones(5, np.int64), r"counts is int64 of shape \(5,\); expected int64 \(k=6\)"),
        ("mean", np.ones((8, 1)), r"mean is float64 of shape \(8, 1\); expected float64 \(d=8\)"),
        ("centroids", np.ones(6, np.float32), r"centroids is float32 of shape \(6,\); .* \(k=6, d=\?\)"),
        ("quantile_levels", np.ones(0), r"expected float64 \(q=7\)"),
        ("components", np.ones((0, 8), np.float32), r"components is float32 of shape \(0, 8\)"),
        ("components", np.ones((8, 8), np.float16), "components is float16"),
        ("overdispersion_counts", np.ones(2), r"overdispersion_counts is float64 of shape \(2,\)"),
        ("overdispersion_means", np.eye(7), r"overdispersion_means .* expected float64 \(r=8, r=8\)"),
        ("overdispersion_windows", np.ones(1), r"overdispersion_windows is float64"),
        ("segment_means", np.zeros((2, 8)), r"segment_means .* expected float64 \(s=3, r=8\)"),
        ("segment_counts", np.ones((3, 6), np.int32), "segment_counts is int32"),
        # A changed bit.
        *((name, "bit", "the content was altered") for name in OPTIONAL_ARRAYS),
        # An array of a group, without the others.
        *((name, "alone", rf"the arrays are .*{name}.*; expected .*{name}") for name in OPTIONAL_ARRAYS),
    ],
)
def test_invalid_array_is_refused(
    baseline: Baseline, full_baseline: Baseline, path: Path, name: str, array: Any, fault: str
) -> None:
    arrays = load_tensors(serialize(full_baseline))
    path.write_bytes(serialize(full_baseline))
    header = header_of(path)
    if isinstance(array, np.ndarray):
        arrays[name] = array
    elif array == "bit":
        first = arrays[name].flat[0]
        arrays[name].flat[0] = first + 1 if isinstance(first, np.int64) else np.nextafter(first, 9)
    elif array == "alone":
        arrays = load_tensors(serialize(baseline)) | {name: arrays[name]}
    else:
        del arrays[name]
    write(path, arrays, header)
    with pytest.raises(BaselineError, match=fault):
        load(path)


def test_segments_without_name_are_refused(full_baseline: Baseline, path: Path) -> None:
    path.write_bytes(serialize(full_baseline))
    header = header_of(path)
    write(path, load_tensors(path.read_bytes()), {**header, "segments": header["segments"][:2]})
    with pytest.raises(BaselineError, match="the header names 2 segments, but the arrays hold 3"):
        load(path)


def test_longest_names_are_read_again(full_baseline: Baseline) -> None:
    segment = dataclasses.replace(full_baseline.segments[1], counts=full_baseline.counts // 10)
    segments = tuple(
        dataclasses.replace(segment, key="\x01" * 256, value=f"{number:02}" + "\x01" * 254)
        for number in range(64)
    )
    most = dataclasses.replace(full_baseline, segments=segments)
    assert parse(serialize(most)).identity == most.identity


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("counts", -1, "array counts holds values that are not finite or below 0"),
        ("distance_quantiles", np.nan, "array distance_quantiles holds values that are not finite"),
        ("mean", np.inf, "array mean holds values that are not finite$"),
        ("quantile_levels", [0.05, 0.25, 0.6, 0.75, 0.9, 0.95, 0.99], "include 0.5 and 0.99"),
        ("variances", 0, "array variances"),
        ("hash_counts", [1] + [0] * 127, "hash_counts counts fewer than two"),
        ("residual", -1, "array residual"),
        (
            "spread_moments",
            [[50] * 3, [0] * 3, [0.5] * 3, [1] * 3, [4] * 3],
            "a count without a mean and a variance",
        ),
    ],
)
def test_baseline_rejects_invalid_values(baseline: Baseline, name: str, value: object, fault: str) -> None:
    of_statistic = name in baseline.arrays
    array = (baseline.arrays[name] if of_statistic else getattr(baseline, name)).copy()
    if isinstance(value, list):
        array[...] = value
    else:
        array.flat[0] = value
    change = {"arrays": {**baseline.arrays, name: array}} if of_statistic else {name: array}
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(baseline, **change)


NEGATIVE = ((50, -1.0, 0.5, 1.0, 4.0),)
IMPOSSIBLE = [
    (Overdispersion(20, 0.9, np.eye(8)), "overdispersion_counts .* below 1"),
    (Overdispersion(20, np.inf, np.eye(8)), "overdispersion_counts .* not finite"),
    (Overdispersion(20, 1.0, np.eye(8), {"spread": np.array([1.0, 0.9, 1.0])}), "overdispersion_spread"),
    *(
        (Overdispersion(20, 1.0, means), "overdispersion_means must be positive definite")
        for means in (-np.eye(8), np.ones((8, 8)))
    ),
    (Overdispersion(20, 1.0, np.eye(8) + np.eye(8, k=1) / 2), "overdispersion_means must be symmetric"),
]


@pytest.mark.parametrize(
    ("overdispersion", "fault"),
    [*IMPOSSIBLE, (Overdispersion(19, 1.0, np.eye(8)), "overdispersion_windows .* below 20")],
)
def test_baseline_rejects_impossible_overdispersion(
    full_baseline: Baseline, overdispersion: Overdispersion, fault: str
) -> None:
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(full_baseline, overdispersion=overdispersion)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"counts": np.eye(6, dtype=np.int64)[0] * 8}, "segment_counts: 8 vectors are too few for 8 comp"),
        ({"arrays": build_segment_arrays(-1)}, "array segment_outliers"),
        ({"arrays": build_segment_arrays(0, NEGATIVE)}, "array segment_spread_moments"),
        (
            {"covariance": np.ones((8, 8))},
            "array segment_covariances must be positive definite",
        ),
        ({"covariance": np.eye(8) + np.eye(8, k=1) / 2}, "array segment_covariances must be symmetric"),
        ({"overdispersion": Overdispersion(-1, 1.0, np.eye(8))}, "array segment_overdispersion_windows"),
        *(({"overdispersion": known}, f"array segment_{fault}") for known, fault in IMPOSSIBLE),
        ({"value": "other"}, "two segments have the same key and value"),
        ({"value": "x" * 257}, "the name of a segment is not valid: value: String should have at most 256"),
    ],
)
def test_baseline_rejects_invalid_segment(
    full_baseline: Baseline, change: dict[str, object], fault: str
) -> None:
    segment = dataclasses.replace(full_baseline.segments[0], **change)
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(full_baseline, segments=(segment, *full_baseline.segments[1:]))


def test_baseline_rejects_axes_beyond_limits_before_their_values(
    baseline: Baseline, full_baseline: Baseline
) -> None:
    long = {
        "cluster_means": np.zeros((6, 33)),
        "components": np.ones((33, 8), "f4"),
        "variances": np.full(33, np.nan),
    }
    with pytest.raises(BaselineError, match="the baseline has 33 components; the maximum is 32"):
        dataclasses.replace(baseline, **long)
    segments = (full_baseline.segments[0],) * 65
    with pytest.raises(BaselineError, match="the baseline has 65 segments; the maximum is 64"):
        dataclasses.replace(full_baseline, segments=segments)


def test_baseline_rejects_metadata_of_another(baseline: Baseline) -> None:
    with pytest.raises(BaselineError, match="a fitted count of 8, too few for 8 components"):
        with_metadata(baseline, fitted_count=8)
    cosine = baseline.metadata.model_copy(update={"metric": DistanceMetric.COSINE})
    with pytest.raises(BaselineError, match="the metadata states"):
        dataclasses.replace(baseline, metadata=cosine)
