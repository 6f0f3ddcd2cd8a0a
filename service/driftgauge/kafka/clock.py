"""The offset of this replica's clock from the brokers' clocks, and the guard that stops a role over it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from driftgauge.errors import ClockError
from driftgauge.telemetry.roles import RoleTelemetry

__all__ = ["Append", "ClockGuard", "ClockOffset"]

# Event times are judged by this clock, so a replica with a larger offset must not count.
_MAX_OFFSET_MS: Final = 2_000

# NTP corrects a clock within minutes, so older measurements say nothing about its offset.
_EXPIRY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Append:
    """The append time of a record, and this replica's times around it.

    Attributes:
        sent_ms: A time no later than the send, by this replica's clock.
        received_ms: A time no earlier than the delivery report, by this replica's clock.
        append_ms: The append time, by the broker's clock.
    """

    sent_ms: int
    received_ms: int
    append_ms: int


class ClockOffset:
    """This replica's clock minus the brokers', as bounds that each append narrows.

    A broker appends a record after the send and before the delivery report. So the offset lies between
    `sent_ms - append_ms` and `received_ms - append_ms`, an interval as wide as the round trip.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._appends: deque[tuple[float, Append]] = deque()

    def add(self, append: Append) -> None:
        """Add one measurement; ignore one during which this replica's clock was set back."""
        if append.received_ms >= append.sent_ms:
            self._appends.append((self._monotonic(), append))

    @property
    def bounds_ms(self) -> tuple[int, int] | None:
        """The least and greatest offset that the recent appends allow; None without any.

        Contradicting appends mean that a clock has been set: only the newest is used.
        """
        expired_s = self._monotonic() - _EXPIRY_S
        while self._appends and self._appends[0][0] < expired_s:
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
        """True if the absolute offset certainly exceeds the limit."""
        bounds = self.bounds_ms
        return bounds is not None and (bounds[0] > limit_ms or bounds[1] < -limit_ms)


class ClockGuard:
    """Stops a role whose clock is off, before it mistakes live events for events of the future."""

    def __init__(
        self, telemetry: RoleTelemetry, monotonic: Callable[[], float], *, has_append_time: bool
    ) -> None:
        """Start without measurements.

        Args:
            telemetry: Reports the offset.
            monotonic: A monotonic clock, in seconds.
            has_append_time: The topic's timestamps are known to be the brokers' append times. Without that
                knowledge the guard ignores all measurements.
        """
        self._telemetry = telemetry
        self._offset = ClockOffset(monotonic)
        self._has_append_time = has_append_time

    def observe(self, append: Append | None) -> None:
        """Add one measurement, if any, and check the offset.

        Raises:
            ClockError: The clock is off by more than the bound.
        """
        if not self._has_append_time:
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
