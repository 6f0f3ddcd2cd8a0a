"""The report of `driftgauge baseline show`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline import quality
from driftgauge.baseline.artifact import Baseline, BaselineMetadata
from driftgauge.baseline.metadata import ExampleDescription
from driftgauge.core.durations import format_duration
from driftgauge.core.spec import floor_of
from driftgauge.core.statistics.divergence import DIVERGENCE, js_contributions
from driftgauge.core.statistics.mean_shift import MEAN_SHIFT, MeanShiftNull
from driftgauge.core.statistics.nulls.divergence_null import noise_floor
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.events.timestamps import format_timestamp
from driftgauge.layout import Block, Table, facts

__all__ = ["BaselineReport", "Difference", "compare", "describe", "report_baseline"]

# Window sizes, in events, for which the report gives the noise floor.
_WINDOW_COUNTS = (100, 1_000, 10_000)

_SMALLEST: Mapping[str, float] = {each.name: each.smallest for each in (DIVERGENCE, MEAN_SHIFT)}


@dataclass(frozen=True, slots=True)
class Difference:
    """How a baseline differs from another one.

    Attributes:
        file: The file of the other baseline.
        identity: Its identity; results against two baselines of one identity are the same.
        mean_distance: The Mahalanobis distance between the means along the components, in standard
            deviations; None if the embedding spaces differ.
        mean_excess: The squared distance less its expectation without drift.
        js_divergence: The Jensen-Shannon divergence of the histograms, base 2; None if the centroids
            differ.
        js_excess: The divergence less its expectation without drift.
        mean_floor: The `mean_excess` from which a window of the stream is large.
        js_floor: The `js_excess` from which it is.
    """

    file: Path
    identity: str
    mean_floor: float
    js_floor: float
    mean_distance: float | None = None
    mean_excess: float | None = None
    js_divergence: float | None = None
    js_excess: float | None = None


@dataclass(frozen=True, slots=True)
class SegmentSummary:
    """A segment of a baseline, and its distances from the whole stream."""

    key: str
    value: str
    count: int
    share: float
    js_divergence: float
    mean_distance: float
    overdispersion: float | None


@dataclass(frozen=True, slots=True)
class ClusterSummary:
    """A cluster of a baseline; `distance_quantiles` are of the distances to its centroid, by level."""

    name: str | None
    count: int
    share: float
    distance_quantiles: dict[float, float]
    position: list[float]
    example_ids: tuple[str, ...]
    example_texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NumberSummary:
    """A number beside the vectors: its range, how many values, how many missing and clipped, their mean."""

    low: float
    high: float
    count: int
    missing: int
    clipped: int
    mean: float


@dataclass(frozen=True, slots=True)
class BaselineReport:
    """The contents of a baseline's file, without its centroids, components and covariances.

    Attributes:
        file: The file.
        identity: The identity.
        metadata: The metadata.
        components: The number of components.
        counts_overdispersion: The overdispersion of the counts, 1 if it is not known.
        means_overdispersion: That of the mean, in the direction where it is largest.
        overdispersion_windows: How many windows, or groups, these were measured on; None if they are not
            known.
        noise_floor: The divergence expected without drift, by the number of events in a window.
        largest_window: The largest window, in events, for which the reference counts 20 times as many.
        notes: Its weaknesses, each with its remedy.
        segments: The segments.
        clusters: The clusters, in the order of their numbers.
        farthest: The vectors that lie farthest beyond the radius of their cluster; None if unknown.
        numbers: The numbers beside the vectors, by name.
        against: How it differs from another baseline; None if none is named.
        refused: The number of events that a fit refused, by reason; None of a baseline that was loaded.
        warnings: What a fit warned of, likewise.
    """

    file: Path
    identity: str
    metadata: BaselineMetadata
    components: int
    counts_overdispersion: float
    means_overdispersion: float
    overdispersion_windows: int | None
    noise_floor: dict[int, float]
    largest_window: int
    notes: list[str]
    segments: list[SegmentSummary]
    clusters: list[ClusterSummary]
    farthest: ExampleDescription | None
    numbers: dict[str, NumberSummary]
    against: Difference | None
    refused: dict[str, int] | None
    warnings: list[str] | None


def report_baseline(
    baseline: Baseline,
    file: Path,
    against: Difference | None = None,
    refused: dict[str, int] | None = None,
    warnings: list[str] | None = None,
) -> BaselineReport:
    """Return the report on a baseline."""
    overdispersion, total = _overdispersion_of(baseline), int(baseline.counts.sum())
    levels = baseline.quantile_levels.tolist()
    return BaselineReport(
        file=file,
        identity=baseline.identity,
        metadata=baseline.metadata,
        components=len(baseline.variances),
        counts_overdispersion=overdispersion.counts,
        means_overdispersion=overdispersion.largest_mean,
        overdispersion_windows=None
        if baseline.overdispersion is None
        else int(baseline.overdispersion.windows),
        noise_floor={count: _noise_floor(baseline, count) for count in _WINDOW_COUNTS},
        largest_window=baseline.metadata.reference_count // quality.MIN_RATIO,
        notes=quality.notes(baseline),
        segments=[
            SegmentSummary(
                key=segment.key,
                value=segment.value,
                count=int(segment.counts.sum()),
                share=int(segment.counts.sum()) / total,
                js_divergence=float(js_contributions(segment.counts, baseline.counts).sum()),
                mean_distance=_mean_distance(baseline, segment.mean),
                overdispersion=None if segment.overdispersion is None else segment.overdispersion.counts,
            )
            for segment in baseline.segments
        ],
        clusters=[
            ClusterSummary(
                name,
                count,
                count / total,
                dict(zip(levels, quantiles, strict=True)),
                position,
                examples.example_ids,
                examples.example_texts,
            )
            for name, count, quantiles, position, examples in zip(
                baseline.names,
                baseline.counts.tolist(),
                baseline.distance_quantiles.tolist(),
                baseline.positions.tolist(),
                baseline.examples,
                strict=True,
            )
        ],
        farthest=baseline.farthest,
        numbers={
            name: NumberSummary(
                tally.number.low, tally.number.high, tally.count, tally.missing, tally.clipped, tally.mean
            )
            for name, tally in baseline.numbers.items()
        },
        against=against,
        refused=refused,
        warnings=warnings,
    )


def compare(
    baseline: Baseline, other: Baseline, file: Path, smallest: Mapping[str, float] = _SMALLEST
) -> Difference:
    """Return how a baseline differs from another one, that of `file`.

    Args:
        baseline: The baseline.
        other: The other one.
        file: Its file.
        smallest: The smallest drift worth finding by each statistic's name, as the stream's settings have it.
    """
    own, its = baseline.metadata, other.metadata
    floors = floor_of(smallest[MEAN_SHIFT.name]), floor_of(smallest[DIVERGENCE.name])
    # An unknown model version matches any.
    versions = {own.model_version, its.model_version} - {None}
    if (own.dimension, own.metric) != (its.dimension, its.metric) or len(versions) > 1:
        return Difference(file, other.identity, *floors)
    shift = baseline.components.astype(np.float64) @ (other.mean - baseline.mean)
    null = MeanShiftNull(
        np.diag(baseline.variances), own.fitted_count, _overdispersion_of(baseline), own.mean_count
    )
    divergence = excess = None
    if np.array_equal(baseline.centroids.values, other.centroids.values):
        divergence = float(js_contributions(other.counts, baseline.counts).sum())
        excess = divergence - _noise_floor(baseline, its.reference_count)
    return Difference(
        file,
        other.identity,
        *floors,
        _mean_distance(baseline, shift),
        null.test(shift, its.mean_count).excess,
        divergence,
        excess,
    )


def _overdispersion_of(baseline: Baseline) -> Overdispersion:
    """Return the overdispersion of a baseline; if it is not known, that of independent events."""
    return baseline.overdispersion or Overdispersion.independent(len(baseline.variances))


def _noise_floor(baseline: Baseline, count: int) -> float:
    """Return the expected base-2 divergence of a window of n events, 1 or more, without drift."""
    metadata = baseline.metadata
    of_independent = noise_floor(metadata.clusters, count, metadata.reference_count)
    return of_independent * _overdispersion_of(baseline).counts


def _mean_distance(baseline: Baseline, shift: NDArray[np.float64]) -> float:
    """Return the Mahalanobis distance from a baseline's mean of a (r,) shift along its components."""
    return float(np.sqrt(np.sum(np.square(shift) / baseline.variances)))


