"""The overview: the status of each stream, the most urgent first, with a small line for each window size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from driftgauge.config.stream import StreamSettings
from driftgauge.core.by_stream import ByStream
from driftgauge.page.chart import Band, sparkline
from driftgauge.page.history import WindowHistory
from driftgauge.page.refusals import Refusals
from driftgauge.page.status import URGENCY, SizeFacts, StreamStatus, read_facts, stream_status
from driftgauge.page.story import tell_fault
from driftgauge.page.summary import Series

__all__ = ["Group", "Overview", "Spark", "StreamRow", "group_rows"]

_SPARK_WINDOWS = 60


@dataclass(frozen=True, slots=True)
class Spark:
    """The small line of a series' divergences, and the alarms behind it."""

    line: str
    bands: tuple[Band, ...]


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream: its status, and the small line of each of its sizes."""

    status: StreamStatus
    sparks: tuple[Spark, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Streams without an alarm that have the same state for the same reason.

    Attributes:
        state: The state.
        is_old: Whether it is old.
        cause: The fault of their data, in words; empty where there is none.
        rows: The streams, by name.
    """

    state: str
    is_old: bool
    cause: str
    rows: tuple[StreamRow, ...]


def group_rows(rows: Iterable[StreamRow]) -> list[Group]:
    """Return the streams without an alarm by state and cause, in the order of the first of each."""
    found: dict[tuple[str, bool, str], list[StreamRow]] = {}
    for row in rows:
        status = row.status
        own = [each for each in status.concerns if each.name == status.state]
        found.setdefault((status.state, status.is_old, tell_fault(own[0]) if own else ""), []).append(row)
    return [Group(*key, tuple(members)) for key, members in found.items()]


class Overview:
    """The statuses of all streams; a series is read again only where its windows have changed."""

    def __init__(self, history: WindowHistory, streams: ByStream[StreamSettings], refusals: Refusals) -> None:
        """Show the streams of a history, and those that the configuration names."""
        self._refusals = refusals
        self._history = history
        self._streams = streams
        self._read: dict[Series, tuple[int, SizeFacts, Spark]] = {}

    def rows(self, now_ms: int, *, is_cut_off: bool = False) -> list[StreamRow]:
        """Return a row for each stream, the most urgent first, then by name; see `stream_status`."""
        read = {series: self._look(series) for series in self._configured()}
        # A series may have lost its windows meanwhile.
        self._read = {series: each for series, each in read.items() if each is not None}
        found: dict[str, list[tuple[SizeFacts, Spark]]] = {stream: [] for stream in self._streams.names}
        for series, (_, facts, spark) in self._read.items():
            found.setdefault(series.stream, []).append((facts, spark))
        rows = [
            StreamRow(
                stream_status(
                    stream,
                    [each for each, _ in sizes],
                    self._streams.get(stream),
                    now_ms,
                    is_cut_off=is_cut_off,
                    refusal=self._refusals.of(stream, now_ms),
                ),
                tuple(each for _, each in sizes),
            )
            for stream, sizes in found.items()
        ]
        return sorted(rows, key=lambda row: (URGENCY.index(row.status.state), row.status.stream))

    def status(self, stream: str, now_ms: int, *, is_cut_off: bool = False) -> StreamStatus:
        """Return the status of one stream."""
        read = [self._look(series) for series in self._configured() if series.stream == stream]
        facts = [each[1] for each in read if each is not None]
        return stream_status(
            stream,
            facts,
            self._streams.get(stream),
            now_ms,
            is_cut_off=is_cut_off,
            refusal=self._refusals.of(stream, now_ms),
        )

    def _configured(self) -> Iterator[Series]:
        """Yield the series but those of sizes that are no longer configured, which conclude nothing now."""
        for series in self._history.series():
            settings = self._streams.get(series.stream)
            if settings is None or series.size_ms in settings.windows:
                yield series

    def _look(self, series: Series) -> tuple[int, SizeFacts, Spark] | None:
        changes = self._history.changes(series)
        read = self._read.get(series)
        if read is not None and read[0] == changes:
            return read
        rows = self._history.windows(series)
        if not len(rows):
            return None
        spark = Spark(*sparkline(rows[-_SPARK_WINDOWS:], series.size_ms))
        settings = self._streams.get(series.stream)
        smallest = None if settings is None else settings.smallest_drift
        facts = read_facts(series, rows, self._history.names, smallest, self._history.traces(series))
        return changes, facts, spark
