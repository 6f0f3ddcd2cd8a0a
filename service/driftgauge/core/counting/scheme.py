"""The scheme of a tally: baseline, pane length, segment keys and fields."""

import json
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache

from driftgauge.core.counting.tally import TallyField

__all__ = ["Scheme"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """The scheme of a tally; only tallies of the same scheme can be added.

    Attributes:
        baseline: The key of the baseline whose centroids the events were assigned to.
        pane_ms: The length of a pane.
        segment_keys: The keys by which segments are counted too, in order.
        fields: The fields of a tally, in order. A new statistic makes a new scheme, so that replicas of two
            versions never add tallies of different content.
    """

    baseline: str
    pane_ms: int
    segment_keys: tuple[str, ...]
    fields: tuple[TallyField, ...]

    @property
    def key(self) -> str:
        """The scheme as part of a record's key, such as "0123456789abcdef-89abcdef"."""
        return _key(self)

    @property
    def of_segments(self) -> "Scheme":
        """The scheme of the segments' tallies."""
        return replace(self, fields=tuple(field for field in self.fields if field.in_segments))

    @property
    def length(self) -> int:
        """The number of integers in a tally."""
        return sum(field.length for field in self.fields)


@lru_cache(maxsize=4_096)
def _key(scheme: Scheme) -> str:
    # Cached, since every delta needs the key of one of a few schemes.
    content = json.dumps([scheme.pane_ms, scheme.segment_keys, scheme.fields], separators=(",", ":"))
    return f"{scheme.baseline}-{zlib.crc32(content.encode()):08x}"
