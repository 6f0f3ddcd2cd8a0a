"""Writes the golden records of the internal formats and the golden baseline: `python -m tests.tools.golden`.

From the first release on, a released version's file stays as it is, and a later version gets one of its own.
"""

import base64
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
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
from driftgauge.records.changelog_records import encode_value
from driftgauge.records.heartbeat import encode_heartbeat
from tests.builders.changelog_records import GOLDEN
from tests.builders.clocks import MONDAY_MS
from tests.builders.events import SCHEMAS
from tests.builders.heartbeats import HEARTBEAT
from tests.builders.partial_records import PART, RECORD
from tests.output import say

VERSION = "0.1"
FORMATS = ("changelog", "heartbeat", "partial")


def golden_files(form: str, suffix: str = "json") -> list[Path]:
    """Return the files of golden records of a format, the earliest version first."""
    found = (SCHEMAS / "golden" / form).glob(f"*.{suffix}")
    return sorted(found, key=lambda path: [*map(int, path.stem.split("."))])


def golden_records(form: str) -> dict[str, dict[str, Any]]:
    """Return one record of each kind of a format, as this version writes and reads it."""
    if form == "heartbeat":
        (value,) = encode_heartbeat(HEARTBEAT)
        return {"heartbeat": {"value": _text(value), "holds": to_json(HEARTBEAT)}}
    if form == "partial":
        return {"part": {"value": _text(RECORD), "holds": to_json(PART)}}
    return {
        kind: {"key": key.decode(), "value": _text(encode_value(value)), "holds": to_json(value)}
        for kind, (_, value, key) in GOLDEN.items()
    }


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


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


def _write() -> Iterator[Path]:
    for form in FORMATS:
        path = SCHEMAS / "golden" / form / f"{VERSION}.json"
        path.write_text(json.dumps(golden_records(form), ensure_ascii=False, indent=1) + "\n", "utf-8")
        yield path
    baseline = golden_baseline()
    path = SCHEMAS / "golden" / "baseline" / f"{VERSION}.safetensors"
    path.write_bytes(serialize(baseline))
    # Beside it stands what it holds.
    holds = to_json(baseline)
    del holds["later"]
    lines = (f" {json.dumps(name)}: {json.dumps(each, ensure_ascii=False)}" for name, each in holds.items())
    path.with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    yield path


if __name__ == "__main__":
    for written in _write():
        say(str(written.relative_to(SCHEMAS.parent)))
