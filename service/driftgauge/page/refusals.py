"""The refused records of the last hour by stream, as their dead letters have them."""

from collections import Counter, OrderedDict, deque
from typing import NamedTuple

from driftgauge.events.records import RawRecord
from driftgauge.kafka.dead_letters import read_letter

__all__ = ["HOUR_MS", "Refusal", "Refusals"]

HOUR_MS = 3_600_000
"""How long a refused record counts."""

_MINUTE_MS = 60_000
# A pattern admits any name that a producer writes. The streams refused last stay.
_MOST_STREAMS = 5_000


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
    """Counts refused records by stream, minute and reason; one thread adds, and others read."""

    def __init__(self) -> None:
        self._streams: OrderedDict[str, deque[tuple[int, Counter[str]]]] = OrderedDict()

    def receive(self, record: RawRecord) -> None:
        """Add a dead letter."""
        refused = read_letter(record)
        minute_ms = record.timestamp()[1] // _MINUTE_MS * _MINUTE_MS
        minutes = self._streams.setdefault(refused.stream, deque(maxlen=HOUR_MS // _MINUTE_MS))
        self._streams.move_to_end(refused.stream)
        if len(self._streams) > _MOST_STREAMS:
            self._streams.popitem(last=False)
        if not minutes or minutes[-1][0] < minute_ms:
            minutes.append((minute_ms, Counter()))
        minutes[-1][1][refused.reason] += 1

    def of(self, stream: str, now_ms: int) -> Refusal | None:
        """Return the refused records of a stream; None without any."""
        recent = [each for each in [*self._streams.get(stream, ())] if each[0] > now_ms - HOUR_MS]
        reasons = sum((counts.copy() for _, counts in recent), Counter[str]())
        return Refusal(reasons.total(), recent[0][0], reasons.most_common(1)[0][0]) if recent else None
