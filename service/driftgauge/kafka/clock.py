"""How far this replica's clock is from the brokers'."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from driftgauge.errors import ClockError
from driftgauge.telemetry.roles import RoleTelemetry

__all__ = ["Append", "ClockGuard", "ClockOffset"]

# Event times are judged by this clock: a replica that is further off must not count.
_MAX_OFFSET_MS: Final = 2_000

# NTP corrects a clock within minutes; what was measured before must not excuse or accuse it any more.
_REMEMBERED_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Append:
    """When a record was appended, between the moments when it was sent and when that was reported.

    Attributes:
        sent_ms: No later than it was sent, by this replica's clock.
        received_ms: No earlier than its report came, by this replica's clock.
        append_ms: When it was appended, by the broker's clock.
    """

    sent_ms: int
    received_ms: int
    append_ms: int


class ClockOffset:
    """This replica's clock less the brokers', in bounds that each append narrows.

    A record is appended after it was sent and before that is reported. So the offset lies between
    `sent_ms - append_ms` and `received_ms - append_ms`, and is known to within the round trip.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._appends: deque[tuple[float, Append]] = deque()

    def add(self, append: Append) -> None:
        """Take one measurement. One across which this replica's clock was set back is no measurement."""
        if append.received_ms >= append.sent_ms:
            self._appends.append((self._monotonic(), append))

    @property
    def bounds_ms(self) -> tuple[int, int] | None:
        """The least and the greatest offset that the recent appends allow; None where there are none.

        Where they contradict each other a clock has been set: the newest alone is believed.
        """
        forgotten_s = self._monotonic() - _REMEMBERED_S
        while self._appends and self._appends[0][0] < forgotten_s:
            self._appends.popleft()
        if not self._appends:
            return None
        appends = [append for _, append in self._appends]
        low = max(append.sent_ms - append.append_ms for append in appends)
        high = min(append.received_ms - append.append_ms for append in appends)
        if low > high:
            while len(self._appends) > 1:
                self._appends.popleft()
            newest = appends[-1]
            low, high = newest.sent_ms - newest.append_ms, newest.received_ms - newest.append_ms
        return low, high

    @property
    def estimate_ms(self) -> int | None:
        """The middle of the bounds."""
        bounds = self.bounds_ms
        return None if bounds is None else (bounds[0] + bounds[1]) // 2

    def exceeds(self, limit_ms: int) -> bool:
        """Tell whether the clock is certainly off by more than the limit, one way or the other."""
        bounds = self.bounds_ms
        return bounds is not None and (bounds[0] > limit_ms or bounds[1] < -limit_ms)


class ClockGuard:
    """Stops a role whose clock is off, before it takes live events for events of the future."""

    def __init__(
        self, telemetry: RoleTelemetry, monotonic: Callable[[], float], *, is_told_time: bool
    ) -> None:
        """Have measured nothing yet.

        Args:
            telemetry: Is told the offset.
            monotonic: A clock that never goes back.
            is_told_time: The topic is known to be set to the brokers' time. Where its settings cannot be
                asked, an append time is not believed.
        """
        self._telemetry = telemetry
        self._offset = ClockOffset(monotonic)
        self._is_told_time = is_told_time

    def observe(self, append: Append | None) -> None:
        """Take one measurement.

        Raises:
            ClockError: The clock is off by more than the bound.
        """
        if not self._is_told_time:
            return
        if append is not None:
            self._offset.add(append)
        is_off = self._offset.exceeds(_MAX_OFFSET_MS)
        offset_ms = self._offset.estimate_ms
        self._telemetry.clock_is_off(offset_ms, is_off=is_off)
        if is_off:
            message = (
                f"this replica's clock differs from the brokers' by {offset_ms} ms, and {_MAX_OFFSET_MS} ms "
                "are allowed; it counts nothing until the clock is set (check NTP here and on the brokers)"
            )
            raise ClockError(message)
