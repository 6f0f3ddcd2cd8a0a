"""Builders of baselines and their files: of unit vectors, of a reference, or fitted."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from driftgauge.baseline.artifact import Baseline, BaselineMetadata, save
from driftgauge.baseline.fitting import fit_baseline
from driftgauge.baseline.windows import Traffic
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.counting.projection import MINOR_COMPONENTS, Projection
from driftgauge.core.reference import Reference
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.references import CLUSTERS, build_reference, build_segment_reference

SEGMENTS = (
    build_segment_reference("country", "de", 25, 15, 10, 5),
    build_segment_reference("country", "other", 15, 15, 10, 5),
)
"""By country: Germany, and all others."""
HOSTILE_NAMES = (
    "<script>alert(1)</script>",
    '"}, {"name": "\'',
    "{{ .Labels.job }} {{ end }}",
    "\\n \\ $1 %s %q `",
    "größe 猫 🚚, <b>&amp;",
)
"""Names of clusters that would do harm where a name is not data; all have characters that can be printed."""
# Of the events of `build_event`, in this mix.
MEAN = np.array([0.42, 0.34, 0.26, 0.18])
NEAR = build_reference(
    radii=np.full(CLUSTERS, 0.3, dtype=np.float32),
    projection=Projection(MEAN, np.eye(CLUSTERS, dtype=np.float32)[:2], np.array([0.2, 0.1])),
)


def build_baseline(
    stream: str = "images",
    *,
    reference: Reference = NEAR,
    metric: DistanceMetric = DistanceMetric.EUCLIDEAN,
    clusters: int | None = None,
    model_version: str | None = None,
    created_ms: int = MONDAY_MS - DAY_MS,
    **changes: Any,
) -> Baseline:
    """Return a baseline with the numbers of a reference, or of its first clusters; `changes` replace them."""
    values = reference.centroids.values[:clusters]
    counts = changes.get("counts", reference.counts[:clusters])
    fields = {
        "centroids": Centroids(values, metric),
        "counts": counts,
        "quantile_levels": np.array([0.5, 0.99]),
        "distance_quantiles": reference.radii[:clusters, None] * np.array([0.5, 1], np.float32),
        "mean": reference.projection.mean,
        "components": reference.projection.components,
        "variances": reference.projection.variances,
        "residual": np.array([reference.projection.residual]),
        "cluster_means": reference.cluster_means[:clusters],
        # Each cluster holds one item.
        "arrays": {
            **reference.arrays,
            "hash_counts": np.pad(counts, (0, HASH_BINS - len(counts))),
            # Products that do not vary are not tested.
            "relation_moments": np.zeros((5, 72)),
            "relation_spectrum": np.ones(36),
            "minor_components": np.zeros((MINOR_COMPONENTS, values.shape[1]), np.float32),
            "minor_moments": np.zeros((5, MINOR_COMPONENTS)),
            "minor_spectrum": np.ones(MINOR_COMPONENTS),
        },
        "overdispersion": None,
        "segments": (),
    }
    metadata = BaselineMetadata(
        stream=stream,
        model_version=model_version,
        dimension=values.shape[1],
        clusters=len(values),
        metric=metric,
        fitted_count=1_000,
        reference_count=int(counts.sum()),
        groups=None,
        window_ms=HOUR_MS if changes.get("overdispersion") else None,
        training_set=False,
        stability=None,
        seed=0,
        created_ms=created_ms,
        versions={"numpy": "2"},
    )
    return Baseline(metadata=metadata, **{**fields, **changes})


def save_baseline(
    folder: Path, stream: str = "images", *, file: str | None = None, **fields: Any
) -> Baseline:
    """Write a baseline of a stream, by default into a file with the stream's name."""
    baseline = build_baseline(stream, **fields)
    save(baseline, folder / (file or f"{stream}.safetensors"))
    return baseline


ARRAYS = ("counts", "quantile_levels", "distance_quantiles", "mean", "components", "variances")
OPTIONAL_ARRAYS = (
    "overdispersion_counts",
    "overdispersion_means",
    "overdispersion_windows",
    "segment_counts",
    "segment_covariances",
    "segment_overdispersion_counts",
    "segment_overdispersion_means",
    "segment_overdispersion_windows",
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


def draw_bursts(count: int, length: int) -> NDArray[np.float32]:
    """(count, 8) float32 vectors around six centres, in bursts of `length` around the same centre."""
    random = np.random.default_rng(1)
    centres = 4 * random.normal(size=(6, 8))
    vectors = centres[np.repeat(random.integers(6, size=count // length), length)]
    return (vectors + random.normal(size=vectors.shape)).astype(np.float32)


def by_columns(lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Return numbers of events, (m, 3), as those whose means vary: of novelty, and of two spreads."""
    return {"novelty": lengths[:, :1], "spread": lengths[:, 1:]}


def project(vectors: np.ndarray, reference: Projection) -> np.ndarray:
    """Return the coordinates of vectors along the components, (n, r), in the embedding's units."""
    return reference.measure(vectors)[0] * np.float64(reference.step)


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
