"""Which baseline is in force when: a change of baselines without a window that is half and half.

Replicas get a new baseline one after the other, and each window must be counted against one of
them on all partitions. So whoever first holds a partition with a new baseline counts it beside the
old one from the next pane after everything the partition has come to. Once all partitions count the
new one, the windows that start at or after the latest of these beginnings are its. The old one is
counted everywhere until the last of its windows is final.

Where replicas make the very first start with different baselines, some partitions count against one
and some against another, and none is in force. Then each partition begins to count what any other
does. What they had counted until then belongs to no window that is whole, and is not published.

Whoever closes windows may know the others' progress late, and still judges each window alike: a
partition's progress can pass the end of such a window only after it has said that it counts the
new baseline, for it begins to beyond all that it had reached.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from driftgauge.core.state import Counting
from driftgauge.core.windows.window import Window

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

    def __init__(self, partitions: Collection[tuple[Counting, ...]]) -> None:
        """Take what each partition counts against: nothing yet where that is not known.

        Such a partition's owner may have begun to count what was in force then, and not what is now.
        """
        known = [counting for counting in partitions if counting]
        self._is_whole = 0 < len(known) == len(partitions)
        self._orders: list[list[str]] = []
        beginnings: dict[str, list[tuple[int, int]]] = {}
        for counting in known:
            self._orders.append([entry.baseline for entry in counting])
            for place, entry in enumerate(counting):
                from_ms = _ALWAYS if entry.from_ms is None else entry.from_ms
                beginnings.setdefault(entry.baseline, []).append((from_ms, place))
        # Of two that begin at once, between which no event came, the one that was brought in first is older.
        self._eras = sorted(
            _Era(max(from_ms for from_ms, _ in began), min(place for _, place in began), baseline)
            for baseline, began in beginnings.items()
            if len(began) == len(known)
        )

    @property
    def counted(self) -> set[str]:
        """The baselines that any partition counts, in force or not."""
        return {baseline for order in self._orders for baseline in order}

    @property
    def newest(self) -> str | None:
        """The baseline that came into force last; None where none is."""
        return self._eras[-1].baseline if self._eras else None

    @property
    def in_force(self) -> list[str]:
        """The baselines in force, oldest first."""
        return [era.baseline for era in self._eras]

    def is_established(self, baseline: str) -> bool:
        """Tell whether every partition counts a baseline, and none counts another one after it."""
        return self._is_whole and all(order[-1] == baseline for order in self._orders)

    def of(self, window: Window) -> str | None:
        """Return the baseline that a window is counted against; None where none is in force."""
        return next(
            (era.baseline for era in reversed(self._eras) if era.from_ms <= window.start_ms),
            None,
        )

    def begin_after(self, window: Window) -> bool:
        """Tell whether a window has begun before any of them, so that it will never be whole."""
        return bool(self._eras) and window.start_ms < self._eras[0].from_ms

    def is_leaving(self, baseline: str) -> bool:
        """Tell whether a baseline is counted only until the last of its windows is final."""
        return baseline in self.in_force[:-1] or self._is_left(baseline)

    def is_over(self, baseline: str, sizes_ms: tuple[int, ...], final_ms: int) -> bool:
        """Tell whether no window that is not final can be counted against a baseline any more.

        Windows that have begun before the next baseline are finished with the old one.
        """
        # What is dropped before anything is final could come again from the very same moment on.
        if not self._is_whole or final_ms <= 0:
            return False
        for era, following in pairwise(self._eras):
            if era.baseline == baseline:
                return following.boundary_ms(sizes_ms) <= final_ms
        return self._is_left(baseline) and self._eras[-1].boundary_ms(sizes_ms) <= final_ms

    def _is_left(self, baseline: str) -> bool:
        """Tell whether only some partitions still count a baseline, and all of these the newest after it."""
        after = [order[order.index(baseline) + 1 :] for order in self._orders if baseline in order]
        return 0 < len(after) < len(self._orders) and all(self.newest in later for later in after)
