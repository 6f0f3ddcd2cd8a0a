"""Reading vectors from recorded events in .jsonl or .jsonl.gz files."""

from pathlib import Path

from driftgauge.baseline.collecting import VectorSet
from driftgauge.baseline.event_range import select_events
from driftgauge.baseline.stream_decoder import TopicEvents
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import InputError
from driftgauge.events.mapped import MappedReader
from driftgauge.events.refusals import Refusals
from driftgauge.events.timestamps import LAST_MS
from driftgauge.progress import Track
from driftgauge.record_files import LONGEST_LINE, OLDEST_MS, RecordFiles

__all__ = ["read_events"]

# Longer messages hide the fault.
_MOST_STREAMS = 20


def read_events(
    path: Path, wanted: TopicEvents, reader: MappedReader, track: Track, refusals: Refusals
) -> VectorSet:
    """Return the vectors of one stream's events, in the order of the file.

    Args:
        path: The file, see `RecordFiles`.
        wanted: The events to read.
        reader: The reader of their topic.
        track: Receives the progress.
        refusals: Counts the records of the stream that are refused; these are left out.

    Raises:
        InputError: The file cannot be read, has no such event, or a version must be chosen.
    """
    # No time is too far ahead of the clock in a file; a line that was cut is too large.
    selection, decoder = select_events(
        RecordFiles([path], wanted.topic, track),
        wanted,
        reader,
        refusals,
        lead_ms=LAST_MS,
        age_ms=OLDEST_MS,
        largest_bytes=LONGEST_LINE - 1,
        clock=SYSTEM_CLOCK,
    )
    if not len(selection):
        version = "" if wanted.model_version is None else f" of model version {wanted.model_version!r}"
        listed = ", ".join(sorted(decoder.streams)[:_MOST_STREAMS]) or "none"
        message = f"{path}: no event of stream {wanted.stream!r}{version}; streams in the file: {listed}"
        raise InputError(message)
    return selection.finish(decoder.model_version)
