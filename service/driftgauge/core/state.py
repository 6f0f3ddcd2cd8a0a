"""The state model: what is kept of a partition, as keyed values of which the last one stands.

The state of the whole service is the union over partitions. Each partition's part is written only
by whoever owns the partition, and one transaction's changes to it end with `ProgressKey`: a reader
that has seen a progress has seen all that it stands for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.examples import Example
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Segment
from driftgauge.core.result import WindowResult
from driftgauge.core.verdict import History
from driftgauge.core.windows.window import Window

__all__ = [
    "BaselineKey",
    "Change",
    "Counting",
    "ExamplesKey",
    "FinalKey",
    "Gap",
    "HistoryKey",
    "Key",
    "PaneKey",
    "Progress",
    "ProgressKey",
    "PublishedKey",
    "StreamProgress",
    "Value",
]


@dataclass(frozen=True, slots=True)
class Counting:
    """A baseline that a partition's events are counted against.

    Attributes:
        baseline: The baseline's key.
        from_ms: The event time from which on; None: from the first.
    """

    baseline: str
    from_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Event time of which a partition has lost events, for its log no longer kept them.

    Attributes:
        from_ms: The earliest event time that may be concerned; None where nothing is known.
        to_ms: The latest, inclusive; None until the partition has been read on, or has proven idle.
    """

    from_ms: int | None
    to_ms: int | None = None

    def touches(self, window: Window) -> bool:
        """Tell whether events of the window may be among the lost ones."""
        before = self.from_ms is not None and window.end_ms <= self.from_ms
        after = self.to_ms is not None and window.start_ms > self.to_ms
        return not (before or after)


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """How far one stream has come on one partition; event times in ms.

    Attributes:
        newest_ms: Highest event time seen; None before the first event.
        idle_to_ms: How far the stream had come everywhere when this partition was last proven to
            have nothing of it pending; None if it never was.
        horizon_ms: Purge horizon applied: events whose windows all end at or before it are late here.
        counting: The baselines counted against, oldest first.
        gap: What was lost, while windows that it touches are open.
    """

    newest_ms: int | None = None
    idle_to_ms: int | None = None
    horizon_ms: int | None = None
    counting: tuple[Counting, ...] = ()
    gap: Gap | None = None

    @property
    def reached_ms(self) -> int | None:
        """The event time that the partition has come to, by an event or by proven idleness."""
        if self.newest_ms is None or self.idle_to_ms is None:
            return self.idle_to_ms if self.newest_ms is None else self.newest_ms
        return max(self.newest_ms, self.idle_to_ms)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition has been counted.

    Attributes:
        position: The next offset to read: everything before it is in the counts, or was rejected.
        streams: How far each stream has come.
    """

    position: int
    streams: Mapping[str, StreamProgress] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PaneKey:
    """A partition's tally of one pane of a stream, against one baseline, (k + 1 + r,) int64; see `Tally`.

    Panes of several lengths may stand side by side where the configured window sizes have changed.

    Attributes:
        stream: The stream's name.
        baseline: The baseline's key.
        pane: The pane.
        segment: The segment of the events; None for all of them.
    """

    stream: str
    baseline: str
    pane: Window
    segment: Segment | None = None


@dataclass(frozen=True, slots=True)
class ExamplesKey:
    """A partition's examples of one pane of a stream, against one baseline."""

    stream: str
    baseline: str
    pane: Window


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A window's result as it was last published; kept at the stream's home partition."""

    stream: str
    window: Window


@dataclass(frozen=True, slots=True)
class HistoryKey:
    """What a stream's windows of one size, ms, leave behind; kept at its home partition."""

    stream: str
    size_ms: int


@dataclass(frozen=True, slots=True)
class FinalKey:
    """The event time, ms, up to which a stream's windows are final; kept at its home partition."""

    stream: str


@dataclass(frozen=True, slots=True)
class BaselineKey:
    """One part, bytes, of a baseline's file, so that whoever takes over can count against it.

    Attributes:
        baseline: The baseline's key.
        part: The part's place, from 0.
        parts: How many there are.
    """

    baseline: str
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class ProgressKey:
    """The partition's `Progress`."""


Key = PaneKey | ExamplesKey | PublishedKey | HistoryKey | FinalKey | BaselineKey | ProgressKey
Value = NDArray[np.int64] | tuple[Example, ...] | WindowResult | History | int | bytes | Progress


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A partition's new value under a key; None where it is forgotten."""

    partition: Partition
    key: Key
    value: Value | None
