"""What the page shows of one stream: its story, its windows over time, and one window in detail."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.config.page import PageSettings, fill_template
from driftgauge.core.durations import format_duration
from driftgauge.core.spec import Alarm
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.events.timestamps import parse_timestamp
from driftgauge.page.chart import Chart, chart
from driftgauge.page.status import CONCLUSIVE, Run, whole_run
from driftgauge.page.story import adjusted_p_value, tell
from driftgauge.page.summary import CHARTED, Series
from driftgauge.records.window_record import ClusterRecord, ExampleRecord, SegmentRecord, WindowRecord

__all__ = [
    "MAX_SHOWN",
    "ClusterRow",
    "ComparedRow",
    "EventLink",
    "NamedChart",
    "StreamPage",
    "WindowDetail",
    "compare",
    "detail",
    "stream_page",
    "strength",
]

MAX_SHOWN = 1_000
"""The largest number of windows that charts show."""

_USUALLY_SHOWN = 200
_BEFORE_RUN = 20
_SMALL_HEIGHT = 136
# Far below what any test can tell from 0.
_LEAST_P = 1e-300


@dataclass(frozen=True, slots=True)
class NamedChart:
    """A chart with its title, and what it shows in a sentence."""

    title: str
    text: str
    chart: Chart


@dataclass(frozen=True, slots=True)
class EventLink:
    """An event: its id, and where it and its picture can be looked at."""

    event_id: str
    url: str | None
    thumbnail: str | None


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A cluster of a window, with events of it now and in the baseline."""

    cluster: ClusterRecord
    part: float | None
    now: tuple[EventLink, ...]
    before: tuple[EventLink, ...]


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """A cluster in two windows, `row` in the first; its share and its events in the other."""

    row: ClusterRow
    share: float
    now: tuple[EventLink, ...]


@dataclass(frozen=True, slots=True)
class WindowDetail:
    """One window.

    Attributes:
        record: Its result.
        start_ms, end_ms: Its bounds, event time, ms.
        published_ms: When it was published, ms; None where unknown.
        story: What happened, in sentences.
        clusters: Its clusters, by contribution.
        segments: Its segments, the least likely first.
    """

    record: WindowRecord
    start_ms: int
    end_ms: int
    published_ms: int | None
    story: tuple[str, ...]
    clusters: tuple[ClusterRow, ...]
    segments: tuple[SegmentRecord, ...]


@dataclass(frozen=True, slots=True)
class StreamPage:
    """A stream and size.

    Attributes:
        series: The stream and size.
        size: The size as text.
        shown: How many windows are shown, if there are so many.
        run: The run of windows that the chosen one is in.
        rows: (n,) of `SUMMARY`, the windows shown, by start.
        evidence: The chart of their evidence against the limit that decides; None where the limit is unknown,
            and where no window is scored.
        charts: The charts of their measures, the divergence first; empty if none is scored.
        chosen: () of `SUMMARY`, the chosen window.
        concluded: () of `SUMMARY`, the window whose details are shown: the chosen one, or the last with a
            conclusion before it.
        usual_count: The median number of events of the windows with a conclusion that are shown.
        is_newest: Whether it is the newest.
        earlier_ms, later_ms: The starts of its neighbours, ms; None where there is none.
    """

    series: Series
    size: str
    shown: int
    run: Run
    rows: NDArray[np.void]
    evidence: NamedChart | None
    charts: tuple[NamedChart, ...]
    chosen: NDArray[np.void]
    concluded: NDArray[np.void]
    usual_count: int
    is_newest: bool
    earlier_ms: int | None
    later_ms: int | None


