"""Where a report's windows come from: files or the topic of window results, or a replay of events."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile

import orjson

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.durations import format_duration
from driftgauge.core.windows.result import WindowResult
from driftgauge.errors import AuthorizationError, InputError
from driftgauge.events.records import RawRecord, StoredRecord
from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import Reason
from driftgauge.kafka import client
from driftgauge.kafka.cluster import find_topic_faults
from driftgauge.page.results import Results
from driftgauge.page.service_watch import HOUR_MS, ServiceWatch
from driftgauge.page.words import name_first
from driftgauge.progress import Track, ignore_progress
from driftgauge.recorded.record_files import EventFiles, read_lines
from driftgauge.recorded.replay import RecordReplay
from driftgauge.records.window_results import result_record
from driftgauge.streams import describe_baselines
from driftgauge.topics.topic_range import TopicRange

__all__ = [
    "Material",
    "holds_results",
    "read_results",
    "replayed_results",
    "topic_results",
]

_LINES = (".jsonl", ".jsonl.gz")
# The fields that tell a window result from an event, which may have a field of any one name.
_OF_RESULTS = {"revision", "start", "js_divergence"}
# A producer's clock may be ahead, and a record of the future is a result all the same.
_AHEAD_MS = 365 * 86_400_000


@dataclass(frozen=True, slots=True)
class Material:
    """The window results that a report is made of.

    Attributes:
        results: The results.
        origin: Where they come from, in words.
        notes: What was left out, in sentences.
        watch: What replicas and brokers say of the service; nothing if the results are in files.
    """

    results: Results
    origin: str
    notes: tuple[str, ...]
    watch: ServiceWatch = field(default_factory=ServiceWatch)


@dataclass(frozen=True, slots=True)
class _Whole:
    """Results that were read to their end, and that `fetch` reads again one by one."""

    topic: str
    fetch: Callable[[int, int], bytes | None]
    error: str | None = None
    has_caught_up: bool = True


def _open(settings: Settings, source: _Whole) -> Results:
    results = Results(settings.by_stream, settings.page.max_windows)
    results.source = source
    return results


def _receive(receive: Callable[[RawRecord], None], record: RawRecord, where: str, refusals: Refusals) -> None:
    """Pass on a record; count one that the topic or file should not hold."""
    try:
        receive(record)
    except ValueError as error:
        refusals.add(where, Reason.INVALID, str(error))


def holds_results(paths: Sequence[Path]) -> bool:
    """Return whether files hold window results; otherwise they are taken for events.

    Raises:
        InputError: A file cannot be read, or some hold results and others do not.
    """
    others = [path for path in paths if not _has_result(path)]
    if others and len(others) < len(paths):
        message = (
            f"some files hold window results, and {others[0]} does not: its first JSON object lacks "
            f"{', '.join(sorted(_OF_RESULTS))}; give files of one kind"
        )
        raise InputError(message)
    return not others


def read_results(paths: Sequence[Path], settings: Settings, track: Track = ignore_progress) -> Material:
    """Return the window results in some files.

    Of several revisions of a window the last in the order of the files holds.

    Raises:
        InputError: A file cannot be read.
    """

    def fetch(partition: int, number: int) -> bytes | None:
        return next((line for at, line in read_lines(paths[partition]) if at == number), None)

    results, refusals = _open(settings, _Whole(_names(paths), fetch)), Refusals()
    files = EventFiles(paths, track)
    for partition, path in enumerate(paths):
        for number, line in files.read(path):
            _receive(results.receive, _record(line, partition, number), f"{path} line {number}", refusals)
    return Material(results, f"the window results in {_names(paths)}", tuple(refusals.describe()))


@contextmanager
def topic_results(settings: Settings, clock: Clock, track: Track = ignore_progress) -> Iterator[Material]:
    """Read the results of the page's `history` from their topic, and what replicas and brokers say.

    Both are read once and without a consumer group.

    Raises:
        InputError: The topic is missing.
        AuthorizationError: The cluster does not let this client read the topic.
        BrokerError: The cluster does not answer.
    """
    topic, now_ms = settings.topics.windows, clock.wall_ms()
    since_ms = now_ms - settings.page.history
    with TopicRange(
        settings.kafka, topic, since_ms, now_ms + _AHEAD_MS, track, events=settings.topics.events
    ) as span:
        results, refusals = _open(settings, _Whole(topic, span.value)), Refusals()
        for message in chain.from_iterable(span.batches()):
            _receive(results.receive, message, span.place(message), refusals)
        origin = f"the last {format_duration(settings.page.history)} of the topic {topic}"
        watch = _read_heartbeats(settings, clock, refusals)
        yield Material(results, origin, tuple(refusals.describe()), watch)


def _read_heartbeats(settings: Settings, clock: Clock, refusals: Refusals) -> ServiceWatch:
    """Return what has read the heartbeats of the last hour, and has asked the brokers."""
    watch, topic, now_ms, error = ServiceWatch(), settings.heartbeats_topic, clock.wall_ms(), None
    watch.look(find_topic_faults(client.admin(settings.kafka), settings))
    try:
        with TopicRange(
            settings.kafka, topic, now_ms - HOUR_MS, now_ms + _AHEAD_MS, events=settings.topics.events
        ) as span:
            for record in chain.from_iterable(span.batches()):
                receive = partial(watch.receive, arrived_ms=clock.wall_ms())
                _receive(receive, record, span.place(record), refusals)
    except (AuthorizationError, InputError) as denied:
        error = str(denied)
    watch.source = _Whole(topic, lambda *_: None, error)
    return watch


@contextmanager
def replayed_results(
    replay: RecordReplay, replayed: Iterable[WindowResult], paths: Sequence[Path]
) -> Iterator[Material]:
    """Yield what a replay gives of some files, or of its topic if there are none.

    The results are in a file meanwhile, because memory would not hold a year of them.

    Raises:
        DriftgaugeError: See `RecordReplay.count`.
    """
    source = _names(paths) or f"the topic {replay.topic}"
    descriptions = describe_baselines(replay.streams)
    with TemporaryFile() as file:

        def fetch(_: int, position: int) -> bytes:
            file.seek(position)
            return file.readline()

        results = _open(replay.settings, _Whole(source, fetch))
        for result in replayed:
            value, position = result_record(result, descriptions[result.baseline_id]), file.tell()
            file.write(value + b"\n")
            results.receive(_record(value, 0, position))
        surplus = [
            f"Events of streams beyond `most` of the entry {match}, which are in no window: {number:,}."
            for match, number in sorted(replay.surplus.items())
        ]
        notes = (*replay.refusals.describe(), *surplus, *replay.gaps.describe())
        yield Material(results, f"the replay of {source}", notes)


def _record(value: bytes, partition: int, offset: int) -> StoredRecord:
    """Return a record whose time of publication is not known."""
    return StoredRecord(value, "", partition, offset, stored_ms=0)


def _has_result(path: Path) -> bool:
    """Return whether the first line of a file that is a JSON object is a window result."""
    if not path.name.endswith(_LINES):
        return False
    for _, line in read_lines(path):
        with suppress(ValueError):
            if isinstance(record := orjson.loads(line), dict):
                return record.keys() >= _OF_RESULTS
    return False


def _names(paths: Sequence[Path]) -> str:
    return name_first([path.name for path in paths], 3)
