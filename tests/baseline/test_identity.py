"""Tests of `driftgauge.baseline.identity`."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors

from driftgauge.baseline.artifact import Baseline, load, save, serialize
from driftgauge.errors import BaselineError
from tests.builders.baselines import ARRAYS, OPTIONAL_ARRAYS, header_of, write


def published_identity(content: bytes, segments: str, window_ms: str) -> str:
    parts = ",".join(
        f'"{name}":{{"dtype":"{array.dtype}","sha256":"{hashlib.sha256(array.tobytes()).hexdigest()}",'
        f'"shape":{json.dumps(array.shape, separators=(",", ":"))}}}'
        for name, array in sorted(load_tensors(content).items())
    )
    text = (
        f'{{"arrays":{{{parts}}},"fitted_count":600,"format_version":4,"metric":"euclidean","model_version":"v1",'
        f'"segments":{segments},"stream":"resnet18-fc1","window_ms":{window_ms}}}'
    )
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_identity_matches_published_definition(baseline: Baseline, full_baseline: Baseline) -> None:
    assert baseline.identity == published_identity(serialize(baseline), "[]", "null")
    segments = '[["country","de"],["country","other"],["größe","xl"]]'
    assert full_baseline.identity == published_identity(serialize(full_baseline), segments, "3600000")


@pytest.mark.parametrize(
    "change", [{"stream": "other"}, {"model_version": None}, {"model_version": "vé"}, {"fitted_count": 7}]
)
def test_identity_changes_with_stream_model_version_and_size_of_mean(
    baseline: Baseline, change: dict[str, object]
) -> None:
    other = dataclasses.replace(baseline, metadata=baseline.metadata.model_copy(update=change))
    assert other.identity != baseline.identity


@pytest.mark.parametrize("name", ARRAYS)
def test_identity_changes_with_last_bit_of_array(baseline: Baseline, name: str) -> None:
    array = getattr(baseline, name).copy()
    if name in ("counts", "hash_counts"):
        array[:2] += np.array([1, -1])
    else:
        array.flat[0] = np.nextafter(array.flat[0], array.dtype.type(0))
    assert dataclasses.replace(baseline, **{name: array}).identity != baseline.identity


@pytest.mark.parametrize("name", OPTIONAL_ARRAYS)
def test_load_rejects_changed_bit_of_optional_array(
    full_baseline: Baseline, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "full.safetensors"
    save(full_baseline, path)
    header, arrays = header_of(path), load_tensors(path.read_bytes())
    array = arrays[name].copy()
    array.flat[0] = array.flat[0] + 1 if array.dtype == np.int64 else np.nextafter(array.flat[0], 9)
    write(path, arrays | {name: array}, header)
    with pytest.raises(BaselineError, match="the content was altered"):
        load(path)


@pytest.mark.parametrize("change", [("country", "fr"), ("land", "de")])
def test_identity_changes_with_segment_name(full_baseline: Baseline, change: tuple[str, str]) -> None:
    key, value = change
    renamed = dataclasses.replace(full_baseline.segments[0], key=key, value=value)
    other = dataclasses.replace(full_baseline, segments=(renamed, *full_baseline.segments[1:]))
    assert other.identity != full_baseline.identity


def test_identity_changes_with_window_length(full_baseline: Baseline) -> None:
    metadata = full_baseline.metadata.model_copy(update={"window_ms": 60_000})
    assert dataclasses.replace(full_baseline, metadata=metadata).identity != full_baseline.identity


def test_identity_ignores_origin_of_fit(baseline: Baseline) -> None:
    update = {
        "created_ms": 5,
        "seed": 99,
        "versions": {},
        "stability": 0.5,
        "training_set": True,
    }
    other = dataclasses.replace(baseline, metadata=baseline.metadata.model_copy(update=update))
    assert other.identity == baseline.identity


def test_identity_ignores_names_and_examples(full_baseline: Baseline) -> None:
    assert dataclasses.replace(full_baseline, descriptions=()).identity == full_baseline.identity
