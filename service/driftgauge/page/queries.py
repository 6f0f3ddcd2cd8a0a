"""What a request asks for: the parameters in its URL, checked against the history."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import QueryParams

from driftgauge.config.stream import StreamSettings
from driftgauge.core.by_stream import ByStream
from driftgauge.core.durations import format_duration, parse_duration
from driftgauge.errors import InputError
from driftgauge.events.timestamps import read_timestamp
from driftgauge.page.history import WindowHistory
from driftgauge.page.summary import Series

__all__ = ["MissingWindowError", "WindowQuery", "read_last", "read_query"]


class MissingWindowError(InputError):
    """There is no such stream, size or window; the message says which."""


@dataclass(frozen=True, slots=True)
class WindowQuery:
    """A stream and size, and windows of it.

    Attributes:
        series: The stream and size.
        sizes: All sizes of the stream, as text.
        removed: Those among them that are no longer configured.
        rows: (n,) of `SUMMARY`, its windows, by start; at least one.
        at: The index of the chosen window; None for the newest.
        compare: The index of the window to compare with; None for none.
        span: The indices of the first window of the range that is asked for, and after the last, (n, n) if
            none is in it; None without a range.
        expired: What is asked for, and is not here, in words.
    """

    series: Series
    sizes: tuple[str, ...]
    removed: tuple[str, ...]
    rows: NDArray[np.void]
    at: int | None
    compare: int | None
    span: tuple[int, int] | None = None
    expired: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        """The size as text."""
        return format_duration(self.series.size_ms)

    @property
    def chosen(self) -> int:
        """The index of the chosen window."""
        return len(self.rows) - 1 if self.at is None else self.at

    def start_ms(self, at: int) -> int:
        """Return the start of the window of an index, ms."""
        return int(self.rows["start_ms"][at])


def read_query(
    history: WindowHistory,
    streams: ByStream[StreamSettings],
    parameters: QueryParams,
    leading_ms: Callable[[str], int | None] = lambda _: None,
) -> WindowQuery:
    """Return what the parameters stream, window, at, seen, compare, from and until ask for.

    If nothing else is asked for, the size is what `leading_ms` returns of the stream. Without any
    it is the smallest configured size that has one, else the smallest. `at` and
    `compare` name the last window that starts at a time or before. `seen` names the newest window that was
    published by a time, as dashboards, which know only when they saw a value, can say; it counts if `at`
    is missing. Charts show the windows that start at `from` or later, and before `until`. A range and a
    window to compare with may have expired since the address was saved.

    Raises:
        MissingWindowError: There is no such stream or size, or no chosen window so old.
        ValueError: A parameter cannot be read, or `until` is not after `from`; the message names it.
    """
    stream = parameters.get("stream")
    if not stream:
        message = "stream: name a stream"
        raise ValueError(message)
    sizes_ms = [series.size_ms for series in history.series() if series.stream == stream]
    size_ms = _parsed(parameters, "window", parse_duration)
    if not any(map(parameters.get, ("window", "at", "seen", "from", "until", "compare"))):
        size_ms = leading_ms(stream)
    configured = streams[stream].windows if stream in streams else ()
    removed = [each for each in sizes_ms if each not in configured]
    if size_ms is None:
        size_ms = min(sizes_ms, key=lambda each: (each in removed, each), default=None)
    series = Series(stream, size_ms or 0)
    rows = history.windows(series)
    size = format_duration(series.size_ms)
    if not len(rows):
        window = f" of {size}" if parameters.get("window") else ""
        message = f"there is no window{window} of a stream {stream} yet"
        raise MissingWindowError(message)

    def index(name: str) -> int | None:
        if (time_ms := _parsed(parameters, name, _parse_time)) is None:
            return None
        return int(np.searchsorted(rows["start_ms"], time_ms, side="right")) - 1

    at, compare, span = index("at"), index("compare"), _read_span(parameters, rows)
    if at is not None and at < 0:
        message = f"at: {stream} has no window of {size} that starts then or before"
        raise MissingWindowError(message)
    if at is None and (seen_ms := _parsed(parameters, "seen", _parse_time)) is not None:
        published = np.flatnonzero(rows["published_ms"] <= seen_ms)
        if not len(published):
            message = f"seen: no window of {stream} was published by then"
            raise MissingWindowError(message)
        at = int(published[-1])
    sizes, no_longer = (tuple(map(format_duration, each)) for each in (sizes_ms, removed))
    gone = (
        ("the range of the address has no window", span == (len(rows), len(rows))),
        ("the window to compare with is no longer kept", compare == -1),
    )
    expired = tuple(name for name, is_gone in gone if is_gone)
    found = None if compare == -1 else compare
    return WindowQuery(series, sizes, no_longer, rows, at, found, span, expired)


def _read_span(parameters: QueryParams, rows: NDArray[np.void]) -> tuple[int, int] | None:
    from_ms, until_ms = (_parsed(parameters, name, _parse_time) for name in ("from", "until"))
    if from_ms is None and until_ms is None:
        return None
    if from_ms is not None and until_ms is not None and until_ms <= from_ms:
        message = "until: it must be later than from"
        raise ValueError(message)
    begin = 0 if from_ms is None else int(np.searchsorted(rows["start_ms"], from_ms))
    end = len(rows) if until_ms is None else int(np.searchsorted(rows["start_ms"], until_ms))
    return (begin, end) if begin < end else (len(rows), len(rows))


def read_last(parameters: QueryParams, largest: int, default: int) -> int:
    """Return how many windows the parameter `last` asks for.

    Raises:
        ValueError: It is no whole number from 1 to `largest`.
    """
    text = parameters.get("last", str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= largest and len(text) <= 9):  # noqa: PLR2004
        message = f"last: {text!r} is no whole number from 1 to {largest:,}"
        raise ValueError(message)
    return int(text)


def _parse_time(text: str) -> int:
    return read_timestamp(int(text) if text.isascii() and text.isdigit() else text)


def _parsed(parameters: QueryParams, name: str, parse: Callable[[str], int]) -> int | None:
    text = parameters.get(name)
    if not text:
        return None
    try:
        return parse(text)
    except ValueError as error:
        message = f"{name}: {error}"
        raise ValueError(message) from error
