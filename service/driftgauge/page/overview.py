"""The overview: the status of each stream, the most urgent first."""

from collections.abc import Iterable, Iterator

from driftgauge.config.stream import StreamSettings
from driftgauge.core.by_stream import ByStream
from driftgauge.page.history import WindowHistory
from driftgauge.page.refusals import Refusals
from driftgauge.page.status import URGENCY, SizeFacts, StreamStatus, read_facts, stream_status
from driftgauge.page.story import tell_fault
from driftgauge.page.summary import Series

__all__ = ["Overview", "group_statuses"]


def group_statuses(statuses: Iterable[StreamStatus]) -> list[tuple[str, list[StreamStatus]]]:
    """Return the streams without an alarm by state, age and cause, each group with its cause in words.

    The groups are in the order of their first streams; a cause is empty where the data has no fault.
    """
    found: dict[tuple[str, bool, str], list[StreamStatus]] = {}
    for status in statuses:
        cause = next((tell_fault(each) for each in status.concerns if each.name == status.state), "")
        found.setdefault((status.state, status.is_old, cause), []).append(status)
    return [(cause, members) for (_, _, cause), members in found.items()]


class Overview:
    """The statuses of all streams; a series is read again only where its windows have changed."""

    def __init__(self, history: WindowHistory, streams: ByStream[StreamSettings], refusals: Refusals) -> None:
        """Show the streams of a history, and those that the configuration names."""
        self._refusals = refusals
        self._history = history
        self._streams = streams
        self._read: dict[Series, tuple[int, SizeFacts]] = {}

    def statuses(self, now_ms: int, *, is_cut_off: bool = False) -> list[StreamStatus]:
        """Return the status of each stream, the most urgent first, then by name; see `stream_status`."""
        read = {series: self._look(series) for series in self._configured()}
        # A series may have lost its windows meanwhile.
        self._read = {series: each for series, each in read.items() if each is not None}
        found: dict[str, list[SizeFacts]] = {stream: [] for stream in self._streams.names}
        for series, (_, facts) in self._read.items():
            found.setdefault(series.stream, []).append(facts)
        statuses = [
            self._status(stream, sizes, now_ms, is_cut_off=is_cut_off) for stream, sizes in found.items()
        ]
        return sorted(statuses, key=lambda each: (URGENCY.index(each.state), each.stream))

    def status(self, stream: str, now_ms: int, *, is_cut_off: bool = False) -> StreamStatus:
        """Return the status of one stream."""
        read = [self._look(series) for series in self._configured() if series.stream == stream]
        return self._status(
            stream, [each[1] for each in read if each is not None], now_ms, is_cut_off=is_cut_off
        )

    def _status(self, stream: str, facts: list[SizeFacts], now_ms: int, *, is_cut_off: bool) -> StreamStatus:
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

    def _look(self, series: Series) -> tuple[int, SizeFacts] | None:
        changes = self._history.changes(series)
        read = self._read.get(series)
        if read is not None and read[0] == changes:
            return read
        rows = self._history.windows(series)
        if not len(rows):
            return None
        settings = self._streams.get(series.stream)
        smallest = None if settings is None else settings.smallest_drift
        return changes, read_facts(series, rows, self._history.texts, smallest, self._history.traces(series))
