"""The gauges of closed windows: one collector over one immutable snapshot."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from driftgauge.core.durations import format_duration
from driftgauge.core.result import Score, SegmentResult, Verdict, WindowResult
from driftgauge.core.spec import StreamSpec
from driftgauge.core.table import Table
from driftgauge.telemetry.catalogue import METRICS

__all__ = ["WindowCollector"]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What a scrape shows.

    Attributes:
        newest: The newest closed window, by stream and size in ms.
        watermarks_ms: The known watermarks, by stream.
        open_windows: How many windows are held, by stream and size in ms.
    """

    newest: Mapping[tuple[str, int], WindowResult] = field(default_factory=dict)
    watermarks_ms: Mapping[str, int] = field(default_factory=dict)
    open_windows: Mapping[tuple[str, int], int] = field(default_factory=dict)


class WindowCollector(Collector):
    """Shows the newest closed window of each stream and size, and how far each stream has come.

    Every change builds a new snapshot and swaps it in by one assignment, and a scrape reads the
    reference once, so it never mixes two windows. Changes come from one thread, the consumer's;
    scrapes from any. What is no longer kept up to date is not shown: no series is better than a
    drift that is frozen.
    """

    def __init__(self, is_fresh: Callable[[], bool]) -> None:
        self._is_fresh = is_fresh
        self._snapshot = _Snapshot()

    def show(self, table: Table, specs: Iterable[StreamSpec]) -> None:
        """Take in what the table says of these streams."""
        newest: dict[tuple[str, int], WindowResult] = {}
        watermarks_ms: dict[str, int] = {}
        open_windows: dict[tuple[str, int], int] = {}
        published = table.newest()
        for spec in specs:
            watermark_ms = table.watermark_ms(spec.name, spec.disorder_ms)
            if watermark_ms is not None:
                watermarks_ms[spec.name] = watermark_ms
            for size_ms, number in table.open_windows(spec.name, spec.sizes_ms).items():
                open_windows[spec.name, size_ms] = number
                if (spec.name, size_ms) in published:
                    newest[spec.name, size_ms] = published[spec.name, size_ms]
        self._snapshot = _Snapshot(newest, watermarks_ms, open_windows)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families without samples."""
        for name in (
            *_WINDOW_GAUGES,
            *_CLUSTER_GAUGES,
            _VERDICT,
            *_SEGMENT_GAUGES,
            _SEGMENT_VERDICT,
            _MISSING,
            _WATERMARK,
            _WINDOWS_OPEN,
        ):
            yield _family(name)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families of one snapshot."""
        snapshot = self._snapshot if self._is_fresh() else _Snapshot()
        for name, value_of in _WINDOW_GAUGES.items():
            family = _family(name)
            for (stream, size_ms), result in snapshot.newest.items():
                value = value_of(result)
                if value is not None:
                    family.add_metric((stream, format_duration(size_ms)), value)
            yield family
        for name, values_of in _CLUSTER_GAUGES.items():
            family = _family(name)
            for (stream, size_ms), result in snapshot.newest.items():
                window = format_duration(size_ms)
                for cluster, value in enumerate(values_of(result)):
                    family.add_metric((stream, window, str(cluster)), value)
            yield family
        yield from _judged(snapshot)
        missing = _family(_MISSING)
        for (stream, size_ms), result in snapshot.newest.items():
            for topic, partition in result.missing:
                missing.add_metric((stream, format_duration(size_ms), topic, str(partition)), 1)
        yield missing
        watermarks = _family(_WATERMARK)
        for stream, watermark_ms in snapshot.watermarks_ms.items():
            watermarks.add_metric((stream,), watermark_ms / 1000)
        yield watermarks
        windows_open = _family(_WINDOWS_OPEN)
        for (stream, size_ms), number in snapshot.open_windows.items():
            windows_open.add_metric((stream, format_duration(size_ms)), number)
        yield windows_open


