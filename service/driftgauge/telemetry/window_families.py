"""What is exported of the newest closed windows: their numbers, their verdicts, what they lack."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily

from driftgauge.core.durations import format_duration
from driftgauge.core.result import Score, SegmentResult, Verdict, WindowResult
from driftgauge.telemetry.families import gauge_family
from driftgauge.telemetry.stream_families import Shown

__all__ = ["window_families"]

_Newest = Sequence[tuple[str, str, WindowResult]]  # stream, window, result


def window_families(streams: Shown) -> Iterator[GaugeMetricFamily]:
    """Yield what is known of the newest closed window of each stream and size."""
    newest = [
        (watched.spec.name, format_duration(size_ms), known.newest[size_ms])
        for watched, known in streams
        for size_ms in watched.spec.sizes_ms
        if size_ms in known.newest
    ]
    yield from _measured(newest)
    yield from _judged(newest)


def _measured(newest: _Newest) -> Iterator[GaugeMetricFamily]:
    """Yield the numbers of the newest windows, and what they lack."""
    for name, value_of in _WINDOW_GAUGES.items():
        family = gauge_family(name)
        for stream, window, result in newest:
            value = value_of(result)
            if value is not None:
                family.add_metric((stream, window), value)
        yield family
    for name, values_of in _CLUSTER_GAUGES.items():
        family = gauge_family(name)
        for stream, window, result in newest:
            for cluster, number in enumerate(values_of(result)):
                family.add_metric((stream, window, str(cluster)), number)
        yield family
    missing = gauge_family(_MISSING)
    for stream, window, result in newest:
        for topic, partition in result.missing:
            missing.add_metric((stream, window, topic, str(partition)), 1)
    yield missing


def _judged(newest: _Newest) -> Iterator[GaugeMetricFamily]:
    """Yield the verdicts, and what is known of the segments."""
    verdicts = gauge_family(_VERDICT)
    segment_gauges = {name: gauge_family(name) for name in _SEGMENT_GAUGES}
    segment_verdicts = gauge_family(_SEGMENT_VERDICT)
    for stream, window, result in newest:
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
    "driftgauge_window_complete": lambda result: float(result.incomplete_reason is None),
    "driftgauge_window_events_lost": lambda result: float(result.events_lost),
    "driftgauge_window_counted_twice": lambda result: float(result.counted_twice),
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
