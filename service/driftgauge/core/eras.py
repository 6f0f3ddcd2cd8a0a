"""Which baseline is in force when: a change of baselines without a window that is half and half.

Replicas get a new baseline one after the other, and each window must be counted against one of
them on all partitions. So whoever first holds a partition with a new baseline counts it beside the
old one from the next pane after everything the partition has come to. Once all partitions
count the new one, the windows that start at or after the latest of these beginnings are its; until
then nobody stops counting the old one.

Whoever closes windows may know the others' progress late, and still judges each window alike: a
partition's progress can pass the end of such a window only after it has said that it counts the
new baseline, for it begins to beyond all that it had reached.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from driftgauge.core.state import Counting
from driftgauge.core.window import Window

__all__ = ["Eras"]

_ALWAYS = -1


@dataclass(frozen=True, slots=True, order=True)
class _Era:
    from_ms: int
    place: int
    baseline: str

    def boundary_ms(self, sizes_ms: tuple[int, ...]) -> int:
        """Return when the last window ends that has begun before."""
        return max(-(-self.from_ms // size) * size for size in sizes_ms)


class Eras:
    """The baselines of one stream that are in force, each from a time on."""

    def __init__(self, partitions: Iterable[tuple[Counting, ...]]) -> None:
        """Take what each partition that knows the stream counts against."""
        self._partitions = list(partitions)
        beginnings: dict[str, list[tuple[int, int]]] = {}
        for counting in self._partitions:
            for place, entry in enumerate(counting):
                from_ms = _ALWAYS if entry.from_ms is None else entry.from_ms
                beginnings.setdefault(entry.baseline, []).append((from_ms, place))
        # Of two that begin at once, between which no event came, the one that was brought in first is older.
        self._eras = sorted(
            _Era(max(from_ms for from_ms, _ in began), min(place for _, place in began), baseline)
            for baseline, began in beginnings.items()
            if len(began) == len(self._partitions)
        )

    @property
    def newest(self) -> str | None:
        """The baseline that came into force last; None where none is."""
        return self._eras[-1].baseline if self._eras else None

    @property
    def in_force(self) -> list[str]:
        """The baselines in force, oldest first."""
        return [era.baseline for era in self._eras]

    def of(self, window: Window) -> str | None:
        """Return the baseline that a window is counted against; None where none is in force."""
        return next(
            (era.baseline for era in reversed(self._eras) if era.from_ms <= window.start_ms),
            None,
        )

    def until_ms(self, baseline: str, sizes_ms: tuple[int, ...]) -> int | None:
        """Return the event time from which on no window is counted against a baseline; None while one may be.

        Windows that have begun before the next baseline are finished with the old one.
        """
        for era, following in zip(self._eras, self._eras[1:], strict=False):
            if era.baseline == baseline:
                return following.boundary_ms(sizes_ms)
        return self._eras[-1].boundary_ms(sizes_ms) if self._is_left(baseline) else None

    def _is_left(self, baseline: str) -> bool:
        """Tell whether only some partitions still count a baseline, and all of these the newest after it."""
        orders = [[entry.baseline for entry in entries] for entries in self._partitions]
        after = [order[order.index(baseline) + 1 :] for order in orders if baseline in order]
        return bool(after) and all(self.newest in later for later in after)