def _judged(snapshot: _Snapshot) -> Iterator[GaugeMetricFamily]:
    """Yield the verdicts, and what is known of the segments."""
    verdicts = _family(_VERDICT)
    segment_gauges = {name: _family(name) for name in _SEGMENT_GAUGES}
    segment_verdicts = _family(_SEGMENT_VERDICT)
    for (stream, size_ms), result in snapshot.newest.items():
        window = format_duration(size_ms)
        for verdict in Verdict:
            verdicts.add_metric((stream, window, verdict), float(verdict is result.verdict))
        for segment in result.segments:
            labels = (stream, window, *segment.segment)
            for name, value_of in _SEGMENT_GAUGES.items():
                value = value_of(segment)
                if value is not None:
                    segment_gauges[name].add_metric(labels, value)
            for verdict in Verdict:
                segment_verdicts.add_metric((*labels, verdict), float(verdict is segment.verdict))
    yield verdicts
    yield from segment_gauges.values()
    yield segment_verdicts


def _family(name: str) -> GaugeMetricFamily:
    metric = METRICS[name]
    return GaugeMetricFamily(metric.name, metric.documentation, labels=metric.labels)


def _of_score(value_of: Callable[[Score], float]) -> Callable[[WindowResult], float | None]:
    return lambda result: None if result.score is None else value_of(result.score)


def _contributions(result: WindowResult) -> Sequence[float]:
    signed = result.signed_contributions
    return () if signed is None else signed.tolist()


def _ratios(result: WindowResult) -> Sequence[float]:
    return [count / result.count for count in result.counts.tolist()]


_MISSING = "driftgauge_window_missing_partition"
_VERDICT = "driftgauge_window_verdict"
_SEGMENT_VERDICT = "driftgauge_window_segment_verdict"
_WATERMARK = "driftgauge_watermark_timestamp_seconds"
_WINDOWS_OPEN = "driftgauge_windows_open"

# A gauge whose value is None has no series: a 0 would say "no drift" where nothing was measured.
_WINDOW_GAUGES: Mapping[str, Callable[[WindowResult], float | None]] = {
    "driftgauge_window_js_divergence": _of_score(lambda score: score.js_divergence),
    "driftgauge_window_js_distance": _of_score(lambda score: score.js_distance),
    "driftgauge_window_noise_floor": _of_score(lambda score: score.noise_floor),
    "driftgauge_window_js_excess": _of_score(lambda score: score.js_excess),
    "driftgauge_window_js_p_value": _of_score(lambda score: score.js_p_value),
    "driftgauge_window_mean_shift_t2": _of_score(lambda score: score.mean_shift.t2),
    "driftgauge_window_mean_shift_excess": _of_score(lambda score: score.mean_shift.excess),
    "driftgauge_window_mean_shift_p_value": _of_score(lambda score: score.mean_shift.p_value),
    "driftgauge_window_centroid_distance": _of_score(lambda score: score.mean_shift.centroid_distance),
    "driftgauge_window_centroid_p_value": _of_score(lambda score: score.mean_shift.centroid_p_value),
    "driftgauge_window_p_value": _of_score(lambda score: score.p_value),
    "driftgauge_window_calibrated": _of_score(lambda score: float(score.calibrated)),
    "driftgauge_window_novelty_ratio": _of_score(lambda score: score.novelty),
    "driftgauge_window_slow_drift": lambda result: result.slow,
    "driftgauge_window_slow_drift_limit": lambda result: result.slow_limit,
    "driftgauge_window_events": lambda result: result.count,
    "driftgauge_window_revision": lambda result: result.revision,
    "driftgauge_window_complete": lambda result: float(not result.missing),
    "driftgauge_window_events_lost": lambda result: float(result.events_lost),
    "driftgauge_window_end_timestamp_seconds": lambda result: result.window.end_ms / 1000,
    "driftgauge_window_closed_timestamp_seconds": lambda result: result.published_ms / 1000,
}

_CLUSTER_GAUGES: Mapping[str, Callable[[WindowResult], Sequence[float]]] = {
    "driftgauge_window_cluster_signed_js_contribution": _contributions,
    "driftgauge_window_cluster_ratio": _ratios,
}

_SEGMENT_GAUGES: Mapping[str, Callable[[SegmentResult], float | None]] = {
    "driftgauge_window_segment_events": lambda segment: segment.count,
    "driftgauge_window_segment_js_divergence": lambda segment: segment.js_divergence,
    "driftgauge_window_segment_adjusted_p_value": lambda segment: segment.adjusted_p_value,
}
