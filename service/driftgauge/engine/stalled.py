"""Partitions that do not advance, because a transaction stays open."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from driftgauge.core.partition import Partition
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.watchdog import ReadingWatch

__all__ = ["StalledOffsets"]

_INTERVAL_S: Final = 5.0
# Within this time brokers have looked twice for transactions that timed out, and aborted them.
_AFTER_S: Final = 40.0


@dataclass(frozen=True, slots=True)
class _HeldBack:
    """A stable offset below the high watermark: the first offset of the earliest open transaction.

    Attributes:
        offset: The offset.
        since_s: When it was first seen, in monotonic seconds.
        seen_s: When it was last seen, in monotonic seconds.
    """

    offset: int
    since_s: float
    seen_s: float


class StalledOffsets:
    """Asks brokers every 5 s, and at once for further partitions, how far partitions can be read.

    While a stable offset is unchanged and below the high watermark, the same transaction is open.

    Attributes:
        high: The high watermarks of the last answer.
    """

    def __init__(self, admin: SharedAdmin, monotonic: Callable[[], float]) -> None:
        self._high = LogOffsets(admin)
        self._stable = LogOffsets(admin, stable=True)
        self._monotonic = monotonic
        self._held_back: dict[Partition, _HeldBack] = {}
        self._reading = ReadingWatch()
        self.excuse = self._reading.excuse
        self.high: dict[Partition, int] = {}
        self._positions: Mapping[Partition, int | None] = {}
        self._readings = self._read()

    def step(self, positions: Mapping[Partition, int | None]) -> dict[Partition, float]:
        """Return the stalled ones of these partitions, and for how many seconds each is stalled.

        The method does not wait: each call collects answers, and asks again when it is time.

        Args:
            positions: The next offset to read of each partition; None if it is not being read.

        Raises:
            ClientLost: The client has not read on for a minute, though brokers have records to give.
        """
        self._positions = positions
        next(self._readings)
        self._held_back = {at: each for at, each in self._held_back.items() if at in positions}
        waited_s = {at: each.seen_s - each.since_s for at, each in self._held_back.items()}
        return {at: each for at, each in waited_s.items() if each >= _AFTER_S}

    def _read(self) -> Generator[None, None, NoReturn]:
        """Read both offsets again and again; yield between two looks for the answers, or for the time."""
        while True:
            asked, asked_s = frozenset(self._positions), self._monotonic()
            self._high.request(asked)
            self._stable.request(asked)
            while (high := self._high.collect()) is None:
                yield
            while (stable := self._stable.collect()) is None:
                yield
            self.high = high
            self._observe(stable, asked_s)
            self._reading.require_reading(self._positions, stable)
            while self._positions.keys() <= asked and self._monotonic() - asked_s < _INTERVAL_S:
                yield

    def _observe(self, stable: Mapping[Partition, int], asked_s: float) -> None:
        """Note which stable offsets are below the high watermark; partitions without both stay as is."""
        for at in stable.keys() & self.high.keys():
            known = self._held_back.pop(at, None)
            if stable[at] < self.high[at]:
                since_s = known.since_s if known and known.offset == stable[at] else asked_s
                self._held_back[at] = _HeldBack(stable[at], since_s, asked_s)
