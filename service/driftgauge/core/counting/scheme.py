"""The scheme of a tally: baseline, pane length, segment keys and statistics."""

import json
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache

__all__ = [
    "CLUSTER_COUNTS",
    "CLUSTER_OUTLIERS",
    "COORDINATE_SUMS",
    "HASH_COUNTS",
    "OUTLIER_SPREAD_SUMS",
    "SPREAD_SUMS",
    "Scheme",
    "Statistic",
]

CLUSTER_COUNTS = "cluster_counts"
"""The number of events of each cluster, k integers."""
CLUSTER_OUTLIERS = "cluster_outliers"
"""The number of events beyond the radius of each cluster, k integers."""
HASH_COUNTS = "hash_counts"
"""The number of events of each bin of the vectors' hash, 128 integers; a segment's tally has none."""
COORDINATE_SUMS = "coordinate_sums"
"""The sums of the events' fixed-point coordinates along the baseline's components, r integers."""
SPREAD_SUMS = "spread_sums"
"""The sums of the events' fixed-point spreads, along the components and of the residual, two integers."""
OUTLIER_SPREAD_SUMS = "outlier_spread_sums"
"""The same of the events beyond the radius of their cluster."""

Statistic = tuple[str, int]
"""A statistic's name, and its number of integers in a tally."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """The scheme of a tally; only tallies of the same scheme can be added.

    Attributes:
        baseline: The key of the baseline whose centroids the events were assigned to.
        pane_ms: The length of a pane.
        segment_keys: The keys by which segments are counted too, in order.
        statistics: The statistics in a tally, in order. A new statistic makes a new scheme, so that
            replicas of two versions never add tallies of different content.
    """

    baseline: str
    pane_ms: int
    segment_keys: tuple[str, ...]
    statistics: tuple[Statistic, ...]

    @property
    def key(self) -> str:
        """The scheme as part of a record's key, such as "0123456789abcdef-89abcdef"."""
        return _key(self)

    @property
    def of_segments(self) -> "Scheme":
        """The scheme of the segments' tallies, which hold no hashes."""
        statistics = tuple(statistic for statistic in self.statistics if statistic[0] != HASH_COUNTS)
        return replace(self, statistics=statistics)

    @property
    def length(self) -> int:
        """The number of integers in a tally."""
        return sum(length for _, length in self.statistics)


@lru_cache(maxsize=4_096)
def _key(scheme: Scheme) -> str:
    # Cached, since every delta needs the key of one of a few schemes.
    content = json.dumps([scheme.pane_ms, scheme.segment_keys, scheme.statistics], separators=(",", ":"))
    return f"{scheme.baseline}-{zlib.crc32(content.encode()):08x}"