def describe(report: BaselineReport) -> list[Block]:
    """Return the report for a terminal: facts, weaknesses, differences, segments, clusters, examples."""
    metadata = report.metadata
    named = {
        "identity": report.identity,
        "stream": metadata.stream,
        "model version": metadata.model_version or "not given",
        "dimension": f"{metadata.dimension:,}",
        "clusters": f"{metadata.clusters:,}, by {metadata.metric} distance",
        "vectors": f"{metadata.fitted_count:,} fitted, {metadata.reference_count:,} others counted",
        "left out": ", ".join(f"{count:,} {why}" for why, count in metadata.left_out.items()) or "none",
        "training set": "yes" if metadata.training_set else "no",
        "components": f"{report.components}",
        "texts": f"held: {metadata.text_bytes} bytes of each example's"
        if metadata.text_bytes
        else "none held",
        "numbers": ", ".join(f"{name} {each.mean:.4g}" for name, each in report.numbers.items()) or "none",
        "seed": f"{metadata.seed}",
        "created": format_timestamp(metadata.created_ms),
        "with": ", ".join(f"{name} {version}" for name, version in metadata.versions.items()),
        "noise floor": ", ".join(
            f"{floor:.4f} at {count:,} events" for count, floor in report.noise_floor.items()
        ),
        "windows": (
            f"up to {report.largest_window:,} events are at most 1/{quality.MIN_RATIO} of the vectors counted"
        ),
        "overdispersion": _overdispersion(report),
        "stability": (
            "not measured" if metadata.stability is None else quality.stability_reading(metadata.stability)
        ),
    }
    blocks: list[Block] = [str(report.file), facts(named)]
    blocks += [f"  note: {note}" for note in report.notes]
    if report.against is not None:
        blocks += ["", f"against {report.against.file}", facts(_differences(report, report.against))]
    return [*blocks, *_tables(report)]


