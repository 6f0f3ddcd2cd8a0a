"""The window results as they were published: their revisions, and the last of each window."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from confluent_kafka import Message

from tests.chaos.truth import Counts, WindowKey


@dataclass(frozen=True)
class PublishedRevision:
    """One published result.

    Attributes:
        name: Its key in the topic.
        document: What the record holds.
        written_ms: When it was written; 0 where it never was.
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
        """What follows from the events alone, whatever the reader's pace.

        A window that was published before its last event came is remembered as it was then, so what those
        after it say in its light may differ: see `history`.
        """
        segments = [{**segment, "verdict": None} for segment in self.document["segments"]]
        left_out = {"revision", "verdict", "slow_drift", "segments"}
        return {
            **{name: value for name, value in self.document.items() if name not in left_out},
            "segments": segments,
        }


def final_results(results: Iterable[PublishedRevision]) -> dict[WindowKey, PublishedRevision]:
    """The highest revision of each window."""
    final: dict[WindowKey, PublishedRevision] = {}
    for result in results:
        known = final.get(result.key)
        if known is None or result.revision >= known.revision:
            final[result.key] = result
    return final


def newest_results(final: dict[WindowKey, PublishedRevision]) -> dict[tuple[str, str], PublishedRevision]:
    """The last window of each stream and size, which is the one that gauges show."""
    return {key[:2]: final[key] for key in sorted(final)}


def _read_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)
