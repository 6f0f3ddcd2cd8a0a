"""The expected results of a simulated group: a replay in one process, and counts event by event."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.local import LocalDriver
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.window import Window
from tests.builders.batches import build_batch
from tests.builders.clocks import MONDAY_MS
from tests.builders.references import CLUSTERS
from tests.core.group_members import GroupEvent


def replay(
    specs: Sequence[StreamSpec], events: Sequence[GroupEvent]
) -> dict[tuple[str, Window], WindowResult]:
    """Return the last revision of every window from one process that reads one partition."""
    driver = LocalDriver(specs, "embeddings", 1)
    final: dict[tuple[str, Window], WindowResult] = {}
    for first in range(0, len(events), 5):
        for offset, event in enumerate(events[first : first + 5], first):
            row = [(0, offset, event.time_ms, event.cluster)]
            driver.count([build_batch(row, event.stream, event_ids=[event.name])], MONDAY_MS)
        is_last = first + 5 >= len(events)
        done = driver.commit(MONDAY_MS, {0: min(first + 5, len(events))}, has_source_ended=is_last)
        assert done.late == []
        final.update({(result.stream, result.window): result for result in done.results})
    return final


def histograms(
    events: Iterable[GroupEvent], sizes_ms: Sequence[int]
) -> dict[tuple[str, Window], tuple[int, ...]]:
    """Return (stream, window) -> its counts, counted event by event."""
    counts: dict[tuple[str, Window], NDArray[np.int64]] = {}
    for stream, time_ms, cluster, _ in events:
        for size_ms in sizes_ms:
            window = Window.around(time_ms, size_ms)
            counts.setdefault((stream, window), np.zeros(CLUSTERS, dtype=np.int64))[cluster] += 1
    return {key: tuple(histogram.tolist()) for key, histogram in counts.items()}


def names(
    events: Iterable[GroupEvent], sizes_ms: Sequence[int]
) -> dict[tuple[str, Window], dict[int, list[str]]]:
    """Return (stream, window) -> cluster -> the names of its events."""
    named: dict[tuple[str, Window], dict[int, list[str]]] = {}
    for stream, time_ms, cluster, name in events:
        for size_ms in sizes_ms:
            clusters = named.setdefault((stream, Window.around(time_ms, size_ms)), {})
            clusters.setdefault(cluster, []).append(name)
    return named