def _overdispersion(report: BaselineReport) -> str:
    windows, window_ms = report.overdispersion_windows, report.metadata.window_ms
    if windows is None:
        return "not known"
    reading = quality.overdispersion_reading(report.counts_overdispersion, report.means_overdispersion)
    if window_ms is None:
        return f"{reading}; measured on groups worth {windows} of one size"
    return f"{reading}; measured on {windows} windows of {format_duration(window_ms)}"


def _differences(report: BaselineReport, other: Difference) -> dict[str, str]:
    is_same = report.identity == other.identity
    return {
        "identity": "the same, and so are the results" if is_same else other.identity,
        "means": (
            "of another dimension, metric or model version: not comparable"
            if other.mean_distance is None
            else f"{other.mean_distance:.4f} standard deviations apart; squared and less noise "
            f"{other.mean_excess:.5f}, large from {other.mean_floor:.3g} on"
        ),
        "histograms": (
            "of other clusters: not comparable"
            if other.js_divergence is None
            else f"JSD {other.js_divergence:.5f}; less noise {other.js_excess:.5f}, large from "
            f"{other.js_floor:.3g} on"
        ),
    }


def _tables(report: BaselineReport) -> Iterator[Block]:
    """Yield the tables of the segments, the clusters, and the clusters' examples if there are any."""
    if report.segments:
        rows = [
            (
                f"{each.key}={each.value}",
                f"{each.count:,}",
                f"{each.share:.2%}",
                f"{each.js_divergence:.4f}",
                f"{each.mean_distance:.3f}",
                "unknown" if each.overdispersion is None else f"{each.overdispersion:.2f}",
            )
            for each in report.segments
        ]
        headings = ("segment", "count", "share", "JSD from all", "mean from all", "overdispersion")
        yield from ("", Table(headings, rows))
    clusters = [
        (
            f"{number}",
            f"{each.count:,}",
            f"{each.share:.2%}",
            f"{each.distance_quantiles[0.5]:#.4g}",
            f"{each.distance_quantiles[0.99]:#.4g}",
            each.name or "-",
        )
        for number, each in enumerate(report.clusters)
    ]
    headings = ("cluster", "count", "share", "distance p50", "distance p99", "name")
    yield from ("", Table(headings, clusters, text=(5,)))
    if any(each.example_ids for each in report.clusters):
        examples = [(f"{i}", ", ".join(each.example_ids) or "-") for i, each in enumerate(report.clusters)]
        if report.farthest is not None:
            examples.append(("farthest", ", ".join(report.farthest.example_ids) or "-"))
        yield from (
            "",
            Table(("cluster", "examples, the nearest to the centroid first"), examples, text=(1,)),
        )