def stream_page(
    series: Series,
    rows: NDArray[np.void],
    *,
    shown: int | None,
    at_ms: int | None,
    alarm: Alarm | None,
) -> StreamPage | None:
    """Return what is shown of a series; None where it has no window, or none that starts at `at_ms`.

    Args:
        series: The stream and size.
        rows: (n,) of `SUMMARY`, all its windows, by start.
        shown: How many of them the charts show; None: so many that the run of the chosen one begins in them.
        at_ms: The start of the chosen window, ms; None for the newest.
        alarm: The level and what is large, where the configuration names the stream.
    """
    if not len(rows):
        return None
    at = len(rows) - 1
    if at_ms is not None:
        at = int(np.searchsorted(rows["start_ms"], at_ms))
        if at == len(rows) or rows[at]["start_ms"] != at_ms:
            return None
    run = whole_run(rows, at)
    if shown is None:
        since = len(rows) - int(np.searchsorted(rows["start_ms"], run.since_ms))
        shown = min(max(_USUALLY_SHOWN, since + _BEFORE_RUN), MAX_SHOWN)
    # The chosen window is in the charts, also where it is an old one.
    end = max(len(rows) if at >= len(rows) - shown else at + 1 + shown // 2, at + 1)
    window = rows[max(min(end, len(rows)) - shown, 0) : end]
    conclusive = np.flatnonzero(np.isin(rows["verdict"][: at + 1], CONCLUSIVE))
    counts = window["count"][np.isin(window["verdict"], CONCLUSIVE)]
    return StreamPage(
        series,
        format_duration(series.size_ms),
        shown,
        run,
        window,
        None if alarm is None else _evidence(window, series.size_ms, alarm),
        _charts(window, series.size_ms, alarm),
        rows[at],
        rows[conclusive[-1]] if len(conclusive) else rows[at],
        int(np.median(counts)) if len(counts) else 0,
        at == len(rows) - 1,
        int(rows[at - 1]["start_ms"]) if at else None,
        int(rows[at + 1]["start_ms"]) if at + 1 < len(rows) else None,
    )


def detail(
    record: WindowRecord, run: Run, *, size_ms: int, published_ms: int | None, settings: PageSettings
) -> WindowDetail:
    """Return one window as it is shown."""
    start_ms = parse_timestamp(record.start)
    examples = {example.cluster: example for example in record.examples}
    total = record.js_divergence or 0.0
    ordered = sorted(record.clusters, key=lambda each: (-(each.js_contribution or 0.0), -each.share))
    return WindowDetail(
        record,
        start_ms,
        parse_timestamp(record.end),
        published_ms,
        tuple(tell(record, run, size_ms)),
        tuple(
            ClusterRow(
                cluster,
                None if cluster.js_contribution is None or not total else cluster.js_contribution / total,
                *_links(record.stream, examples.get(cluster.id), settings),
            )
            for cluster in ordered
        ),
        tuple(sorted(record.segments, key=adjusted_p_value)),
    )


def compare(first: WindowDetail, other: WindowDetail) -> tuple[ComparedRow, ...]:
    """Return the clusters of two windows, those that differ most first; none if the baselines differ."""
    if first.record.baseline != other.record.baseline:
        return ()
    others = {row.cluster.id: row for row in other.clusters}
    rows = [
        ComparedRow(row, others[row.cluster.id].cluster.share, others[row.cluster.id].now)
        for row in first.clusters
    ]
    return tuple(sorted(rows, key=lambda each: -abs(each.share - each.row.cluster.share)))


def _links(
    stream: str, example: ExampleRecord | None, settings: PageSettings
) -> tuple[tuple[EventLink, ...], tuple[EventLink, ...]]:
    if example is None:
        return (), ()
    now, before = (
        tuple(
            EventLink(
                each,
                fill_template(settings.example_url, stream, each),
                fill_template(settings.thumbnail_url, stream, each),
            )
            for each in ids
        )
        for ids in (example.event_ids, example.baseline_event_ids)
    )
    return now, before


def strength(rows: NDArray[np.void], alarm: Alarm) -> NDArray[np.float64]:
    """Return how significant and how large n windows are, whichever is less, in parts of the limit, (n,).

    A window is significant and large from 1 on, as `WindowScorer` says; NaN where it is not scored.
    """
    level, floors = alarm.overall_level, [alarm.floor(each.name) for each in CHARTED]
    # The excess of the others is often noise, so it counts where it is significant by itself.
    counts = (rows["p_values"] < level) | np.array([each.decides_alone for each in CHARTED])
    divergence = (rows["js_divergence"] - rows["noise_floor"]) / alarm.floor(DIVERGENCE.name)
    # NaN stands for a statistic that is not tested.
    size = np.fmax(divergence, np.fmax.reduce(np.where(counts, rows["excess"], np.nan) / floors, axis=1))
    significance = np.log(np.maximum(rows["p_value"], _LEAST_P)) / np.log(level)
    least: NDArray[np.float64] = np.minimum(size, significance)
    return least


def _evidence(rows: NDArray[np.void], size_ms: int, alarm: Alarm) -> NamedChart | None:
    """Return the chart of what decides: the windows' strength against its limit."""
    if not np.isfinite(rows["p_value"]).any():
        return None
    return NamedChart(
        "Evidence",
        "How significant and how large each window is, whichever is less, in parts of the limit: from 1 on "
        "it is both. Dashed: slow drift, likewise.",
        chart(
            rows,
            size_ms,
            np.maximum(strength(rows, alarm), 0.0),
            floor=rows["slow_drift"].astype(np.float64),
            limits=[np.ones(len(rows))],
            is_root=True,
        ),
    )


def _charts(rows: NDArray[np.void], size_ms: int, alarm: Alarm | None) -> tuple[NamedChart, ...]:
    divergence, floor = rows["js_divergence"], rows["noise_floor"]
    if not np.isfinite(divergence).any():
        return ()
    dotted = "" if alarm is None else " Dotted: large."

    charts = [
        NamedChart(
            DIVERGENCE.title,
            f"{DIVERGENCE.text} Dashed: what noise alone makes.{dotted}",
            chart(
                rows,
                size_ms,
                divergence,
                floor=floor,
                limits=[] if alarm is None else [floor + alarm.floor(DIVERGENCE.name)],
                height=_SMALL_HEIGHT,
            ),
        )
    ]
    for each in CHARTED:
        values = rows[each.name].astype(np.float64)
        large = [] if alarm is None else [alarm.floor(each.name)]
        # A number that may be negative is large in both directions.
        limits = [np.full(len(rows), sign * size) for size in large for sign in each.signs]
        if np.isfinite(values).any():
            drawn = chart(rows, size_ms, values, limits=limits, height=_SMALL_HEIGHT)
            charts.append(NamedChart(each.title, f"{each.text}{dotted}", drawn))
    return tuple(charts)
