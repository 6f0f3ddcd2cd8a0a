"""The report of `driftgauge baseline show`."""

from pathlib import Path

from driftgauge.baseline import quality
from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.comparison import mean_distance
from driftgauge.core.durations import format_duration
from driftgauge.core.reference import SegmentReference
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.power import Sensitivity
from driftgauge.events.timestamps import format_timestamp
from driftgauge.layout import Block, Table, facts

__all__ = ["as_json", "describe"]

# Window sizes, in events, for which the report gives the noise floor.
WINDOW_COUNTS = (100, 1_000, 10_000)


def describe(baseline: Baseline, path: Path) -> list[Block]:
    """Return the report: facts, notes on weaknesses, segments, clusters and their examples."""
    metadata = baseline.metadata
    named = {
        "identity": baseline.identity,
        "stream": metadata.stream,
        "model version": metadata.model_version or "not given",
        "dimension": f"{metadata.dimension:,}",
        "clusters": f"{metadata.clusters:,}, by {metadata.metric} distance",
        "vectors": f"{metadata.fitted_count:,} fitted, {metadata.reference_count:,} others counted",
        "training set": "yes" if metadata.training_set else "no",
        "components": f"{len(baseline.variances)}",
        "seed": f"{metadata.seed}",
        "created": format_timestamp(metadata.created_ms),
        "with": ", ".join(f"{name} {version}" for name, version in metadata.versions.items()),
        "noise floor": ", ".join(
            f"{floor:.4f} at {int(count):,} events" for count, floor in _noise_floors(baseline).items()
        ),
        "windows": (
            f"up to {quality.largest_window(baseline):,} events are at most 1/{quality.MIN_RATIO} of the "
            f"vectors counted"
        ),
        "overdispersion": _overdispersion(baseline),
        "stability": (
            "not measured" if metadata.stability is None else quality.stability_reading(metadata.stability)
        ),
    }
    notes = [f"  note: {note}" for note in quality.notes(baseline)]
    return [
        str(path),
        facts(named),
        *notes,
        *_segment_table(baseline),
        "",
        _cluster_table(baseline),
        *_examples(baseline),
    ]


def as_json(baseline: Baseline) -> dict[str, object]:
    """Return the report as JSON values, without centroids, components and covariances."""
    metadata = baseline.metadata
    total = int(baseline.counts.sum())
    return {
        "identity": baseline.identity,
        **metadata.model_dump(mode="json", exclude={"clusters", "created_ms"}),
        "created": format_timestamp(metadata.created_ms),
        "components": len(baseline.variances),
        "noise_floor": _noise_floors(baseline),
        "largest_window": quality.largest_window(baseline),
        "overdispersion": _overdispersion_as_json(baseline.overdispersion),
        "tiny_clusters": quality.tiny_clusters(baseline),
        "notes": quality.notes(baseline),
        "segments": [
            {
                "key": segment.key,
                "value": segment.value,
                "count": int(segment.counts.sum()),
                "share": int(segment.counts.sum()) / total,
                "js_divergence": _divergence(baseline, segment),
                "mean_distance": mean_distance(baseline, segment.mean),
                "overdispersion": _overdispersion_as_json(segment.overdispersion),
            }
            for segment in baseline.segments
        ],
        "clusters": [
            {
                "id": cluster,
                "name": name,
                "count": count,
                "share": count / total,
                "distance_quantiles": {
                    f"{level:g}": quantile
                    for level, quantile in zip(baseline.quantile_levels.tolist(), quantiles, strict=True)
                },
                "position": position,
                "example_ids": example_ids,
            }
            for cluster, (name, count, quantiles, position, example_ids) in enumerate(
                zip(
                    baseline.names,
                    baseline.counts.tolist(),
                    baseline.distance_quantiles.tolist(),
                    baseline.positions.tolist(),
                    baseline.example_ids,
                    strict=True,
                )
            )
        ],
    }


def _overdispersion(baseline: Baseline) -> str:
    overdispersion, window_ms = baseline.overdispersion, baseline.metadata.window_ms
    if overdispersion is None:
        return "not known"
    reading = quality.overdispersion_reading(overdispersion)
    if window_ms is None:
        return f"{reading}; measured on groups worth {overdispersion.windows} of one size"
    return f"{reading}; measured on {overdispersion.windows} windows of {format_duration(window_ms)}"


def _overdispersion_as_json(overdispersion: Overdispersion | None) -> dict[str, object] | None:
    if overdispersion is None:
        return None
    return {
        "windows": overdispersion.windows,
        "counts": overdispersion.counts,
        "means_largest": quality.largest_inflation(overdispersion),
    }


def _segment_table(baseline: Baseline) -> list[Block]:
    """Return a row per segment: count, share, distances from the whole, and overdispersion."""
    if not baseline.segments:
        return []
    total = baseline.counts.sum()
    rows = [
        (
            f"{segment.key}={segment.value}",
            f"{segment.counts.sum():,}",
            f"{segment.counts.sum() / total:.2%}",
            f"{_divergence(baseline, segment):.4f}",
            f"{mean_distance(baseline, segment.mean):.3f}",
            "unknown" if segment.overdispersion is None else f"{segment.overdispersion.counts:.2f}",
        )
        for segment in baseline.segments
    ]
    headings = ("segment", "count", "share", "JSD from all", "mean from all", "overdispersion")
    return ["", Table(headings, rows)]


def _cluster_table(baseline: Baseline) -> Table:
    """Return a row per cluster: count, share, distance quantiles and name."""
    counts = baseline.counts
    rows = [
        (
            f"{cluster}",
            f"{count:,}",
            f"{count / counts.sum():.2%}",
            f"{median:#.4g}",
            f"{p99:#.4g}",
            name or "-",
        )
        for cluster, (count, median, p99, name) in enumerate(
            zip(counts, baseline.distances(0.5), baseline.radii, baseline.names, strict=True)
        )
    ]
    return Table(("cluster", "count", "share", "distance p50", "distance p99", "name"), rows, text=(5,))


def _examples(baseline: Baseline) -> list[Block]:
    """Return the ids of each cluster's examples; none where the baseline has none."""
    if not any(baseline.example_ids):
        return []
    rows = [(f"{cluster}", ", ".join(ids) or "-") for cluster, ids in enumerate(baseline.example_ids)]
    return ["", Table(("cluster", "examples, the nearest to the centroid first"), rows, text=(1,))]


def _divergence(baseline: Baseline, segment: SegmentReference) -> float:
    """Return the base-2 divergence between the histograms of a segment and of the whole stream."""
    return float(js_contributions(segment.counts, baseline.counts).sum())


def _noise_floors(baseline: Baseline) -> dict[str, float]:
    """Return the divergence expected without drift, by the number of events in a window."""
    metadata = baseline.metadata
    sensitivity = Sensitivity.of(
        metadata.clusters, len(baseline.variances), metadata.reference_count, baseline.overdispersion
    )
    return {str(count): sensitivity.noise_floor(count) for count in WINDOW_COUNTS}
