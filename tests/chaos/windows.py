"""The windows of a chaos run: counts expected from its events, and published results."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Message
from numpy.typing import NDArray

from tests.chaos.workload import BURST, LIVE, LOSSY, STREAMS, Fault, Workload

_OWN_WINDOWS: Mapping[int, Mapping[str, int]] = {
    # Short windows, so that a run does not wait long for the last one.
    LIVE: {"10s": 10_000, "30s": 30_000},
    # The panes of the burst have one event, and its hours enough for a score.
    BURST: {"1m": 60_000, "1h": 3_600_000},
}
WINDOWS_MS: Mapping[str, Mapping[str, int]] = {
    stream: _OWN_WINDOWS.get(number, {"1m": 60_000, "5m": 300_000})
    for number, stream in enumerate((*STREAMS, LOSSY))
}

WindowKey = tuple[str, str, int]
"""Stream, window size, start in ms."""

Counts = tuple[int, ...]
"""Events of each cluster."""

SeriesKey = tuple[str, str]
"""Stream, window size."""


@dataclass(frozen=True)
class ExpectedCounts:
    """The cluster counts expected in every window.

    Attributes:
        on_time: Without late events.
        all: With late events.
    """

    on_time: Mapping[WindowKey, Counts]
    all: Mapping[WindowKey, Counts]

    @classmethod
    def of(cls, workload: Workload, centroids: Mapping[str, NDArray[np.float32]]) -> "ExpectedCounts":
        """Count a workload's valid events, given each stream's (k, d) centroids."""
        valid = workload.fault == Fault.NONE
        return cls(
            on_time=count_expected(workload, centroids, valid & ~workload.late),
            all=count_expected(workload, centroids, valid),
        )


def count_expected(
    workload: Workload, centroids: Mapping[str, NDArray[np.float32]], selected: NDArray[np.bool_]
) -> dict[WindowKey, Counts]:
    """Return the cluster counts of every window over the events selected by an (n,) mask."""
    counts: dict[WindowKey, Counts] = {}
    for index, stream in enumerate(STREAMS):
        rows = (workload.stream == index) & selected
        cluster = nearest(workload.vectors[rows], centroids[stream])
        for window, size_ms in WINDOWS_MS[stream].items():
            slots = workload.time_ms[rows] // size_ms
            cells = Counter(zip(slots.tolist(), cluster.tolist(), strict=True))
            for slot in np.unique(slots).tolist():
                of_clusters = (cells[slot, number] for number in range(len(centroids[stream])))
                counts[stream, window, slot * size_ms] = tuple(of_clusters)
    return counts


def nearest(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the (n,) nearest of (k, d) centroids; AssertionError if rounding could change the result."""
    differences = vectors[:, np.newaxis].astype(np.float64) - centroids.astype(np.float64)
    distances = np.square(differences).sum(axis=2)
    first, second = np.partition(distances, 1, axis=1)[:, :2].T
    assert (second - first).min() > 1, "a vector lies between two centroids"
    return distances.argmin(axis=1)


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


def read_results(messages: Iterable[Message]) -> list[PublishedRevision]:
    """Return every revision of every window of the workload's streams."""
    results = map(PublishedRevision.read, messages)
    return [result for result in results if result.key[0] != LOSSY]


def _read_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)
