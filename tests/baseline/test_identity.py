"""The identity of a baseline covers what decides a result, as `schemas/baseline.md` defines it."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors

from driftgauge.baseline.artifact import Baseline, serialize
from tests.builders.baselines import ARRAYS, with_metadata


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
