"""What the page shows of one stream: its story, its windows over time, and one window in detail."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.numbers import Number
from driftgauge.core.spec import Alarm as AlarmSpec
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.novelty import NOVELTY
from driftgauge.core.statistics.spread import SPREAD
from driftgauge.page.chart import Chart, SmallLine, chart, trend
from driftgauge.page.queries import WindowQuery
from driftgauge.page.status import ALARMS, CONCLUSIVE, Alarm, Run, StreamStatus, as_told, whole_run
from driftgauge.page.story import NOTABLE, adjusted_p_value, cluster_name, tell
from driftgauge.page.summary import CHARTED, VERDICTS, Parts, kind_of, means_of
from driftgauge.page.words import LEAST_P
from driftgauge.records.window_record import (
    ClusterRecord,
    EventsRecord,
    ExampleRecord,
    NumberClusterRecord,
    SegmentRecord,
    WindowRecord,
)
from driftgauge.statistic_words import WORDS

__all__ = [
    "MAX_SHOWN",
    "ClusterRow",
    "StreamPage",
    "WindowDetail",
    "compare",
    "detail",
    "grouped",
    "number_charts",
    "segment_chart",
    "stream_page",
    "strength",
    "then_and_now",
]

MAX_SHOWN = 1_000
"""The largest number of windows that charts show."""

_USUALLY_SHOWN = 200
# An incident stands at the end of a chart with two lengths of it before.
_LENGTHS, _LEAST_SHOWN = 3, 24
_RANGES = (50, 200)
_SMALL_HEIGHT = 156
_CLOSER = "Large values are drawn closer together."
# Far below what any test can tell from 0.
_LEAST_P = 1e-300
_AT_THE_EDGE = (NOVELTY.kind, SPREAD.kind)
_NO_EXAMPLE = ExampleRecord(cluster=0, event_ids=(), baseline_event_ids=())


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A cluster of a window, its part of the divergence, examples of its events, and its numbers by name."""

    cluster: ClusterRecord
    part: float | None
    example: ExampleRecord
    trend: SmallLine | None
    numbers: dict[str, NumberClusterRecord]


@dataclass(frozen=True, slots=True)
class WindowDetail:
    """One window.

    Attributes:
        record: Its result.
        row: () of `SUMMARY`, its summary.
        start_ms: Its start, event time, ms.
        story: What happened, in sentences.
        clusters: Its clusters, by contribution.
        segments: Its segments, the least likely first, each with the trend of how unlikely it was.
    """

    record: WindowRecord
    row: NDArray[np.void]
    start_ms: int
    story: list[str]
    clusters: list[ClusterRow]
    segments: list[tuple[SegmentRecord, SmallLine | None]]


@dataclass(frozen=True, slots=True)
class StreamPage:
    """A stream and size.

    Attributes:
        span: The indices, in all windows, of the first that is shown, and after the last.
        spans: What may be shown instead, by its name; of the last, all windows.
        run: The run of windows that the chosen one is in.
        rows: (n,) of `SUMMARY`, the windows shown, by start, with the verdicts that are told.
        verdict: That of the chosen window.
        evidence: The chart of their evidence against the limit that decides; None if no window is scored.
        charts: The charts of their measures, first that of the alarm that is told, or of `concluded`; empty
            if none is scored.
        concluded: The index, in all windows, of that whose details are shown: the chosen one, or the last
            with a conclusion before it.
        usual_count: The median number of events of the windows with a conclusion that are shown.
    """

    span: tuple[int, int]
    spans: dict[str, tuple[int, int]]
    run: Run
    rows: NDArray[np.void]
    verdict: str
    evidence: Chart | None
    charts: tuple[Chart, ...]
    concluded: int
    usual_count: int


