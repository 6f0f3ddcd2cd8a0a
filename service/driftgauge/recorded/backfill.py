"""The gauges of past windows as OpenMetrics text with event times, to backfill a Prometheus server."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import BinaryIO

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest

from driftgauge.core.by_stream import ByStream
from driftgauge.core.windows.changelog import StreamStatus
from driftgauge.core.windows.result import WindowResult
from driftgauge.telemetry.metric import ScrapedMetric
from driftgauge.telemetry.snapshot import StreamView, WatchedStream
from driftgauge.telemetry.stream_metrics import STREAM_METRICS

__all__ = ["write_history"]

# Prometheus shows a sample for five minutes.
_STEP_MS = 4 * 60_000
_S_MS = 1_000

# Of a replay they say when it ran, and what it has read.
_OF_RUN = {
    "driftgauge_window_closed_timestamp_seconds",
    "driftgauge_window_overdue_threshold_seconds",
    "driftgauge_watermark_timestamp_seconds",
}
_METRICS = [metric for metric in STREAM_METRICS if metric.type == "gauge" and metric.name not in _OF_RUN]
_END = b"# EOF\n"


# A stream with a window as its newest and its size as the only one, and the times of scrapes, event time, ms:
# from the end of the window until the end of the next one.
_Shown = tuple[StreamView, range]


def write_history(
    results: Iterable[WindowResult],
    streams: Iterable[WatchedStream],
    file: BinaryIO,
    labels: Mapping[str, str],
) -> int:
    """Write the gauges of results as scrapes every four minutes would have shown them; return their number.

    A window is shown from its end, without the delay of its closing, by its last revision. All series of a
    metric stand together and in order, as OpenMetrics requires.

    Args:
        results: The results, of any streams and in any order.
        streams: The streams.
        file: Receives the text.
        labels: Labels of every series, such as the job of the scraped ones.
    """
    shown = _shown(results, ByStream({watched.spec.name: watched for watched in streams}))
    number = 0
    for metric in _METRICS:
        names = [*metric.labels, *labels]
        file.write(_render(GaugeMetricFamily(metric.name, metric.documentation, labels=names)))
        # One series at a time, since a year of them takes gigabytes.
        for values, spans in sorted(_spans(metric, shown).items()):
            family = GaugeMetricFamily(metric.name, metric.documentation, labels=names)
            points = {time_ms: value for times_ms, value in spans for time_ms in times_ms}
            for time_ms, value in sorted(points.items()):
                family.add_metric([*values, *labels.values()], value, timestamp=time_ms / _S_MS)
            number += len(points)
            file.writelines(
                line for line in _render(family).splitlines(keepends=True) if not line.startswith(b"#")
            )
    file.write(_END)
    return number


def _shown(results: Iterable[WindowResult], streams: Mapping[str, WatchedStream]) -> list[_Shown]:
    last = {(result.stream, result.window.size_ms, result.window.end_ms): result for result in results}
    by_size: defaultdict[tuple[str, int], list[WindowResult]] = defaultdict(list)
    for (stream, size_ms, _), result in sorted(last.items(), key=lambda item: item[0]):
        by_size[stream, size_ms].append(result)
    return [each for (stream, _), windows in by_size.items() for each in _scrapes(streams[stream], windows)]


def _scrapes(watched: WatchedStream, windows: list[WindowResult]) -> Iterator[_Shown]:
    """Yield what is shown of windows of one size, in order of event time."""
    stream, size_ms = windows[0].stream, windows[0].window.size_ms
    watched = replace(watched, spec=replace(watched.spec, name=stream, sizes_ms=(size_ms,)))
    conclusive: dict[int, WindowResult] = {}
    for result, following in zip(windows, [*windows[1:], None], strict=True):
        if result.verdict.is_conclusive:
            conclusive = {size_ms: result}
        end_ms = result.window.end_ms
        until_ms = end_ms + size_ms if following is None else min(following.window.end_ms, end_ms + size_ms)
        baseline = watched.spec.baseline_at(result.window.start_ms)
        view = StreamView(watched, StreamStatus(), {size_ms: result}, conclusive, baseline)
        yield view, range(end_ms, until_ms, _STEP_MS)


def _spans(
    metric: ScrapedMetric[StreamView], shown: Iterable[_Shown]
) -> dict[tuple[str, ...], list[tuple[range, float]]]:
    """Return the times and values of each series, by its labels; sizes share a stream's own series."""
    spans: defaultdict[tuple[str, ...], list[tuple[range, float]]] = defaultdict(list)
    for view, times_ms in shown:
        stream = view.watched.spec.name
        for labels, value in metric.samples(view):
            if value is not None:
                spans[stream, *labels].append((times_ms, float(value)))
    return spans


def _render(family: GaugeMetricFamily) -> bytes:
    # All that is asked of a registry is its families.
    registry = SimpleNamespace(collect=lambda: [family])
    rendered: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return rendered.removesuffix(_END)
