"""The body of a part with progress: how far a commit read each source partition of its producer."""

from collections.abc import Iterator, Sequence
from itertools import islice
from operator import lt
from typing import Annotated

import numpy as np
from pydantic import Field

from driftgauge.core.counting.partial import CommitId, PartitionProgress, Progress, StreamTime
from driftgauge.events.contract import STREAM_NAME
from driftgauge.records.framing import Frame, Header, Names, assemble
from driftgauge.records.model import RecordModel
from driftgauge.records.refusals import demand

__all__ = ["decode_progress", "encode_progress"]

_NUMBERS = 9  # topic, partition, streams, start, end, begins, lost, since_ms, caught_up_ms
_TIMES = 4  # stream, newest_ms, read_ms, first_ms
_NULL = -(2**63)

_Stream = Annotated[str, Field(pattern=f"^{STREAM_NAME}$")]


class _Topic(RecordModel):
    name: str
    id: str
    partitions: Annotated[int, Field(ge=0)]


class _Header(Header):
    topics: tuple[_Topic, ...]
    streams: tuple[_Stream, ...]


def encode_progress(commit: CommitId, shards: int, partitions: Sequence[PartitionProgress]) -> bytes:
    """Return the body of a part."""
    # A replica may see a topic grow between two of its partitions, so the size is part of the name.
    topics, streams = Names[tuple[str, str, int]](), Names[str]()
    numbers = [
        (
            topics.place((progress.partition[0], progress.topic_id, progress.partitions)),
            progress.partition[1],
            len(progress.streams),
            progress.start,
            progress.end,
            progress.begins,
            progress.lost,
            progress.since_ms,
            _NULL if progress.caught_up_ms is None else progress.caught_up_ms,
        )
        for progress in partitions
    ]
    times = [
        (streams.place(stream), time.newest_ms, time.read_ms, time.first_ms)
        for progress in partitions
        for stream, time in sorted(progress.streams.items())
    ]
    header = {
        "topics": [{"name": name, "id": topic_id, "partitions": size} for name, topic_id, size in topics],
        "streams": list(streams),
    }
    sections = [
        np.array(numbers, "<i8").reshape(-1, _NUMBERS).T.tobytes(),
        np.array(times, "<i8").reshape(-1, _TIMES).T.tobytes(),
    ]
    return assemble(commit, shards, header, sections)


def decode_progress(frame: Frame) -> Progress:
    """Return the part of a frame.

    Raises:
        ValueError: The frame does not hold what was encoded.
    """
    header = _Header.model_validate_json(frame.header)
    return Progress(
        header.commit_id,
        frame.index,
        frame.parts,
        header.shards,
        tuple(_partitions(frame, header)),
    )


def _partitions(frame: Frame, header: _Header) -> Iterator[PartitionProgress]:
    demand(len(frame.sections) >= 2, "a section is missing")  # noqa: PLR2004 - as written above
    numbers = np.frombuffer(frame.sections[0], "<i8").reshape(_NUMBERS, -1)
    times = np.frombuffer(frame.sections[1], "<i8").reshape(_TIMES, -1)
    # All but the wall times are numbers of something. A record is read of each replica every second, so
    # numpy is asked no more often than needed.
    lowest, highest = numbers[:7].min(initial=0), numbers.max(axis=1, initial=-1).tolist()
    limits = len(header.topics), 2**31, 2**31, 2**63, 2**63, 2
    demand(lowest >= 0 and all(map(lt, highest, limits)), "a number is out of range")
    demand(times[0].min(initial=0) >= 0, "a number is out of range")
    demand(times[0].max(initial=-1) < len(header.streams), "a number is out of range")
    demand(numbers[2].sum() == times.shape[1], "it has more or fewer times than streams")
    rest = zip(*times.tolist(), strict=True)
    for topic, partition, streams, start, end, begins, lost, since_ms, caught_up_ms in zip(
        *numbers.tolist(), strict=True
    ):
        named = header.topics[topic]
        of_stream = {
            header.streams[stream]: StreamTime(newest_ms, read_ms, first_ms)
            for stream, newest_ms, read_ms, first_ms in islice(rest, streams)
        }
        demand(len(of_stream) == streams, "a stream is there twice")
        yield PartitionProgress(
            (named.name, partition),
            named.id,
            named.partitions,
            start,
            end,
            bool(begins),
            lost,
            since_ms,
            None if caught_up_ms == _NULL else caught_up_ms,
            of_stream,
        )
