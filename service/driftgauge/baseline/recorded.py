"""Reading vectors from recorded events in .jsonl or .jsonl.gz files."""

from collections import Counter
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from driftgauge.baseline.collecting import Collector, NameColumn, VectorSet
from driftgauge.baseline.event_names import EventNames
from driftgauge.errors import InputError
from driftgauge.events.contract import read_json
from driftgauge.events.decoder import ParsedEvent, parse_event
from driftgauge.events.files import EventFiles
from driftgauge.events.own_contract import OwnContractReader
from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import Reason, Rejection
from driftgauge.progress import Track

__all__ = ["read_events"]

# Events that are added to the matrix at once.
BLOCK_EVENTS = 512

# An event with its file and line number, and its label or text.
_Placed = tuple[str, ParsedEvent, str | None]


def read_events(
    path: Path,
    stream: str | None,
    model_version: str | None,
    *,
    track: Track,
    refusals: Refusals,
    keys: Collection[str] | None = None,
    name: NameColumn | None = None,
) -> VectorSet:
    """Return the vectors of one stream's events, in the order of the file; see `read_vectors`."""
    streams: set[str] = set()
    version = model_version
    block: list[_Placed] = []
    names = None if name is None else EventNames(name.column, OwnContractReader())
    collector: Collector | None = None
    for where, line, event in _parsed(path, track, refusals):
        streams.add(event.stream)
        if stream is None and len(streams) > 1:
            message = f"{where}: a second stream; choose one with --stream: {', '.join(sorted(streams))}"
            raise InputError(message)
        if stream not in (None, event.stream):
            continue
        # As in the service, an event without a version matches every version.
        if event.model_version is not None and event.model_version != version:
            if model_version is not None:
                continue
            if version is not None:
                message = (
                    f"{where}: model version {event.model_version!r} after {version!r}; choose one "
                    f"with --model-version"
                )
                raise InputError(message)
            version = event.model_version
        own = None if names is None else names.of_event(event.segments, partial(read_json, line))
        block.append((where, event, own))
        if len(block) == BLOCK_EVENTS:
            collector = _add(collector, block, keys, name, refusals)
            block = []
    if block:
        collector = _add(collector, block, keys, name, refusals)
    if collector is None:
        asked = "" if stream is None else f" of stream {stream!r}"
        asked += "" if model_version is None else f" of model version {model_version!r}"
        message = f"{path}: no event{asked}; streams in the file: {', '.join(sorted(streams)) or 'none'}"
        raise InputError(message)
    return collector.finish(version)


def _add(
    collector: Collector | None,
    block: list[_Placed],
    keys: Collection[str] | None,
    name: NameColumn | None,
    refusals: Refusals,
) -> Collector:
    """Add the events of a block that have the dimension most frequent in the first block."""
    if collector is None:
        lengths = Counter(len(event.vector) for _, event, _ in block)
        collector = Collector(lengths.most_common(1)[0][0], keys=keys, name=name)
    events, names = [], []
    for where, event, own in block:
        if len(event.vector) == collector.dimension:
            events.append(event)
            names.append(own)
        else:
            detail = f"embedding: {len(event.vector)} numbers, most events have {collector.dimension}"
            refusals.add(where, Reason.WRONG_DIMENSION, detail)
    if not events:
        return collector
    collector.add(
        np.stack([event.vector for event in events]),
        np.array([event.time_ms for event in events], np.int64),
        [event.segments for event in events],
        names,
        [event.event_id for event in events],
    )
    return collector


def _parsed(path: Path, track: Track, refusals: Refusals) -> Iterator[tuple[str, bytes, ParsedEvent]]:
    """Yield the sound events of a file, each with its file and line number, and its line."""
    for number, line in EventFiles([path], track).read(path):
        where = f"{path}, line {number}"
        event = parse_event(line)
        if isinstance(event, Rejection):
            refusals.add(where, event.reason, event.detail)
        else:
            yield where, line, event
