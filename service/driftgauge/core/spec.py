"""How one stream is watched."""

from dataclasses import dataclass
from math import gcd

from driftgauge.core.reference import Reference

__all__ = ["StreamSpec"]


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """How one stream is watched.

    Attributes:
        name: The stream's name.
        reference: The baseline it is configured to be compared with.
        sizes_ms: The window sizes, ms.
        disorder_ms: How far behind the newest event of its partition an event may be expected.
        lateness_ms: How long after its closing a window is still corrected.
        idle_ms: Wall time of silence after which a partition may count as idle.
        incomplete_ms: Wall time that a window waits for the partitions behind the foremost one
            before it is published without them.
        min_events: A window with fewer events is not scored.
    """

    name: str
    reference: Reference
    sizes_ms: tuple[int, ...]
    disorder_ms: int
    lateness_ms: int
    idle_ms: int
    incomplete_ms: int
    min_events: int

    @property
    def pane_ms(self) -> int:
        """The longest stretch of event time that every window size is a multiple of."""
        return gcd(*self.sizes_ms)
