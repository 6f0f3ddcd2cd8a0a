"""The overview: the status of each stream, the most urgent first."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from driftgauge.config import Settings
from driftgauge.config.stream import StreamSettings
from driftgauge.page.history import WindowHistory
from driftgauge.page.service_watch import ServiceStatus
from driftgauge.page.states import URGENCY
from driftgauge.page.status import SizeFacts, StreamStatus, read_facts, stream_status
from driftgauge.page.story import tell_fault
from driftgauge.page.summary import Series

__all__ = ["Overview", "group_statuses"]

_UNKNOWN = ServiceStatus()
# A fault of more streams is said once.
_FEW = 4


def group_statuses(
    statuses: Iterable[StreamStatus],
) -> tuple[list[StreamStatus], list[tuple[str, list[StreamStatus]]]]:
    """Return the streams that have a row each, and the others by state, age and cause.

    A row have those with an alarm, also one that its baseline's replacement has ended, and those of few that
    share a fault. The groups are in the order of their first streams, each with its cause in words, which is
    empty if the data has no fault.
    """
    found: dict[tuple[str, bool, str], list[StreamStatus]] = {}
    rows = []
    for status in statuses:
        if status.alarms or status.is_unsettled:
            rows.append(status)
            continue
        general = {"extent": "", "unread": None}
        own = None if status.concern is None else status.concern.model_copy(update=general)
        cause = "" if own is None else tell_fault(own)
        found.setdefault((status.state, status.is_old, cause), []).append(status)
    groups = []
    for (state, _, cause), members in found.items():
        if state == "ok" or len(members) > _FEW:
            groups.append((cause, members))
        else:
            rows += members
    return rows, groups


class Overview:
    """The statuses of all streams; a series is read again only if its windows have changed."""

    def __init__(self, history: WindowHistory, settings: Settings) -> None:
        """Show the configured streams: those that are named, of a history, or refused."""
        self._history = history
        self._history_ms = settings.page.history
        # The settings calculate these at each look.
        self._streams = settings.by_stream
        self._only = {
            topic: only for topic, each in settings.inputs.items() if (only := each.only_streams) is not None
        }
        self._open = [topic for topic in settings.topics.events if topic not in self._only]
        self._own: defaultdict[str, list[str]] = defaultdict(list)
        for topic, only in self._only.items():
            for stream in only:
                self._own[stream].append(topic)
        self._read: dict[Series, tuple[int, SizeFacts]] = {}

    def statuses(
        self, now_ms: int, service: ServiceStatus = _UNKNOWN, *, is_cut_off: bool = False
    ) -> list[StreamStatus]:
        """Return the status of each stream, the most urgent first, then by name; see `stream_status`."""
        refused = (
            stream for stream, each in service.refusals.items() if each.is_many and stream in self._streams
        )
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
            found,
            settings,
            now_ms,
            history_ms=self._history_ms,
            is_cut_off=is_cut_off,
            service=self._concerning(stream, service),
        )

    def _concerning(self, stream: str, service: ServiceStatus) -> ServiceStatus:
        """Return what concerns a stream: no topic that is known to hold others alone."""
        return replace(
            service,
            faults=tuple(
                each
                for each in service.faults
                if not each.topics or any(stream in self._only.get(topic, [stream]) for topic in each.topics)
            ),
            unread={topic: service.unread.get(topic) for topic in (*self._open, *self._own.get(stream, ()))},
        )

    def _facts(self, series: Series, settings: StreamSettings) -> SizeFacts | None:
        """Return what the windows of a series say; None if it has lost them meanwhile."""
        changes, read = self._history.changes(series), self._read.get(series)
        if read is None or read[0] != changes:
            rows, names, traces = self._history.read(series)
            if not len(rows):
                return None
            facts = read_facts(series, rows, names, settings, traces)
            read = self._read[series] = changes, facts
        return read[1]
