"""Builders of the baseline tests: fitted baselines, traffic, and the contents of artifact files."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.fitting import fit_baseline
from driftgauge.baseline.windows import Traffic

HOUR_MS = 3_600_000

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


def fit(vectors: NDArray[np.floating], **choice: object) -> Baseline:
    return fit_baseline(
        vectors.astype(np.float32),
        **{
            "stream": "s",
            "model_version": None,
            "clusters": 6,
            "created_ms": 0,
            "progress": lambda _: None,
            **choice,
        },
    )


def traffic_of(count: int, windows: int) -> Traffic:
    """The traffic of `count` vectors at random times over `windows` hours."""
    times_ms = np.random.default_rng(0).integers(windows * HOUR_MS, size=count)
    return Traffic.of(times_ms, HOUR_MS)


def bursts(count: int, length: int) -> NDArray[np.float32]:
    """(count, 8) float32 vectors around six centres, in bursts of `length` around the same centre."""
    random = np.random.default_rng(1)
    centres = 4 * random.normal(size=(6, 8))
    vectors = centres[np.repeat(random.integers(6, size=count // length), length)]
    return (vectors + random.normal(size=vectors.shape)).astype(np.float32)


def header_of(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["driftgauge"])


def write(path: Path, arrays: dict[str, np.ndarray], header: object) -> Path:
    save_file(
        arrays, path, metadata={"driftgauge": header if isinstance(header, str) else json.dumps(header)}
    )
    return path


def with_metadata(baseline: Baseline, **update: object) -> Baseline:
    """The baseline with some of its metadata changed."""
    return dataclasses.replace(baseline, metadata=baseline.metadata.model_copy(update=update))


def silent(_: str) -> None:
    """Fails on any line of progress."""
    raise AssertionError("progress was reported")
