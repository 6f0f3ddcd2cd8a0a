"""The codec of a part that holds progress: offsets and event times of a commit's source partitions."""

from collections.abc import Iterator, Sequence
from itertools import islice
from operator import lt
from typing import Annotated

import numpy as np
from pydantic import Field

from driftgauge.core.counting.partial import CommitId, PartitionProgress, Progress, StreamTime
from driftgauge.events.contract import STREAM_NAME
from driftgauge.records.framing import Frame, NameTable, PartHeader, encode_body
from driftgauge.records.model import RecordModel
from driftgauge.records.record_errors import require

__all__ = ["decode_progress", "encode_progress"]

# topic, partition, streams, start, end, begins, lost, skipped, since_ms, caught_up_ms
_NUMBER_COLUMNS = 10
_TIME_COLUMNS = 4  # stream, newest_ms, read_ms, first_ms
_NULL = -(2**63)

_Stream = Annotated[str, Field(pattern=f"^{STREAM_NAME}$")]


class _Topic(RecordModel):
    name: str
    id: str
    partitions: Annotated[int, Field(ge=0)]


class _ProgressHeader(PartHeader):
    written_ms: Annotated[int, Field(ge=0, lt=2**63)]
    topics: tuple[_Topic, ...]
    streams: tuple[_Stream, ...]


def encode_progress(
    commit: CommitId, shards: int, written_ms: int, partitions: Sequence[PartitionProgress]
) -> bytes:
    """Return the body of a part; `decode_progress` reads it."""
    # A topic can grow while a replica lists its partitions, so the size is part of the name.
    topics, streams = NameTable[tuple[str, str, int]](), NameTable[str]()
    numbers = [
        (
            topics.index((progress.partition[0], progress.topic_id, progress.partitions)),
            progress.partition[1],
            len(progress.streams),
            progress.start,
            progress.end,
            progress.begins,
            progress.lost,
            progress.skipped,
            progress.since_ms,
            _NULL if progress.caught_up_ms is None else progress.caught_up_ms,
        )
        for progress in partitions
    ]
    times = [
        (streams.index(stream), time.newest_ms, time.read_ms, time.first_ms)
        for progress in partitions
        for stream, time in sorted(progress.streams.items())
    ]
    header = {
        "written_ms": written_ms,
        "topics": [{"name": name, "id": topic_id, "partitions": size} for name, topic_id, size in topics],
        "streams": list(streams),
    }
    sections = [
        np.array(numbers, "<i8").reshape(-1, _NUMBER_COLUMNS).T.tobytes(),
        np.array(times, "<i8").reshape(-1, _TIME_COLUMNS).T.tobytes(),
    ]
    return encode_body(commit, shards, header, sections)


def decode_progress(frame: Frame) -> Progress:
    """Return the progress in a frame.

    Raises:
        ValueError: The frame breaks the format.
    """
    header = _ProgressHeader.model_validate_json(frame.header)
    return Progress(
        header.commit_id,
        frame.index,
        frame.parts,
        header.shards,
        tuple(_decode_partitions(frame, header)),
        header.written_ms,
    )


def _decode_partitions(frame: Frame, header: _ProgressHeader) -> Iterator[PartitionProgress]:
    require(len(frame.sections) >= 2, "a section is missing")  # noqa: PLR2004 - as many as `encode_progress` writes
    numbers = np.frombuffer(frame.sections[0], "<i8").reshape(_NUMBER_COLUMNS, -1)
    times = np.frombuffer(frame.sections[1], "<i8").reshape(_TIME_COLUMNS, -1)
    # Every replica writes such a record each second, so these checks make few calls to numpy. Only the two
    # wall times may be negative.
    lowest, highest = numbers[:8].min(initial=0), numbers.max(axis=1, initial=-1).tolist()
    limits = len(header.topics), 2**31, 2**31, 2**63, 2**63, 2
    require(lowest >= 0 and all(map(lt, highest, limits)), "a number is out of range")
    require(times[0].min(initial=0) >= 0, "a number is out of range")
    require(times[0].max(initial=-1) < len(header.streams), "a number is out of range")
    require(
        numbers[2].sum() == times.shape[1], "the number of event times differs from the number of streams"
    )
    rows = zip(*times.tolist(), strict=True)
    for topic, partition, streams, start, end, begins, lost, skipped, since_ms, caught_up_ms in zip(
        *numbers.tolist(), strict=True
    ):
        source = header.topics[topic]
        of_stream = {
            header.streams[stream]: StreamTime(newest_ms, read_ms, first_ms)
            for stream, newest_ms, read_ms, first_ms in islice(rows, streams)
        }
        require(len(of_stream) == streams, "a stream occurs twice in a partition")
        yield PartitionProgress(
            (source.name, partition),
            source.id,
            source.partitions,
            start,
            end,
            bool(begins),
            lost,
            since_ms,
            None if caught_up_ms == _NULL else caught_up_ms,
            of_stream,
            skipped,
        )
