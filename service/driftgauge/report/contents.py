"""What a report says: one stream and size, the window that tells most, and what to do next."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from driftgauge.config import Settings
from driftgauge.core.durations import format_duration
from driftgauge.core.statistics.registry import find_kind
from driftgauge.errors import InputError
from driftgauge.events.timestamps import format_timestamp
from driftgauge.page.advice import runbook_for, steps_of
from driftgauge.page.status import ALARMS, URGENCY, Run, whole_run
from driftgauge.page.stream_page import StreamPage, WindowDetail, detail, stream_page
from driftgauge.page.summary import VERDICTS, Series
from driftgauge.page.words import format_moment, format_number, name_first
from driftgauge.report.reading import Material

__all__ = ["OtherSeries", "Report", "build_report"]

_SHOWN = 750
"""A month of hours, which leaves the file below 2 MB."""
# So many of them come before the drift, where as many follow.
_BEFORE = 75
_MAX_NAMED = 10
# A stronger window is shown too where the highest divergence is so many times that of the chosen one.
_STRONGER = 1.5
# It is the first with so much of the highest: which window of a plateau is the highest is chance.
_PLATEAU = 0.9


@dataclass(frozen=True, slots=True)
class OtherSeries:
    """A stream and size that the report leaves out.

    Attributes:
        series: The stream and size.
        size: The size as text.
        verdict: The most urgent verdict of its windows.
        found: The number of windows with this verdict.
        windows: The number of its windows.
    """

    series: Series
    size: str
    verdict: str
    found: int
    windows: int


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to a stream.

    Attributes:
        page: Its windows over time.
        run: The run of alarms around the chosen window; of another window the run that ends with it.
        chosen: The chosen window.
        strongest: The first window of the run with about the highest divergence, where that is much higher.
        story: What happened: since when and how much at most; how sure that is and what it is.
        steps: What to do next, in sentences.
        others: The other streams and sizes, the most urgent first.
        origin: Where the results come from.
        notes: What was left out, in sentences.
        is_replay: Whether the results come from a replay, so that no page and no topic has them.
    """

    page: StreamPage
    run: Run
    chosen: WindowDetail
    strongest: WindowDetail | None
    story: tuple[str, ...]
    steps: tuple[str, ...]
    others: tuple[OtherSeries, ...]
    origin: str
    notes: tuple[str, ...]
    is_replay: bool


def build_report(
    material: Material, settings: Settings, *, stream: str | None, size_ms: int | None, at_ms: int | None
) -> Report:
    """Return the report of a stream and size.

    Without a stream or size, that with the most urgent verdict of any window is taken: of several the first
    stream by name, and its smallest size. Without a time, the window is the first with drift of the last
    run of alarms with drift; else the first warning of the last run; else the newest that is ok; else the
    newest.

    Args:
        material: The results.
        settings: The configuration, which says what is large and where events can be looked at.
        stream: The stream.
        size_ms: The windows' length, ms.
        at_ms: A time in the window, event time, ms.

    Raises:
        InputError: There is no such stream, size or window.
        ServiceError: The topic cannot be read now.
    """
    history = material.results.history
    ranked = sorted(
        (_other(each, history.windows(each)) for each in history.series()),
        key=lambda each: URGENCY.index(each.verdict),
    )
    series = _choose_series(ranked, stream, size_ms, material)
    rows = history.windows(series)
    at = _choose_window(rows) if at_ms is None else _window_at(series, rows, at_ms)
    run = whole_run(rows, at)
    configured = settings.by_stream.get(series.stream)
    shown = _select_shown(rows, at, run)
    alarm = None if configured is None else configured.alarm(settings.window_level)
    page = stream_page(series, shown, shown=_SHOWN, at_ms=None, alarm=alarm)
    assert page is not None  # noqa: S101 - there is the chosen window
    # A report loads nothing, so it shows no pictures.
    shown_as = settings.page.model_copy(update={"thumbnail_url": None})

    def whole(row: NDArray[np.void]) -> WindowDetail:
        published_ms = int(row["published_ms"])
        return detail(
            material.results.whole(series, row),
            run,
            size_ms=series.size_ms,
            published_ms=published_ms if published_ms > 0 else None,
            settings=shown_as,
        )

    chosen = whole(rows[at])
    later_ms = _next_alarm(rows, at)
    above = _strongest(rows, at, run)
    strongest = None if above is None else whole(rows[above])
    return Report(
        page,
        run,
        chosen,
        # The report's own story has said since when.
        None if strongest is None else replace(strongest, story=strongest.story[1:]),
        _tell(chosen, strongest, later_ms),
        _steps(rows[at], run, series.size_ms, later_ms),
        tuple(each for each in ranked if each.series != series),
        material.origin,
        (*_tell_shown(shown, rows), *material.refused, *material.notes),
        material.is_replay,
    )


def _other(series: Series, rows: NDArray[np.void]) -> OtherSeries:
    numbers = np.bincount(rows["verdict"], minlength=len(VERDICTS)).tolist()
    found = dict(zip(VERDICTS, numbers, strict=True))
    verdict = next(each for each in URGENCY if found.get(each))
    return OtherSeries(series, format_duration(series.size_ms), verdict, found[verdict], len(rows))