def stream_page(
    query: WindowQuery,
    alarm: AlarmSpec,
    status: StreamStatus,
) -> StreamPage:
    """Return what is shown of a series.

    Args:
        query: The series, the chosen window, and the windows that charts show; if it names none, or none is
            left of them, these are so many that two lengths of the alarm are before it.
        alarm: The level, and what is large.
        status: The status of the stream.
    """
    rows, at = query.rows, query.chosen
    run = whole_run(rows, at)
    misfits = (each.facts.misfit for each in status.sizes if each.facts.series == query.series)
    shown_as = as_told(rows, next(misfits, None))
    # A window that is asked for has an alarm of its own, or none.
    since_ms = min((each.since_ms for each in status.alarms), default=None) if query.at is None else None
    if query.span is None or query.span[0] == len(rows):
        since = len(rows) - int(
            np.searchsorted(rows["start_ms"], run.since_ms if since_ms is None else since_ms)
        )
        is_alarm = since_ms is not None or run.verdict in ALARMS
        shown = min(max(_LENGTHS * since, _LEAST_SHOWN), MAX_SHOWN) if is_alarm else _USUALLY_SHOWN
        # The chosen window is in the charts, even if it is an old one.
        end = len(rows) if at >= len(rows) - shown else at + 1 + shown // 2
        span = _within(rows, end - shown, end)
    else:
        begin, end = _within(rows, *query.span)
        # A window outside the range, such as its neighbour, moves it as far as it must.
        moved = 0 if query.at is None else min(at - begin, 0) + max(at + 1 - end, 0)
        span = begin + moved, end + moved
    window = shown_as[slice(*span)]
    conclusive = np.flatnonzero(np.isin(rows["verdict"][: at + 1], CONCLUSIVE))
    concluded = int(conclusive[-1]) if len(conclusive) else at
    kind = kind_of(rows[concluded]) if status.told is None else status.told.kind
    counts = window["count"][np.isin(window["verdict"], CONCLUSIVE)]
    return StreamPage(
        span,
        _spans(rows, *span),
        run,
        window,
        VERDICTS[shown_as["verdict"][at]],
        _evidence(window, query.series.size_ms, alarm),
        _charts(window, query.series.size_ms, alarm, kind),
        concluded,
        int(np.median(counts)) if len(counts) else 0,
    )


def _within(rows: NDArray[np.void], begin: int, end: int) -> tuple[int, int]:
    """Return a range of n windows, (n,) of `SUMMARY`, that holds no more than are shown."""
    end = min(end, len(rows))
    return max(begin, end - MAX_SHOWN, 0), end


