"""The memory that one replica may take, from its configuration."""

from collections.abc import Iterable
from typing import Final

from driftgauge.config import Settings
from driftgauge.core.counting.interval import MAX_NUMBERS
from driftgauge.core.spec import ScheduledBaseline, StreamSpec
from driftgauge.kafka.client import fetched_bytes
from driftgauge.kafka.dead_letters import MAX_BUFFERED_BYTES
from driftgauge.page.results_reader import BOUNDS

__all__ = ["memory_bytes"]

# The interpreter, libraries, baselines, and clients without records (measured).
_PROCESS_BYTES: Final = 110 * 1024 * 1024
_CONSUMERS: Final = 3  # of events, partials and changelog
_ROLES: Final = 2
_INTEGER_BYTES: Final = 8
_PANE_BYTES: Final = 500
_EXAMPLE_BYTES: Final = 3 * 64  # of each cluster
_PAGE_WINDOW_BYTES: Final = 162


def memory_bytes(settings: Settings, specs: Iterable[StreamSpec]) -> dict[str, int]:
    """Return the most memory that the parts of a replica take, in bytes, by part.

    The replica has both roles and holds all shards, and producers send uncompressed records. A compressed
    batch counts with its compressed size in the client's queue, and nothing bounds its decompression.
    """
    fetched = fetched_bytes(settings.kafka)
    of_page = fetched_bytes({**settings.kafka, **BOUNDS}) + _PAGE_WINDOW_BYTES * settings.page.max_windows
    return {
        "process": _PROCESS_BYTES,
        "fetch queues": _CONSUMERS * fetched,
        # A poll takes what the queue holds, which then fills again.
        "polls": _ROLES * fetched,
        # The buffer, and the producer's copy of it and of the poll that has filled it.
        "dead letters": 2 * MAX_BUFFERED_BYTES + fetched,
        "tallies": _INTEGER_BYTES * MAX_NUMBERS,
        "windows": sum(map(_state_bytes, specs)),
        "page": settings.page.enabled * of_page,
    }


def _state_bytes(spec: StreamSpec) -> int:
    """Return the size of a stream's panes that are open to correction, each with examples and segments."""
    panes = (max(spec.sizes_ms) + spec.disorder_ms + spec.lateness_ms) // spec.pane_ms + 1
    return panes * max(_pane_bytes(spec, scheduled) for scheduled in spec.baselines)


def _pane_bytes(spec: StreamSpec, scheduled: ScheduledBaseline) -> int:
    reference = scheduled.reference
    scheme, segments = spec.scheme(reference), len(reference.segments_by(spec.alarm.segment_keys))
    of_all = _INTEGER_BYTES * scheme.length + _EXAMPLE_BYTES * reference.centroids.clusters + _PANE_BYTES
    return of_all + segments * (_INTEGER_BYTES * scheme.of_segments.length + _PANE_BYTES)
