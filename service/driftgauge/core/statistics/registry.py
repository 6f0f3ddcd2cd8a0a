"""The registry of statistics: the one list that counting, scoring, records, metrics and pages go over.

Read it as `registry.STATISTICS`, so that all see the same list.
"""

from collections.abc import Mapping
from math import fsum
from typing import Any

from driftgauge.core.counting.tally import TallyField
from driftgauge.core.reference import Reference
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.duplicates import DUPLICATES
from driftgauge.core.statistics.mean_shift import MEAN_SHIFT
from driftgauge.core.statistics.novelty import NOVELTY
from driftgauge.core.statistics.relations import RELATIONS
from driftgauge.core.statistics.spread import SPREAD
from driftgauge.core.statistics.statistic import Kind, Statistic

__all__ = ["STATISTICS", "counted", "fields_of", "find_kind", "list_kinds", "total_weight"]

STATISTICS: tuple[Statistic[Any], ...] = (
    DIVERGENCE,
    MEAN_SHIFT,
    NOVELTY,
    SPREAD,
    DUPLICATES,
    RELATIONS,
)
"""The statistics. The first counts the events of each cluster, which a tally begins with."""


def counted(arrays: Mapping[str, Any]) -> tuple[Statistic[Any], ...]:
    """Return the statistics whose arrays a baseline has; the others are neither counted nor tested."""
    return tuple(each for each in STATISTICS if each.arrays.keys() <= arrays.keys())


def fields_of(reference: Reference) -> tuple[TallyField, ...]:
    """Return the fields of a tally against a baseline, of all events together."""
    clusters, components = reference.centroids.clusters, reference.components
    return tuple(field for each in counted(reference.arrays) for field in each.fields(clusters, components))


def total_weight() -> float:
    """Return the sum of all weights.

    Where one test alone is significant, the combined p-value is its own times this over its weight.
    """
    return fsum(weight for each in STATISTICS for weight in each.weights)


def find_kind(name: str) -> Kind:
    """Return the kind of drift of this name; one without words where another version wrote it."""
    kinds = (each.kind for each in STATISTICS)
    return next((kind for kind in kinds if kind.name == name), Kind(name, "", ""))


def list_kinds() -> str:
    """Return the kinds of drift with what they mean, for a list in a sentence."""
    return ", ".join(f"{each.kind.name} ({each.kind.sentence})" for each in STATISTICS)
