"""The report of `driftgauge baseline compare`."""

import math
from pathlib import Path

import numpy as np

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.comparison import (
    MATCH_RADIUS,
    MATERIAL_DIVERGENCE,
    MATERIAL_SHIFT,
    Comparability,
    Comparison,
    Match,
)
from driftgauge.core.durations import format_duration
from driftgauge.layout import Block, Table, facts

__all__ = ["as_json", "describe"]

MEANINGS = {
    Comparability.SAME: "A and B are the same baseline: results against A are results against B.",
    Comparability.COMPARABLE: (
        "Results against A and B can be compared number by number: the clusters are the same, and the "
        "references differ by less than a drift worth finding."
    ),
    Comparability.RENUMBERED: (
        "Results against A and B can be compared roughly: the clusters match under other "
        "numbers. Translate the numbers by the table below; small differences between divergences are "
        "not meaningful."
    ),
    Comparability.MOVED: (
        "Results against A and B cannot be compared: the clusters are the same or match, but the "
        "references differ by a drift worth finding, so divergences are measured from different "
        "references. Only the shares of clusters can be compared."
    ),
    Comparability.REGROUPED: (
        "Results against A and B cannot be compared: the clusters differ, so neither divergences nor "
        "cluster numbers correspond. To compare over time, replay recorded events against one of them."
    ),
    Comparability.INCOMPATIBLE: (
        "Results against A and B cannot be compared: their embedding spaces differ in "
        "dimension, metric or model version."
    ),
}


def describe(compared: Comparison, first: Path, second: Path) -> list[Block]:
    """Return the report: comparability, facts, distances and matching centroids."""
    a, b = (_facts(baseline) for baseline in (compared.first, compared.second))
    rows = [(f"{' ' if value == b[name] else '*'} {name}", value, b[name]) for name, value in a.items()]
    blocks: list[Block] = [f"A  {first}", f"B  {second}", "", _meaning(compared), ""]
    blocks.append(Table(("", "A", "B"), rows, text=(0, 1, 2)))
    if sentences := _distances(compared):
        blocks += ["", facts(sentences)]
    if compared.js_divergence is None and compared.matches:
        matches = [
            (
                f"{match.cluster}",
                f"{match.nearest}",
                f"{match.distance:.4g}",
                f"{match.ratio:.2f}",
                *(name or "-" for name in _names(compared, match)),
            )
            for match in compared.matches
        ]
        headings = ("cluster of A", "nearest of B", "distance", "of A's p50", "name of A", "name of B")
        blocks += ["", Table(headings, matches, text=(4, 5))]
    return blocks


def as_json(compared: Comparison) -> dict[str, object]:
    """Return the report as JSON values."""
    return {
        "comparability": compared.comparability.value,
        "comparable": compared.comparability.is_comparable,
        "meaning": _meaning(compared),
        "a": _record(compared.first),
        "b": _record(compared.second),
        "mean_distance": compared.mean_distance,
        "mean_excess": compared.mean_excess,
        "same_centroids": compared.js_divergence is not None,
        "js_divergence": compared.js_divergence,
        "js_excess": compared.js_excess,
        "matches": [
            {
                "cluster": match.cluster,
                "name": own,
                "nearest": match.nearest,
                "nearest_name": nearest,
                "distance": match.distance,
                "ratio": match.ratio if math.isfinite(match.ratio) else None,
            }
            for match in compared.matches
            for own, nearest in [_names(compared, match)]
        ],
    }


def _names(compared: Comparison, match: Match) -> tuple[str | None, str | None]:
    """Return the names of A's cluster and of the nearest of B's."""
    return compared.first.names[match.cluster], compared.second.names[match.nearest]


def _meaning(compared: Comparison) -> str:
    meaning = MEANINGS[compared.comparability]
    known = {"A": compared.first.overdispersion, "B": compared.second.overdispersion}
    unknown = [name for name, overdispersion in known.items() if overdispersion is None]
    if len(unknown) == 1 and compared.comparability is not Comparability.INCOMPATIBLE:
        meaning += f" P-values against {unknown[0]} are not calibrated for bursts; the other P-values are."
    return meaning


def _facts(baseline: Baseline) -> dict[str, str]:
    """Return the facts of a baseline that the report lists, by name."""
    metadata, overdispersion, window_ms = (
        baseline.metadata,
        baseline.overdispersion,
        baseline.metadata.window_ms,
    )
    return {
        "identity": f"{baseline.identity[:19]}…",
        "stream": metadata.stream,
        "model version": metadata.model_version or "not given",
        "dimension": f"{metadata.dimension:,}",
        "metric": metadata.metric.value,
        "clusters": f"{metadata.clusters:,}",
        "components": f"{len(baseline.variances)}",
        "vectors counted": f"{metadata.reference_count:,}",
        "training set": "yes" if metadata.training_set else "no",
        "overdispersion": (
            "not known"
            if overdispersion is None
            else f"{overdispersion.counts:.2f}, "
            + ("groups" if window_ms is None else f"windows of {format_duration(window_ms)}")
        ),
        "segments": f"{len(baseline.segments)}",
    }


def _record(baseline: Baseline) -> dict[str, object]:
    """Return the facts of a baseline as JSON values."""
    metadata, overdispersion = baseline.metadata, baseline.overdispersion
    return {
        "identity": baseline.identity,
        "stream": metadata.stream,
        "model_version": metadata.model_version,
        "dimension": metadata.dimension,
        "metric": metadata.metric.value,
        "clusters": metadata.clusters,
        "components": len(baseline.variances),
        "reference_count": metadata.reference_count,
        "training_set": metadata.training_set,
        "window_ms": metadata.window_ms,
        "groups": metadata.groups,
        "over_dispersion": None if overdispersion is None else overdispersion.counts,
        "segments": [{"key": segment.key, "value": segment.value} for segment in baseline.segments],
    }


def _distances(compared: Comparison) -> dict[str, str]:
    """Return the distances between the parts of the baselines, by name; empty for equal baselines."""
    if compared.comparability is Comparability.SAME:
        return {}
    sentences = {}
    if compared.mean_distance is not None and compared.mean_excess is not None:
        sentences["means"] = (
            f"{compared.mean_distance:.4f} standard deviations apart along A's components; squared and less "
            f"noise {compared.mean_excess:.5f}, drift starts at {MATERIAL_SHIFT}"
        )
    if compared.js_divergence is not None and compared.js_excess is not None:
        sentences["centroids"] = "the same"
        sentences["histograms"] = (
            f"JSD {compared.js_divergence:.5f}; less noise {compared.js_excess:.5f}, "
            f"drift starts at {MATERIAL_DIVERGENCE}"
        )
    elif compared.matches:
        ratios = [match.ratio for match in compared.matches]
        sentences["centroids"] = (
            f"the distance from A's to the nearest of B's, divided by the p50 of A's cluster, is "
            f"{np.median(ratios):.2f} in the median and {max(ratios):.2f} at most, a match up to "
            f"{MATCH_RADIUS}; {compared.pairs} of B's {compared.second.metadata.clusters} are the nearest to "
            f"one of A's"
        )
    return sentences
