"""Builders of event batches and tallies, and the histograms and windows that events imply."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.hashing import HASH_BINS, hash_vectors
from driftgauge.core.counting.tally import Tally
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Reference
from driftgauge.core.statistics import registry
from driftgauge.core.window import Window
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.references import CLUSTERS, FIRST, RICH


def at(hours: float, cluster: int = 0) -> tuple[int, int]:
    """Return an event, (time_ms, cluster), this many hours after Monday began."""
    return MONDAY_MS + round(hours * HOUR_MS), cluster


def partitions_of(sizes: Mapping[str, int]) -> list[Partition]:
    """Return all partitions of topics with these numbers of partitions."""
    return [(topic, index) for topic, size in sizes.items() for index in range(size)]


HOME, AWAY = partitions_of({"embeddings": 2})


def build_tally(*counts: int, reference: Reference = FIRST, outliers: int = 0) -> NDArray[np.int64]:
    """Return the tally of this number of unit vectors of each cluster, (length,) int64.

    The outliers are those of the first cluster.
    """
    clusters = np.array(counts, dtype=np.int64)
    hashes = np.bincount(hash_vectors(reference.centroids.values), clusters, minlength=HASH_BINS)
    coordinates, spreads, *_ = reference.projection.measure(reference.centroids.values)
    return build_values(
        reference,
        cluster_counts=clusters,
        cluster_outliers=outliers * np.eye(len(clusters))[0],
        hash_counts=hashes,
        clipped_coordinate_sums=clusters @ coordinates,
        spread_sums=clusters @ spreads,
    )


def build_segment_tally(*counts: int, reference: Reference = FIRST) -> NDArray[np.int64]:
    """Return the tally of a segment, which holds no hashes, (length,) int64."""
    return of_segment(build_tally(*counts, reference=reference), reference)


def of_segment(values: NDArray[np.int64], reference: Reference = FIRST) -> NDArray[np.int64]:
    """Return the part of a tally that segments have."""
    fields = registry.fields_of(reference)
    return values[np.repeat([field.in_segments for field in fields], [field.length for field in fields])]


def build_values(reference: Reference = FIRST, **fields: ArrayLike) -> NDArray[np.int64]:
    """Return the values of a tally with these fields, and zeros for the others."""
    return np.concatenate(
        [
            np.asarray(fields.get(field.name, np.zeros(field.length)), np.int64)
            for field in registry.fields_of(reference)
        ]
    )


def read_tally(values: NDArray[np.int64], reference: Reference = FIRST) -> Tally:
    """Return a tally of values, of all events or of a segment's."""
    fields = registry.fields_of(reference)
    if len(values) < sum(field.length for field in fields):
        fields = tuple(field for field in fields if field.in_segments)
    return Tally(values, fields)


def build_bursts(number: int) -> tuple[int, ...]:
    """Return the counts of an hour of the warm-up: bursts of three events, by chance."""
    return tuple(3 * np.random.default_rng(number).multinomial(1_000, RICH.counts / RICH.counts.sum()))


def build_batch(
    events: Sequence[tuple[int, int, int, int]], stream: str = "images", **columns: Any
) -> EventBatch:
    """Return a batch of (partition, offset, time_ms, cluster) with the columns of `build_columns`."""
    partition, offset, time_ms, cluster = np.array(events, dtype=np.int64).reshape(-1, 4).T
    return build_columns(stream, partition, offset, time_ms, np.eye(CLUSTERS)[cluster], **columns)


def build_columns(  # noqa: PLR0913 - the columns of a batch
    stream: str,
    partition: NDArray[Any],
    offset: NDArray[np.int64],
    time_ms: NDArray[np.int64],
    vectors: NDArray[Any],
    *,
    baseline: str = FIRST.key,
    credible_ms: ArrayLike | None = None,
    event_ids: Sequence[str] = (),
    segments: Sequence[Any] = (),
    snippets: Sequence[str | None] = (),
    numbers: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> EventBatch:
    """Return a batch of these columns; event times are credible by default."""
    return EventBatch(
        stream=stream,
        baseline=baseline,
        row=np.arange(len(time_ms)),
        partition=partition.astype(np.int32),
        offset=offset,
        time_ms=time_ms,
        credible_ms=time_ms if credible_ms is None else np.asarray(credible_ms, dtype=np.int64),
        vectors=vectors.astype(np.float32, copy=False),
        event_ids=event_ids,
        segments=segments,
        snippets=snippets,
        numbers={name: np.array(values, np.float64) for name, values in numbers.items()},
    )


def counts_of(events: Iterable[tuple[int, int, int, int]], window: Window) -> tuple[int, ...]:
    """Return the window's histogram, counted event by event."""
    clusters = Counter(
        cluster for _, _, time_ms, cluster in events if window.start_ms <= time_ms < window.end_ms
    )
    return tuple(clusters[cluster] for cluster in range(CLUSTERS))


def windows_of(events: Iterable[tuple[int, int, int, int]], sizes_ms: Sequence[int]) -> set[Window]:
    """Return every window that holds an event."""
    return {
        Window(size_ms, time_ms // size_ms * size_ms) for _, _, time_ms, _ in events for size_ms in sizes_ms
    }
