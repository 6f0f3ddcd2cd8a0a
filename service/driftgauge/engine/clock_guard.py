"""The offset of this replica's clock from the brokers' clocks, and the guard that stops a role over it."""

from dataclasses import dataclass
from typing import Final

from driftgauge.errors import ClockError
from driftgauge.telemetry.roles import RoleTelemetry

__all__ = ["MAX_OFFSET_MS", "Append", "ClockGuard"]

MAX_OFFSET_MS: Final = 2_000
"""Event times are judged by this clock, so a replica with a larger offset must not count."""


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

    @property
    def least_offset_ms(self) -> int:
        """This replica's clock minus the broker's, as far as this proves it: 0 if they may agree.

        A broker appends a record after the send and before the delivery report. So the offset lies between
        `sent_ms - append_ms` and `received_ms - append_ms`, an interval as wide as the round trip.
        """
        return max(self.sent_ms - self.append_ms, 0) + min(self.received_ms - self.append_ms, 0)


class ClockGuard:
    """Stops a role whose clock is off, before it mistakes live events for events of the future."""

    def __init__(self, telemetry: RoleTelemetry, *, has_append_time: bool) -> None:
        """Start without measurements.

        Args:
            telemetry: Reports the offset.
            has_append_time: The topic's timestamps are known to be the brokers' append times. Without that
                knowledge the guard ignores all measurements.
        """
        self._telemetry = telemetry
        self._has_append_time = has_append_time

    def observe(self, append: Append | None) -> None:
        """Check the offset by one measurement, if there is one.

        Raises:
            ClockError: The clock is off by more than the bound.
        """
        # A clock that was set back in between measures nothing.
        if not self._has_append_time or append is None or append.received_ms < append.sent_ms:
            return
        offset_ms = append.least_offset_ms
        is_off = abs(offset_ms) > MAX_OFFSET_MS
        self._telemetry.clock_is_off(offset_ms, is_off=is_off)
        if is_off:
            message = (
                f"this replica's clock differs from the brokers' by {offset_ms} ms, and {MAX_OFFSET_MS} ms "
                "are allowed; it counts nothing until the clock is set (check NTP here and on the brokers)"
            )
            raise ClockError(message)
