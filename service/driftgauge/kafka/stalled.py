"""Stalled partitions: a transaction does not end, so the last stable offset does not advance."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from driftgauge.core.partition import Partition
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.shared_admin import SharedAdmin

__all__ = ["StableOffsets", "StalledOffsets"]

_INTERVAL_S: Final = 5.0
# Within this time brokers have looked twice for transactions that timed out, and aborted them.
_AFTER_S: Final = 40.0


@dataclass(frozen=True, slots=True)
class _StableOffset:
    """A stable offset below the high watermark.

    Attributes:
        offset: The offset.
        since_s: When it was first seen, in monotonic seconds.
        seen_s: When it was last seen, in monotonic seconds.
    """

    offset: int
    since_s: float
    seen_s: float


class StableOffsets:
    """Detects stable offsets that do not advance.

    The stable offset is the first offset of the earliest open transaction. While it is unchanged and below
    the high watermark, the same transaction is open.
    """

    def __init__(self, after_s: float) -> None:
        """Detect offsets that have not advanced for `after_s` seconds."""
        self._after_s = after_s
        self._held_back: dict[Partition, _StableOffset] = {}

    def observe(self, stable: Mapping[Partition, int], high: Mapping[Partition, int], now_s: float) -> None:
        """Add one reading of stable offsets and high watermarks; partitions without both keep their state."""
        for partition in stable.keys() & high.keys():
            offset = stable[partition]
            known = self._held_back.get(partition)
            if offset >= high[partition]:
                self._held_back.pop(partition, None)
            elif known is None or known.offset != offset:
                self._held_back[partition] = _StableOffset(offset, now_s, now_s)
            else:
                self._held_back[partition] = replace(known, seen_s=now_s)

    def keep(self, partitions: Collection[Partition]) -> None:
        """Forget all other partitions."""
        self._held_back = {at: known for at, known in self._held_back.items() if at in partitions}

    @property
    def stalled_s(self) -> dict[Partition, float]:
        """For how many seconds, at least, the stable offset of each stalled partition has not advanced."""
        waited = {at: known.seen_s - known.since_s for at, known in self._held_back.items()}
        return {at: waited_s for at, waited_s in waited.items() if waited_s >= self._after_s}


class StalledOffsets:
    """Asks brokers every 5 s, without blocking, which partitions are stalled."""

    def __init__(self, admin: SharedAdmin, monotonic: Callable[[], float]) -> None:
        self._high = LogOffsets(admin)
        self._stable = LogOffsets(admin, stable=True)
        self._monotonic = monotonic
        self._offsets = StableOffsets(_AFTER_S)
        self._asked_s = -math.inf
        self._high_answers: dict[Partition, int] | None = {}
        self._stable_answers: dict[Partition, int] | None = {}

    def step(self, partitions: Collection[Partition]) -> dict[Partition, float]:
        """Return the stalled ones of these partitions, and for how many seconds each is stalled.

        The method does not wait: each call collects answers, and asks again when it is time.
        """
        now_s = self._monotonic()
        self._collect()
        self._offsets.keep(partitions)
        is_answered = self._high_answers is not None and self._stable_answers is not None
        if is_answered and (now_s - self._asked_s >= _INTERVAL_S):
            self._asked_s = now_s
            self._high_answers = self._stable_answers = None
            self._high.request(partitions)
            self._stable.request(partitions)
        return self._offsets.stalled_s

    def _collect(self) -> None:
        """Observe the answers once both have arrived."""
        was_open = self._high_answers is None or self._stable_answers is None
        if self._high_answers is None:
            self._high_answers = self._high.collect()
        if self._stable_answers is None:
            self._stable_answers = self._stable.collect()
        if was_open and self._high_answers is not None and self._stable_answers is not None:
            self._offsets.observe(self._stable_answers, self._high_answers, self._asked_s)
