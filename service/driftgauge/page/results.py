"""The window results behind the page: the history of all, and each one whole from its topic."""

import logging
from collections.abc import Container
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from driftgauge.core.durations import parse_duration
from driftgauge.events.records import RawRecord
from driftgauge.events.timestamps import parse_timestamp
from driftgauge.page.history import WindowHistory
from driftgauge.page.queries import MissingWindowError
from driftgauge.page.summary import Series, read_summary
from driftgauge.records.window_record import WindowRecord

__all__ = ["ResultSource", "Results"]

_NO_TEXTS = {"snippets": (), "baseline_snippets": ()}
_log = logging.getLogger(__name__)


class ResultSource(Protocol):
    """Where the records of window results are, as `TopicFollower` reads them."""

    @property
    def topic(self) -> str:
        """The topic."""

    @property
    def error(self) -> str | None:
        """Why the topic cannot be read at the moment; None if it can be."""

    @property
    def has_caught_up(self) -> bool:
        """Whether everything that the topic held at the start has been read."""

    def fetch(self, partition: int, offset: int) -> bytes | None:
        """Return a record's value, or None if the topic no longer holds it; raise a ServiceError."""


class Results:
    """The windows of the configured streams, which page, status and report show.

    Others in the topic are of another deployment that shares it, or of a stream that was removed.

    Attributes:
        history: The summaries of all windows.
        source: Where the whole results are; set once it is open.
        shows_snippets: Whether texts of events are shown.
    """

    source: ResultSource

    def __init__(self, streams: Container[str], max_windows: int, *, shows_snippets: bool = False) -> None:
        """Keep the summaries of so many windows of streams; texts of events are shown behind a login only."""
        self._streams = streams
        self.history = WindowHistory(max_windows)
        self.shows_snippets = shows_snippets
        self._has_warned = False

    def receive(self, record: RawRecord) -> None:
        """Add a record of the topic to the history; a tombstone is none, nor is one of another stream.

        Raises:
            ValueError: It is no window result.
        """
        if (value := record.value()) is None:
            return
        series, row, names, parts = read_summary(
            value,
            partition=record.partition() or 0,
            offset=record.offset() or 0,
            published_ms=record.timestamp()[1],
        )
        if series.stream not in self._streams:
            return
        if self.history.add(series, row, names, parts) and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "the results of a stream came twice with the same revision; this is said of one stream only",
                extra={
                    "topic": self.source.topic,
                    "stream": series.stream,
                    "remedy": "if two deployments share the topic, name another topics.windows for one, "
                    "or rename its streams; none if the service began again with another group",
                },
            )

    def whole(self, series: Series, row: NDArray[np.void]) -> WindowRecord:
        """Return the result of a series' summary, () of `SUMMARY`.

        Raises:
            MissingWindowError: The topic no longer holds it, or holds something else.
            ServiceError: The topic cannot be read now.
        """
        value = self.source.fetch(int(row["partition"]), int(row["offset"]))
        if value is None:
            message = (
                f"the topic {self.source.topic} no longer holds this window's details, so only its numbers "
                "over time remain; a longer retention.ms of the topic keeps them"
            )
            raise MissingWindowError(message)
        try:
            record = WindowRecord.model_validate_json(value)
        except ValidationError as error:
            message = (
                f"the record of this window breaks the contract of window results: {error.errors()[0]['msg']}"
            )
            raise MissingWindowError(message) from error
        held = record.stream, parse_duration(record.window), parse_timestamp(record.start)
        if held != (series.stream, series.size_ms, int(row["start_ms"])):
            message = (
                f"the topic {self.source.topic} holds another window in place of this one, as after it was "
                "deleted and created; restart the process that serves the page"
            )
            raise MissingWindowError(message)
        if self.shows_snippets:
            return record
        hidden = tuple(each.model_copy(update=_NO_TEXTS) for each in record.examples)
        farthest = record.farthest and record.farthest.model_copy(update=_NO_TEXTS)
        return record.model_copy(update={"examples": hidden, "farthest": farthest})
