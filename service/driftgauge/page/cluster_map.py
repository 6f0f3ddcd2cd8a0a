"""The geometry of the map of the clusters: a bubble at each centroid, and names beside some."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from driftgauge.records.window_record import ClusterRecord

__all__ = ["Bubble", "ClusterMap", "Label", "cluster_map"]

_SIZE = 420
_PADDING = 6
# A cluster of all events fills a fifth of the map's width.
_LARGEST_RADIUS = 84
_LEAST_RADIUS = 2.0
# The room of a letter and of a line. A longer name would cover most of the map.
_LETTER_WIDTH, _LINE_HEIGHT = 7.0, 14.0
_MAX_LETTERS = 32


@dataclass(frozen=True, slots=True)
class Label:
    """A name on the map: its text, the middle of it, and its base line."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Bubble:
    """A cluster on the map.

    Attributes:
        cluster: The cluster.
        x, y: Its centre.
        radius, baseline_radius: Its radii now and in the baseline.
        change: Whether its share is `more` or `less`.
        label: Its name; None where the name is left out.
    """

    cluster: ClusterRecord
    x: float
    y: float
    radius: float
    baseline_radius: float
    change: str
    label: Label | None


@dataclass(frozen=True, slots=True)
class ClusterMap:
    """The centroids along the baseline's two leading components, the largest first."""

    size: int
    bubbles: tuple[Bubble, ...]


def cluster_map(clusters: Iterable[ClusterRecord], named: Sequence[int]) -> ClusterMap | None:
    """Return the map of the clusters that have positions; None where none has.

    All bubbles and names lie within the map.

    Args:
        clusters: The clusters of a window.
        named: The clusters whose names are written on the map.
    """
    placed = [cluster for cluster in clusters if cluster.position is not None]
    if not placed:
        return None
    positions = np.array([cluster.position for cluster in placed], dtype=np.float64)
    low, high = positions.min(axis=0), positions.max(axis=0)
    # One scale for both axes: distances on the map are distances along the components.
    span = max(float((high - low).max()), 1e-9)
    # Any bubble may lie at the edge, so the margin holds the largest.
    margin = _PADDING + max(_radius(max(cluster.share, cluster.baseline_share)) for cluster in placed)
    scaled = margin + (positions - low + (span - (high - low)) / 2) / span * (_SIZE - 2 * margin)
    centres = [(x, _SIZE - y) for x, y in scaled.tolist()]
    labels = _labels([(each, x, y) for each, (x, y) in zip(placed, centres, strict=True) if each.id in named])
    bubbles = [
        Bubble(
            cluster,
            _round(x),
            _round(y),
            _radius(cluster.share),
            _radius(cluster.baseline_share),
            "more" if cluster.share > cluster.baseline_share else "less",
            labels.get(cluster.id),
        )
        for cluster, (x, y) in zip(placed, centres, strict=True)
    ]
    return ClusterMap(_SIZE, tuple(sorted(bubbles, key=lambda bubble: -bubble.radius)))


def _labels(places: Iterable[tuple[ClusterRecord, float, float]]) -> dict[int, Label]:
    """Return the names of clusters at these centres; a name that would cover another moves away."""
    labels: dict[int, Label] = {}
    ordered = sorted(places, key=lambda place: place[2])
    for cluster, x, y in ordered:
        text = cluster.name or str(cluster.id)
        if len(text) > _MAX_LETTERS:
            text = f"{text[: _MAX_LETTERS - 1]}…"
        edge = _PADDING + len(text) * _LETTER_WIDTH / 2
        label = Label(
            text, _round(min(max(x, edge), _SIZE - edge)), max(_round(y + _LINE_HEIGHT / 3), _LINE_HEIGHT)
        )
        lowest = max((above.y for above in labels.values() if _meet(label, above)), default=-math.inf)
        labels[cluster.id] = replace(label, y=max(label.y, lowest + _LINE_HEIGHT))
    # Names that moved below the map's edge push those above them up again.
    settled: dict[int, Label] = {}
    for cluster, _, _ in reversed(ordered):
        label = labels[cluster.id]
        highest = min((below.y for below in settled.values() if _meet(label, below)), default=math.inf)
        settled[cluster.id] = replace(label, y=min(label.y, _SIZE - _PADDING, highest - _LINE_HEIGHT))
    return settled


def _meet(label: Label, other: Label) -> bool:
    """Return whether two names cover each other where they stand on one line."""
    return abs(label.x - other.x) < (len(label.text) + len(other.text)) * _LETTER_WIDTH / 2


def _radius(share: float) -> float:
    return _round(max(_LARGEST_RADIUS * math.sqrt(share), _LEAST_RADIUS))


def _round(value: float) -> float:
    return round(float(value), 1)
