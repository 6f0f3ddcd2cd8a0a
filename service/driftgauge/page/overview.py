"""The overview: the status of each stream, the most urgent first."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

from driftgauge.config.stream import StreamSettings
from driftgauge.core.by_stream import ByStream
from driftgauge.page.history import WindowHistory
from driftgauge.page.service_watch import ServiceStatus
from driftgauge.page.status import URGENCY, SizeFacts, StreamStatus, read_facts, stream_status
from driftgauge.page.story import tell_fault
from driftgauge.page.summary import Series

__all__ = ["Overview", "group_statuses"]

_UNKNOWN = ServiceStatus()


def group_statuses(statuses: Iterable[StreamStatus]) -> list[tuple[str, list[StreamStatus]]]:
    """Return the streams without an alarm by state, age and cause, each group with its cause in words.

    The groups are in the order of their first streams; a cause is empty where the data has no fault.
    """
    found: dict[tuple[str, bool, str], list[StreamStatus]] = {}
    for status in statuses:
        own = None if status.concern is None else replace(status.concern, extent="")
        cause = "" if own is None else tell_fault(own)
        found.setdefault((status.state, status.is_old, cause), []).append(status)
    return [(cause, members) for (_, _, cause), members in found.items()]


class Overview:
    """The statuses of all streams; a series is read again only where its windows have changed."""

    def __init__(self, history: WindowHistory, streams: ByStream[StreamSettings]) -> None:
        """Show the configured streams: those that are named, of a history, or refused."""
        self._history = history
        self._streams = streams
        self._read: dict[Series, tuple[int, SizeFacts]] = {}

    def statuses(
        self, now_ms: int, service: ServiceStatus = _UNKNOWN, *, is_cut_off: bool = False
    ) -> list[StreamStatus]:
        """Return the status of each stream, the most urgent first, then by name; see `stream_status`."""
        refused = (stream for stream in service.refusals if stream in self._streams)
        found: dict[str, list[Series]] = {stream: [] for stream in (*self._streams.names, *refused)}
        every = self._history.series()
        for series in every:
            found.setdefault(series.stream, []).append(series)
        # Other threads read meanwhile.
        for gone in self._read.copy().keys() - set(every):
            self._read.pop(gone, None)
        statuses = [
            self._status(*each, now_ms, service, is_cut_off=is_cut_off) for each in sorted(found.items())
        ]
        return sorted(statuses, key=lambda each: URGENCY.index(each.state))

    def status(
        self, stream: str, now_ms: int, service: ServiceStatus = _UNKNOWN, *, is_cut_off: bool = False
    ) -> StreamStatus:
        """Return the status of one stream."""
        own = [series for series in self._history.series() if series.stream == stream]
        return self._status(stream, own, now_ms, service, is_cut_off=is_cut_off)

    def _status(
        self, stream: str, own: list[Series], now_ms: int, service: ServiceStatus, *, is_cut_off: bool
    ) -> StreamStatus:
        settings = self._streams[stream]
        found = [facts for each in own if (facts := self._facts(each, settings)) is not None]
        return stream_status(
            stream,
            _shown(found, settings.windows),
            settings,
            now_ms,
            is_cut_off=is_cut_off,
            refusal=service.refusals.get(stream),
            faults=service.faults,
        )

    def _facts(self, series: Series, settings: StreamSettings) -> SizeFacts | None:
        """Return what the windows of a series say; None where it has lost them meanwhile."""
        changes, read = self._history.changes(series), self._read.get(series)
        if read is None or read[0] != changes:
            rows, names, traces = self._history.read(series)
            if not len(rows):
                return None
            facts = read_facts(series, rows, names, settings.smallest_drift, traces)
            read = self._read[series] = changes, facts
        return read[1]


def _shown(found: Sequence[SizeFacts], sizes_ms: Container[int]) -> list[SizeFacts]:
    """Return what configured sizes say, and the alarms of removed ones that no later window has answered.

    A removed size concludes nothing more, but its alarm is news until a configured one has concluded on
    events of a later time.
    """
    concluded_ms = {
        facts.series.size_ms: int(facts.concluded["start_ms"]) + facts.series.size_ms
        for facts in found
        if facts.concluded is not None
    }
    answered_ms = max((end_ms for size_ms, end_ms in concluded_ms.items() if size_ms in sizes_ms), default=0)
    return [
        facts
        for facts in found
        if (size_ms := facts.series.size_ms) in sizes_ms
        or (facts.alarms and concluded_ms[size_ms] > answered_ms)
    ]
