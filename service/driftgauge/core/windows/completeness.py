"""Completeness of a window's counts: missing partitions, lost events, events counted twice."""

from dataclasses import dataclass

from driftgauge.core.partition import Partition
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import StreamStatus
from driftgauge.core.windows.result import WindowResult

__all__ = ["Completeness", "find_doubts"]

_AWAITED = "partitions_missing"


@dataclass(frozen=True, slots=True)
class Completeness:
    """How completely and how reliably a window was counted.

    Attributes:
        missing: The partitions that had not reached the window's end.
        incomplete_reason: Why the window is incomplete; None if it is judged in full.
        events_lost: Events of the window may have been lost.
        counted_twice: Events of the window may have been counted twice.
    """

    missing: tuple[Partition, ...] = ()
    incomplete_reason: str | None = None
    events_lost: bool = False
    counted_twice: bool = False

    @classmethod
    def assess(
        cls,
        doubts: tuple[bool, bool],
        *,
        awaited: tuple[Partition, ...],
        given_up: tuple[Partition, ...],
        is_counted_otherwise: bool,
        is_purged: bool,
    ) -> "Completeness":
        """Return the completeness of a due window.

        Args:
            doubts: As `find_doubts` returns them.
            awaited: The partitions that the window still waits for; they make it incomplete.
            given_up: The partitions that were given up before they reached the window's end.
            is_counted_otherwise: Events were counted under a scheme other than the one in force.
            is_purged: Panes of the window may be missing: deleted before its size was configured, or not
                counted before the stream was admitted.
        """
        events_lost, counted_twice = doubts
        reasons = (
            (bool(awaited), _AWAITED),
            (is_purged, "panes_purged"),
            (is_counted_otherwise, "counted_otherwise"),
            (counted_twice, "counted_twice"),
        )
        return cls(
            missing=tuple(sorted((*awaited, *given_up))),
            incomplete_reason=next((reason for holds, reason in reasons if holds), None),
            events_lost=events_lost,
            counted_twice=counted_twice,
        )

    def is_unchanged_since(self, before: WindowResult) -> bool:
        """Return whether the last revision was published with the same completeness, or a better one.

        A window that has waited for all partitions does not begin to wait again, such as for a new one, until
        that brings an event. A partition that is given up, or returns, changes only a window that waits.
        """
        reason = before.incomplete_reason
        waits_again = self.incomplete_reason == _AWAITED != reason
        return (
            (self.events_lost, self.counted_twice) == (before.events_lost, before.counted_twice)
            and (self.incomplete_reason == reason or waits_again)
            and (self.missing == before.missing or reason != _AWAITED)
        )


def find_doubts(status: StreamStatus, window: Window, before: WindowResult | None) -> tuple[bool, bool]:
    """Return whether events of a window may be lost, and whether some may have been counted twice.

    Args:
        status: The stream's status.
        window: The window.
        before: Its last revision, whose doubts remain; None before the first.
    """
    lost = any(loss.affects(window) for loss in status.losses)
    twice = any(start < window.end_ms and window.start_ms < end for start, end in status.counted_twice)
    if before is not None:
        lost, twice = lost or before.events_lost, twice or before.counted_twice
    return lost, twice
