"""How events were counted: the baseline, the panes, the segments and the statistics of a tally."""

import json
import zlib
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["CLUSTER_COUNTS", "COORDINATE_SUMS", "OUTLIERS", "Scheme", "Statistic"]

CLUSTER_COUNTS = "cluster_counts"
"""The events of each cluster, k numbers."""
OUTLIERS = "outliers"
"""The events beyond the radius of their cluster, one number."""
COORDINATE_SUMS = "coordinate_sums"
"""The sums of the events' fixed-point coordinates along the baseline's components, r numbers."""

Statistic = tuple[str, int]
"""A statistic's name, and how many integers it takes in a tally."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """What two tallies must have in common to be added.

    Attributes:
        baseline: The key of the baseline that the events were assigned by.
        pane_ms: The length of a pane.
        segment_keys: The keys of the segments that were counted apart as well, in their order.
        statistics: What a tally holds, in order. A new statistic makes a new scheme, so that replicas of
            two versions never add what does not belong together.
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
    def length(self) -> int:
        """How many integers a tally has."""
        return sum(length for _, length in self.statistics)


@lru_cache(maxsize=4_096)
def _key(scheme: Scheme) -> str:
    # Asked for with every delta, of few schemes.
    content = json.dumps([scheme.pane_ms, scheme.segment_keys, scheme.statistics], separators=(",", ":"))
    return f"{scheme.baseline}-{zlib.crc32(content.encode()):08x}"
