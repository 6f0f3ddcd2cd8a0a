"""Partitions whose stable offset stands still, because a transaction in them does not end."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from driftgauge.core.partition import Partition
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.shared_admin import SharedAdmin

__all__ = ["StableOffsets", "StalledOffsets"]

_INTERVAL_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Standing:
    """A stable offset below the high watermark, and when it was first and last seen there."""

    offset: int
    since_s: float
    seen_s: float


class StableOffsets:
    """Tells a stable offset that stands still from one that is only late.

    The stable offset is where the first transaction that is open begins. Where it is the same as before,
    and below the high watermark, it is still the same transaction.
    """

    def __init__(self, after_s: float) -> None:
        """Take an offset for stalled when it has stood still for so long."""
        self._after_s = after_s
        self._standing: dict[Partition, _Standing] = {}

    def observe(self, stable: Mapping[Partition, int], high: Mapping[Partition, int], now_s: float) -> None:
        """Take one reading. What is known of a partition that it leaves out stays as it is."""
        for partition in stable.keys() & high.keys():
            offset = stable[partition]
            standing = self._standing.get(partition)
            if offset >= high[partition]:
                self._standing.pop(partition, None)
            elif standing is None or standing.offset != offset:
                self._standing[partition] = _Standing(offset, now_s, now_s)
            else:
                self._standing[partition] = replace(standing, seen_s=now_s)

    def keep(self, partitions: Collection[Partition]) -> None:
        """Forget all other partitions."""
        self._standing = {at: known for at, known in self._standing.items() if at in partitions}

    @property
    def stalled_s(self) -> dict[Partition, float]:
        """How long each stalled partition's stable offset is known to have stood still."""
        lasting = {at: known.seen_s - known.since_s for at, known in self._standing.items()}
        return {at: lasting_s for at, lasting_s in lasting.items() if lasting_s >= self._after_s}

    def offset(self, partition: Partition) -> int:
        """Return the offset at which a stalled partition stands: where the open transaction begins."""
        return self._standing[partition].offset


class StalledOffsets:
    """Asks every few seconds, in the background, which partitions are stalled."""

    def __init__(self, admin: SharedAdmin, after_s: float, monotonic: Callable[[], float]) -> None:
        self._high = LogOffsets(admin)
        self._stable = LogOffsets(admin, stable=True)
        self._monotonic = monotonic
        self._offsets = StableOffsets(after_s)
        self._asked_s = -math.inf
        self._high_answers: dict[Partition, int] | None = {}
        self._stable_answers: dict[Partition, int] | None = {}

    def step(self, partitions: Collection[Partition]) -> dict[Partition, float]:
        """Ask for these partitions when it is time; return the stalled ones, and for how long each is.

        Does not wait; call it again and again.
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

    def offset(self, partition: Partition) -> int:
        """Return the offset at which a stalled partition stands: where the open transaction begins."""
        return self._offsets.offset(partition)

    def _collect(self) -> None:
        """Take the answers once both are there."""
        was_open = self._high_answers is None or self._stable_answers is None
        if self._high_answers is None:
            self._high_answers = self._high.collect()
        if self._stable_answers is None:
            self._stable_answers = self._stable.collect()
        if was_open and self._high_answers is not None and self._stable_answers is not None:
            self._offsets.observe(self._stable_answers, self._high_answers, self._asked_s)