def _choose_series(
    ranked: list[OtherSeries], stream: str | None, size_ms: int | None, material: Material
) -> Series:
    matching = (
        each.series
        for each in ranked
        if stream in (None, each.series.stream) and size_ms in (None, each.series.size_ms)
    )
    if (chosen := next(matching, None)) is not None:
        return chosen
    if not ranked:
        guess = ", which was taken for recorded events" if material.is_replay else ""
        message = (
            f"there is no window in {material.origin}{guess}; check what it holds, and the streams' names"
        )
        raise InputError(message)
    asked = ("" if size_ms is None else f" of {format_duration(size_ms)}") + (
        "" if stream is None else f" of the stream {stream}"
    )
    named = name_first([f"{each.series.stream} {each.size}" for each in ranked], _MAX_NAMED)
    message = f"there is no window{asked} in {material.origin}; choose one of: {named}"
    raise InputError(message)


def _choose_window(rows: NDArray[np.void]) -> int:
    verdicts = [VERDICTS[number] for number in rows["verdict"].tolist()]
    for verdict in reversed(ALARMS):
        if verdict in verdicts:
            last = len(verdicts) - 1 - verdicts[::-1].index(verdict)
            since = int(np.searchsorted(rows["start_ms"], whole_run(rows, last).since_ms))
            return verdicts.index(verdict, since)
    return max((at for at, verdict in enumerate(verdicts) if verdict == "ok"), default=len(rows) - 1)


def _window_at(series: Series, rows: NDArray[np.void], at_ms: int) -> int:
    at = int(np.searchsorted(rows["start_ms"], at_ms, side="right")) - 1
    if at >= 0 and at_ms < rows["start_ms"][at] + series.size_ms:
        return at
    first, last = (format_timestamp(int(rows["start_ms"][each])) for each in (0, -1))
    message = (
        f"{series.stream} has no window of {format_duration(series.size_ms)} at {format_timestamp(at_ms)}; "
        f"its windows start from {first} to {last}"
    )
    raise InputError(message)


def _select_shown(rows: NDArray[np.void], at: int, run: Run) -> NDArray[np.void]:
    """Return the windows over time: from just before a run of alarms, or else before the chosen window."""
    begin = int(np.searchsorted(rows["start_ms"], run.since_ms)) if run.verdict in ALARMS else at
    first = max(min(begin - _BEFORE, len(rows) - _SHOWN), 0)
    return rows[first : first + _SHOWN]


def _tell_shown(shown: NDArray[np.void], rows: NDArray[np.void]) -> tuple[str, ...]:
    if len(shown) == len(rows):
        return ()
    first, last = (format_moment(int(shown["start_ms"][each])) for each in (0, -1))
    return (f"{len(shown):,} of {len(rows):,} windows are shown over time, from {first} to {last}.",)


def _steps(row: NDArray[np.void], run: Run, size_ms: int, later_ms: int | None) -> tuple[str, ...]:
    verdict = VERDICTS[row["verdict"]]
    if verdict == "ok" and later_ms is not None:
        return (f"Make the report of the later drift: --at {format_timestamp(later_ms)}.",)
    runbook = runbook_for(verdict, row)
    more = () if runbook is None else (f"More in the runbook {runbook}.",)
    return (*steps_of(verdict, row, run.since_ms, size_ms), *more)


def _next_alarm(rows: NDArray[np.void], at: int) -> int | None:
    """Return the start of the first alarm after a window, ms; None where there is none."""
    later = rows["start_ms"][at + 1 :][_are_alarms(rows[at + 1 :])]
    return int(later[0]) if len(later) else None


def _are_alarms(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    return np.isin(rows["verdict"], [VERDICTS.index(alarm) for alarm in ALARMS])


def _strongest(rows: NDArray[np.void], at: int, run: Run) -> int | None:
    """Return the first window of a run with about its highest divergence, where that is much higher."""
    within = _are_alarms(rows) & (rows["start_ms"] >= run.since_ms)
    if run.until_ms is not None:
        within &= rows["start_ms"] < run.until_ms
    if not within[at]:
        return None
    divergences = np.where(within, np.nan_to_num(rows["js_divergence"]), 0.0)
    highest = divergences.max()
    if not highest >= _STRONGER * divergences[at] > 0:
        return None
    return int((divergences >= _PLATEAU * highest).argmax())


def _tell(chosen: WindowDetail, strongest: WindowDetail | None, later_ms: int | None) -> tuple[str, ...]:
    """Return the story of the chosen window, and of the strongest one of its run or the next alarm."""
    if chosen.record.verdict not in ALARMS:
        if later_ms is None:
            return chosen.story
        later = f"Later windows differ from the baseline, from {format_moment(later_ms)} on."
        return (*chosen.story, later)
    since, *rest = chosen.story
    return (" ".join((since, *_tell_strongest(strongest, chosen.record.kind))), " ".join(rest))


def _tell_strongest(strongest: WindowDetail | None, known_kind: str | None) -> tuple[str, ...]:
    if strongest is None:
        return ()
    record = strongest.record
    kind = "" if record.kind in (None, known_kind) else f" ({record.kind}: {find_kind(record.kind).sentence})"
    return (
        f"The first of the strongest windows is that of {format_moment(strongest.start_ms)}, with a "
        f"divergence of {format_number(record.js_divergence)}{kind}.",
    )
