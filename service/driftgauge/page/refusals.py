"""The refused records of the last hour by stream, as their dead letters have them."""

from collections import Counter, deque
from typing import NamedTuple

from driftgauge.events.records import RawRecord
from driftgauge.kafka.dead_letters import read_letter

__all__ = ["HOUR_MS", "Refusal", "Refusals"]

HOUR_MS = 3_600_000
"""How long a refused record counts."""

_MINUTE_MS = 60_000


class Refusal(NamedTuple):
    """The refused records of a stream in the last hour.

    Attributes:
        records: Their number.
        since_ms: The minute of the first of them, wall time, ms.
        reason: Their most frequent reason.
    """

    records: int
    since_ms: int
    reason: str


class Refusals:
    """Counts refused records by minute, stream and reason; one thread adds, and others read."""

    def __init__(self) -> None:
        self._minutes: deque[tuple[int, Counter[tuple[str, str]]]] = deque(maxlen=HOUR_MS // _MINUTE_MS)

    def receive(self, record: RawRecord) -> None:
        """Add a dead letter."""
        refused = read_letter(record)
        minute_ms = record.timestamp()[1] // _MINUTE_MS * _MINUTE_MS
        if not self._minutes or self._minutes[-1][0] < minute_ms:
            self._minutes.append((minute_ms, Counter()))
        self._minutes[-1][1][refused.stream, refused.reason] += 1

    def of(self, stream: str, now_ms: int) -> Refusal | None:
        """Return the refused records of a stream; None without any."""
        reasons: Counter[str] = Counter()
        since_ms = 0
        for minute_ms, counts in list(self._minutes):
            for (name, reason), number in list(counts.items()):
                if name == stream and minute_ms > now_ms - HOUR_MS:
                    reasons[reason] += number
                    since_ms = since_ms or minute_ms
        return Refusal(reasons.total(), since_ms, reasons.most_common(1)[0][0]) if reasons else None
