"""What `driftgauge baseline show` says of a baseline."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.artifact import Baseline
from driftgauge.core.significance import noise_floor
from driftgauge.events.timestamps import format_timestamp

__all__ = ["as_json", "describe"]

# Windows for which the noise floor is told.
WINDOW_COUNTS = (100, 1_000, 10_000)


def describe(baseline: Baseline, path: Path) -> str:
    """Return lines for a terminal: what the baseline is, its noise floor, its clusters."""
    about, counts = baseline.metadata, baseline.counts
    facts = {
        "identity": baseline.identity,
        "stream": about.stream,
        "model version": about.model_version or "not given",
        "dimension": f"{about.dimension:,}",
        "clusters": f"{about.clusters:,}, by {about.metric} distance",
        "vectors": f"{about.fitted_count:,} fitted, {about.reference_count:,} others counted",
        "components": f"{len(baseline.variances)}",
        "seed": f"{about.seed}",
        "created": format_timestamp(about.created_ms),
        "with": ", ".join(f"{name} {version}" for name, version in about.versions.items()),
        "noise floor": ", ".join(
            f"{_noise_floor(baseline, count):.4f} at {count:,} events" for count in WINDOW_COUNTS
        ),
    }
    lines = [str(path), *(f"  {name:<15}{value}" for name, value in facts.items()), ""]
    lines.append("  cluster     count   share   distance p50         p99")
    for cluster, (count, median, p99) in enumerate(
        zip(counts, _distances(baseline, 0.5), _distances(baseline, 0.99), strict=True)
    ):
        lines.append(
            f"  {cluster:>7} {count:>9,} {count / counts.sum():>7.2%} {median:>#14.4g} {p99:>#11.4g}"
        )
    return "\n".join(lines)


def as_json(baseline: Baseline) -> dict[str, object]:
    """Return the same as JSON values, the centroids and components left out."""
    total = int(baseline.counts.sum())
    return {
        "identity": baseline.identity,
        **baseline.metadata.model_dump(mode="json", exclude={"clusters", "created_ms"}),
        "created": format_timestamp(baseline.metadata.created_ms),
        "components": len(baseline.variances),
        "noise_floor": {str(count): _noise_floor(baseline, count) for count in WINDOW_COUNTS},
        "clusters": [
            {
                "id": cluster,
                "count": count,
                "share": count / total,
                "distance_quantiles": {
                    f"{level:g}": quantile
                    for level, quantile in zip(baseline.quantile_levels.tolist(), quantiles, strict=True)
                },
            }
            for cluster, (count, quantiles) in enumerate(
                zip(baseline.counts.tolist(), baseline.distance_quantiles.tolist(), strict=True)
            )
        ],
    }


def _distances(baseline: Baseline, level: float) -> NDArray[np.float32]:
    """Return each cluster's quantile of the distance at one of the levels, (k,) float32."""
    return baseline.distance_quantiles[:, baseline.quantile_levels == level][:, 0]


def _noise_floor(baseline: Baseline, count: int) -> float:
    """Return the divergence to expect without any drift in a window of so many events."""
    return noise_floor(baseline.metadata.clusters, count, baseline.metadata.reference_count)