def _spans(rows: NDArray[np.void], begin: int, end: int) -> dict[str, tuple[int, int]]:
    """Return ranges of windows that may be shown instead of one, by their names; the last is of all."""
    number, half = len(rows), max((end - begin) // 2, 1)
    spans = {
        "← earlier": (max(begin - half, 0), max(begin - half, 0) + end - begin),
        "later →": (begin + min(half, number - end), min(end + half, number)),
        "closer": (begin + half // 2, end - half // 2),
        "wider": (begin - half, end + half),
    }
    spans |= {f"the last {each}": (number - each, number) for each in _RANGES if each < number}
    spans[f"all {min(number, MAX_SHOWN)}"] = 0, number
    found = {name: _within(rows, *each) for name, each in spans.items()}
    return {name: each for name, each in found.items() if each != (begin, end)}


def detail(
    record: WindowRecord,
    row: NDArray[np.void],
    run: Run,
    size_ms: int,
    parts: Sequence[tuple[int, Parts]] = (),
    told: Alarm | None = None,
) -> WindowDetail:
    """Return one window as it is shown.

    Args:
        record: Its result.
        row: () of `SUMMARY`, its summary.
        run: The run of windows that it is in.
        size_ms: Its length, ms.
        parts: The starts, ms, and parts of windows with its baseline, for the trends of its own parts.
        told: The alarm that is told beside it; None without one.
    """
    is_told = told is not None and (told.size_ms, told.evidence["start_ms"]) == (size_ms, row["start_ms"])
    starts = [start_ms for start_ms, _ in parts]
    positions = {cluster.id: at for at, cluster in enumerate(record.clusters)}
    examples = {example.cluster: example for example in record.examples}
    numbers = {name: {own.id: own for own in number.clusters} for name, number in record.numbers.items()}
    total = record.js_divergence or 0.0
    return WindowDetail(
        record,
        row,
        int(row["start_ms"]),
        tell(record, run, size_ms, is_told=is_told and run.until_ms is None),
        [
            ClusterRow(
                cluster,
                None if cluster.js_contribution is None or not total else cluster.js_contribution / total,
                examples.get(cluster.id, _NO_EXAMPLE),
                trend(
                    starts,
                    size_ms,
                    [float(each.shares[positions[cluster.id]]) for _, each in parts],
                    cluster.baseline_share,
                ),
                {name: own[cluster.id] for name, own in numbers.items() if cluster.id in own},
            )
            for cluster in sorted(
                record.clusters, key=lambda each: (-(each.js_contribution or 0.0), -each.share)
            )
        ],
        [
            (each, trend(starts, size_ms, _unlikeliness(parts, (each.key, each.value)), -np.log10(NOTABLE)))
            for each in sorted(record.segments, key=adjusted_p_value)
        ],
    )


def then_and_now(record: WindowRecord, alarm: Alarm) -> tuple[str, EventsRecord] | None:
    """Return the events that show an alarm best, after what they are; None if no event now has an id.

    For novelty and spread they are the farthest, for others those of a cluster, preferably of one that grew.

    Args:
        record: The result of the window with its evidence.
        alarm: The alarm.
    """
    of_all = ", of all events" if alarm.segments else ""
    if alarm.kind in _AT_THE_EDGE and record.farthest is not None:
        return f"the farthest from their clusters{of_all}", record.farthest
    clusters = {each.id: each for each in record.clusters}

    def size(example: ExampleRecord) -> tuple[bool, bool, float]:
        own = clusters[example.cluster]
        return bool(example.event_ids), own.share > own.baseline_share, own.js_contribution or 0.0

    best = max(record.examples, key=size, default=_NO_EXAMPLE)
    return (f"some near {cluster_name(clusters[best.cluster])}{of_all}", best) if best.event_ids else None


def grouped(events: tuple[Sequence[str], Sequence[str]]) -> list[tuple[str, str, int]]:
    """Return events, ids and texts, of which there may be fewer: each with how many have its text."""
    ids, texts = events
    number = Counter(texts)
    first = {
        text or each: (each, text, number[text] or 1) for each, text in zip_longest(ids, texts, fillvalue="")
    }
    return [*first.values()]


def _unlikeliness(parts: Sequence[tuple[int, Parts]], segment: tuple[str, str]) -> list[float]:
    """Return the negative logarithms of a segment's adjusted p-values; NaN if it is not scored."""
    found = [dict(zip(each.segments, each.p_values.tolist(), strict=True)) for _, each in parts]
    return [-float(np.log10(max(each.get(segment, np.nan), LEAST_P))) for each in found]


def compare(first: WindowDetail, other: WindowDetail) -> list[tuple[ClusterRow, ClusterRow]]:
    """Return the clusters of two windows, those that differ most first; none if the baselines differ."""
    if first.record.baseline != other.record.baseline:
        return []
    others = {row.cluster.id: row for row in other.clusters}
    pairs = [(row, others[row.cluster.id]) for row in first.clusters]
    return sorted(pairs, key=lambda each: -abs(each[0].cluster.share - each[1].cluster.share))


def strength(rows: NDArray[np.void], alarm: AlarmSpec) -> NDArray[np.float64]:
    """Return how significant and how large n windows are, whichever is less, in parts of the limit, (n,).

    A window is significant and large from 1 on, as `WindowScorer` says; NaN if it is not scored.
    """
    level, floors = alarm.overall_level, [alarm.floor(each.name) for each in CHARTED]
    counts = (rows["p_values"] < level) | np.array([each.finding.always_counts for each in CHARTED])
    divergence = (rows["js_divergence"] - rows["noise_floor"]) / alarm.floor(DIVERGENCE.name)
    # NaN stands for a statistic that is not tested.
    size = np.fmax(divergence, np.fmax.reduce(np.where(counts, rows["excess"], np.nan) / floors, axis=1))
    significance = np.log(np.maximum(rows["p_value"], _LEAST_P)) / np.log(level)
    least: NDArray[np.float64] = np.minimum(size, significance)
    return least


def _evidence(rows: NDArray[np.void], size_ms: int, alarm: AlarmSpec) -> Chart | None:
    """Return the chart of what decides: the windows' strength against its limit."""
    if not np.isfinite(rows["p_value"]).any():
        return None
    return chart(
        "Evidence",
        "The lesser of two: how clear the difference of all events is, and how large the largest change is. "
        "One window above the limit is possible drift, two of three are drift. Dashed: slow drift. "
        f"{_CLOSER}",
        rows,
        size_ms,
        np.maximum(strength(rows, alarm), 0.0),
        floor=rows["slow_drift"].astype(np.float64),
        limits=[np.ones(len(rows))],
        is_limit=True,
    )


def segment_chart(
    rows: NDArray[np.void],
    size_ms: int,
    parts: Sequence[tuple[int, Parts]],
    segment: tuple[str, str],
    alarm: AlarmSpec,
) -> Chart:
    """Return the chart of how significant a segment is in n windows, (n,) of `SUMMARY`, by their parts."""
    found = dict(zip((start_ms for start_ms, _ in parts), _unlikeliness(parts, segment), strict=True))
    values = np.array([found.get(start_ms, np.nan) for start_ms in rows["start_ms"].tolist()])
    text = f"How clearly its events differ from the baseline's of this segment, against the limit. {_CLOSER}"
    return chart(
        " = ".join(segment),
        text,
        rows,
        size_ms,
        np.maximum(values / -np.log10(alarm.overall_level), 0.0),
        limits=[np.ones(len(rows))],
        height=_SMALL_HEIGHT,
        is_limit=True,
    )


def _charts(rows: NDArray[np.void], size_ms: int, alarm: AlarmSpec, kind: str | None) -> tuple[Chart, ...]:
    """Return the charts of the measures, that of a kind of drift first."""
    charts = []
    for each in sorted((DIVERGENCE, *CHARTED), key=lambda each: each.kind != kind):
        values = rows[each.name].astype(np.float64)
        if not np.isfinite(values).any():
            continue
        dashed, floor, zero = "", None, np.zeros(len(rows))
        if each is DIVERGENCE:
            dashed, floor = " Dashed: what noise alone makes.", rows["noise_floor"]
            zero = floor
        words = WORDS[each.name]
        # A number that may be negative is large in both directions.
        limits = [zero + sign * alarm.floor(each.name) for sign in ((1, -1) if words.by_sign else (1,))]
        text = f"{words.text}{dashed} Dotted: large."
        drawn = chart(
            words.title, text, rows, size_ms, values, floor=floor, limits=limits, height=_SMALL_HEIGHT
        )
        charts.append(drawn)
    return tuple(charts)


def number_charts(
    page: StreamPage, size_ms: int, numbers: Iterable[Number], whole: WindowDetail | None
) -> tuple[Chart, ...]:
    """Return the chart of the divergence, and below it those of numbers that windows have; empty without.

    Args:
        page: The series.
        size_ms: The windows' length, ms.
        numbers: The numbers that the stream names.
        whole: The window whose baseline is drawn; None if it cannot be read.
    """
    charts = []
    for number in numbers:
        means = means_of(page.rows, number.name)
        if not np.isfinite(means).any():
            continue
        found = None if whole is None else whole.record.numbers.get(number.name)
        baseline, limits = None, []
        if number.alert_below is not None:
            limits.append(np.full(len(means), number.alert_below))
        if whole is not None and found is not None and found.baseline_mean is not None:
            is_own = page.rows["baseline"] == whole.row["baseline"]
            baseline = np.where(is_own, found.baseline_mean, np.nan)
            if number.alert_change is not None:
                limits += [baseline - number.alert_change, baseline + number.alert_change]
        drawn = chart(
            f"Mean {number.name}",
            "The mean of each window."
            + ("" if baseline is None else " Dashed: the baseline's.")
            + (" Dotted: where its alert begins." if limits else ""),
            page.rows,
            size_ms,
            means,
            floor=baseline,
            limits=limits,
            height=_SMALL_HEIGHT,
        )
        charts.append(drawn)
    divergence = [each for each in page.charts if each.title == WORDS[DIVERGENCE.name].title]
    return (*divergence, *charts) if charts else ()
