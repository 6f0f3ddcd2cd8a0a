"""The report of `driftgauge baseline show`."""

import textwrap
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

__all__ = ["as_json", "describe"]

# Windows for which the noise floor is told.
WINDOW_COUNTS = (100, 1_000, 10_000)

# Of a terminal, for sentences.
LINE_WIDTH = 110


def describe(baseline: Baseline, path: Path) -> str:
    """Return lines for a terminal: what the baseline is, what is weak about it, its segments and clusters."""
    about = baseline.metadata
    facts = {
        "identity": baseline.identity,
        "stream": about.stream,
        "model version": about.model_version or "not given",
        "dimension": f"{about.dimension:,}",
        "clusters": f"{about.clusters:,}, by {about.metric} distance",
        "vectors": f"{about.fitted_count:,} fitted, {about.reference_count:,} others counted",
        "training set": "yes" if about.training_set else "no",
        "components": f"{len(baseline.variances)}",
        "seed": f"{about.seed}",
        "created": format_timestamp(about.created_ms),
        "with": ", ".join(f"{name} {version}" for name, version in about.versions.items()),
        "noise floor": ", ".join(
            f"{floor:.4f} at {int(count):,} events" for count, floor in _noise_floors(baseline).items()
        ),
        "windows": (
            f"larger than {quality.largest_window(baseline):,} events are over 1/{quality.MIN_RATIO} of the "
            f"vectors counted"
        ),
        "dependence": _overdispersion(baseline),
        "stability": (
            "not measured" if about.stability is None else quality.stability_reading(about.stability)
        ),
    }
    lines = [str(path), *(_paragraph(f"  {name:<15}", value) for name, value in facts.items())]
    lines += [_paragraph("  note: ", note) for note in quality.notes(baseline)]
    return "\n".join([*lines, *_segment_table(baseline), *_cluster_table(baseline)])


def as_json(baseline: Baseline) -> dict[str, object]:
    """Return the same as JSON values, the centroids, components and covariances left out."""
    about = baseline.metadata
    total = int(baseline.counts.sum())
    return {
        "identity": baseline.identity,
        **about.model_dump(mode="json", exclude={"clusters", "created_ms"}),
        "created": format_timestamp(about.created_ms),
        "components": len(baseline.variances),
        "noise_floor": _noise_floors(baseline),
        "largest_window": quality.largest_window(baseline),
        "dependence": _dependence_as_json(baseline.overdispersion),
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
                "dependence": _dependence_as_json(segment.overdispersion),
            }
            for segment in baseline.segments
        ],
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


def _paragraph(label: str, text: str) -> str:
    """Return a text after its label, in lines of a terminal's width."""
    return textwrap.fill(
        text, LINE_WIDTH, initial_indent=label, subsequent_indent=" " * len(label), break_long_words=False
    )


def _overdispersion(baseline: Baseline) -> str:
    overdispersion, window_ms = baseline.overdispersion, baseline.metadata.window_ms
    if overdispersion is None or window_ms is None:
        return "not known"
    reading = quality.overdispersion_reading(overdispersion)
    return f"{reading}; of {overdispersion.windows} windows of {format_duration(window_ms)}"


def _dependence_as_json(overdispersion: Overdispersion | None) -> dict[str, object] | None:
    if overdispersion is None:
        return None
    return {
        "windows": overdispersion.windows,
        "counts": overdispersion.counts,
        "means_largest": quality.largest_inflation(overdispersion),
    }


def _segment_table(baseline: Baseline) -> list[str]:
    """Return a line for each segment: how much of the whole it is, how far from it, and how bursty."""
    if not baseline.segments:
        return []
    total = baseline.counts.sum()
    names = [f"{segment.key}={segment.value}" for segment in baseline.segments]
    width = max(map(len, names))
    lines = ["", f"  {'segment':<{width}}     count   share   JSD from all   mean from all   overdispersion"]
    for name, segment in zip(names, baseline.segments, strict=True):
        count = segment.counts.sum()
        varies = "unknown" if segment.overdispersion is None else f"{segment.overdispersion.counts:.2f}"
        lines.append(
            f"  {name:<{width}} {count:>9,} {count / total:>7.2%} {_divergence(baseline, segment):>14.4f} "
            f"{mean_distance(baseline, segment.mean):>15.3f} {varies:>17}"
        )
    return lines


def _cluster_table(baseline: Baseline) -> list[str]:
    """Return a line for each cluster."""
    counts = baseline.counts
    lines = ["", "  cluster     count   share   distance p50         p99"]
    for cluster, (count, median, p99) in enumerate(
        zip(counts, baseline.distances(0.5), baseline.radii, strict=True)
    ):
        lines.append(
            f"  {cluster:>7} {count:>9,} {count / counts.sum():>7.2%} {median:>#14.4g} {p99:>#11.4g}"
        )
    return lines


def _divergence(baseline: Baseline, segment: SegmentReference) -> float:
    """Return the base-2 divergence of a segment's histogram from the whole, of which it is a part."""
    return float(js_contributions(segment.counts, baseline.counts).sum())


def _noise_floors(baseline: Baseline) -> dict[str, float]:
    """Return the divergence to expect without any drift, by the events of a window."""
    about = baseline.metadata
    sensitivity = Sensitivity.of(
        about.clusters, len(baseline.variances), about.reference_count, baseline.overdispersion
    )
    return {str(count): sensitivity.noise_floor(count) for count in WINDOW_COUNTS}
