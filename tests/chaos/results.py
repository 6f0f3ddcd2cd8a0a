"""Published window results: their revisions and the final one of each window."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from confluent_kafka import Message

from tests.chaos.expected_counts import Counts, WindowKey


@dataclass(frozen=True)
class PublishedRevision:
    """One published result.

    Attributes:
        name: The record's key.
        document: The record's value.
        written_ms: The record's timestamp; 0 if it was not read from a topic.
    """

    name: str
    document: dict[str, Any]
    written_ms: int = 0

    @classmethod
    def read(cls, message: Message) -> "PublishedRevision":
        written_ms = message.timestamp()[1]
        return cls((message.key() or b"").decode(), orjson.loads(message.value() or b""), written_ms)

    @property
    def key(self) -> WindowKey:
        return self.document["stream"], self.document["window"], _read_ms(self.document["start"])

    @property
    def end_ms(self) -> int:
        return _read_ms(self.document["end"])

    @property
    def revision(self) -> int:
        return int(self.document["revision"])

    @property
    def counts(self) -> Counts:
        return tuple(cluster["count"] for cluster in self.document["clusters"])

    @property
    def content(self) -> dict[str, Any]:
        """The fields that depend on the events alone, whatever the order of reading.

        A verdict, the slow drift, the evidence of a run and the errors of numbers depend on earlier windows
        at their first complete revision, so a replay may differ in them. `check_verdicts` and
        `check_numbers` see to them.
        """
        segments = [{**segment, "verdict": None} for segment in self.document["segments"]]
        of_run = {"verdict", "slow_drift", "evidence", "kind", "numbers"}
        left_out = {"revision", "segments", "applied_total", "late_total", *of_run}
        return {
            **{name: value for name, value in self.document.items() if name not in left_out},
            "segments": segments,
        }


def final_results(results: Iterable[PublishedRevision]) -> dict[WindowKey, PublishedRevision]:
    """Return the highest revision of each window."""
    final: dict[WindowKey, PublishedRevision] = {}
    for result in results:
        known = final.get(result.key)
        if known is None or result.revision >= known.revision:
            final[result.key] = result
    return final


def _read_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)
