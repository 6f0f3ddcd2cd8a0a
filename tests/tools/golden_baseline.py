"""The golden baseline as this version writes it, and what a reader reads from it."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from driftgauge.baseline.artifact import Baseline, BaselineMetadata, ClusterDescription, serialize
from driftgauge.baseline.metadata import ExampleDescription
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.counting.projection import MINOR_COMPONENTS
from driftgauge.core.reference import SegmentReference
from driftgauge.core.statistics.overdispersion import Overdispersion
from tests.builders.clocks import MONDAY_MS
from tests.builders.events import SCHEMAS

FOLDER = SCHEMAS / "golden" / "baseline"


def golden_baseline() -> Baseline:
    """Return a small baseline with all that a file can hold, and no number that rounding could change."""
    places = np.arange(72.0)
    moments = np.stack(
        [np.full(72, 60), places / 128, (places + 1) / 4096, places / 64 - 0.5, 3 + places / 32]
    )
    spreads = np.array(
        [[60, 1.0, 2.0, 2.75, 15.0], [60, 1.25, 0.5, 0.5, 3.5], [60, 0.875, 0.125, 0.25, 3.0]]
    ).T
    minor = np.arange(3 * MINOR_COMPONENTS).reshape(MINOR_COMPONENTS, 3)
    others = {
        "novelty": np.array([1.5]),
        "spread": np.array([2.0, 2.5, 1.5]),
        "duplicates": np.array([3.0]),
        "relations": 1 + places / 64,
        "minor_shift": 1 + np.arange(MINOR_COMPONENTS) / 64,
    }
    of_segments = {name: others[name] for name in ("novelty", "spread")}
    return Baseline(
        metadata=BaselineMetadata(
            stream="shop/search",
            model_version="v1",
            dimension=3,
            clusters=2,
            metric=DistanceMetric.EUCLIDEAN,
            fitted_count=60,
            reference_count=60,
            window_ms=None,
            groups=30,
            mixed_windows=True,
            training_set=True,
            left_out={"far": 1},
            stability=0.75,
            seed=7,
            created_ms=MONDAY_MS,
            versions={"numpy": "2.0.0"},
        ),
        centroids=Centroids(np.array([[1, 0, 0], [0, 0.5, -1]], np.float32), DistanceMetric.EUCLIDEAN),
        counts=np.array([40, 20]),
        quantile_levels=np.array([0.5, 0.99]),
        distance_quantiles=np.array([[0.25, 1], [0.5, 1.5]], np.float32),
        mean=np.array([0.5, 0.25, -0.25]),
        components=np.eye(3, dtype=np.float32)[:2],
        variances=np.array([0.5, 0.25]),
        residual=np.array([0.125]),
        cluster_means=np.array([[0.5, -0.25], [-0.5, 0.25]]),
        arrays={
            "hash_counts": np.arange(HASH_BINS) % 3,
            "spread_moments": spreads,
            "relation_moments": moments,
            "relation_spectrum": np.arange(36) / 8,
            "minor_components": (minor / 512).astype(np.float32),
            "minor_moments": np.ones((5, MINOR_COMPONENTS)),
            "minor_spectrum": np.arange(MINOR_COMPONENTS) / 64,
        },
        overdispersion=Overdispersion(30, 2.5, np.array([[3, 0.5], [0.5, 1.5]]), others),
        segments=(
            SegmentReference(
                key="country",
                value="größe",
                counts=np.array([15, 10]),
                mean=np.array([0.125, -0.125]),
                covariance=np.array([[0.5, 0.125], [0.125, 0.25]]),
                arrays={"outliers": np.array(2), "spread_moments": spreads},
                overdispersion=Overdispersion(20, 2.0, np.array([[2, 0.25], [0.25, 1]]), of_segments),
            ),
            SegmentReference(
                key="country",
                value="other",
                counts=np.array([25, 10]),
                mean=np.array([-0.125, 0.125]),
                covariance=np.array([[0.5, 0.0], [0.0, 0.25]]),
                arrays={"outliers": np.array(0), "spread_moments": spreads},
            ),
        ),
        descriptions=(
            ClusterDescription(
                name="shoes, boots", example_ids=("a-1", "b-2"), example_texts=("brown shoes", "größe 43")
            ),
            ClusterDescription(),
        ),
        farthest=ExampleDescription(example_ids=("c-3",), example_texts=("a tent",)),
    )


def to_json(value: Any) -> Any:
    """Return a value as JSON: a mapping without text keys is a list of pairs, and no number is infinite."""
    if isinstance(value, Centroids):
        value = value.values
    if isinstance(value, np.ndarray | np.integer):
        value = value.tolist()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        pairs = [[to_json(key), to_json(each)] for key, each in sorted(value.items())]
        return dict(pairs) if all(isinstance(key, str) for key in value) else pairs
    if isinstance(value, list | tuple | frozenset):
        return [to_json(each) for each in (sorted(value) if isinstance(value, frozenset) else value)]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def golden_files() -> list[Path]:
    """Return the golden baselines, the earliest version first."""
    return sorted(FOLDER.glob("*.safetensors"), key=lambda path: [*map(int, path.stem.split("."))])


def write_baseline(version: str) -> Path:
    """Write the golden baseline of a version, and beside it what it holds; return the path of the former."""
    baseline = golden_baseline()
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{version}.safetensors"
    path.write_bytes(serialize(baseline))
    holds = to_json(baseline)
    del holds["later"]
    lines = (f" {json.dumps(name)}: {json.dumps(each, ensure_ascii=False)}" for name, each in holds.items())
    path.with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    return path
