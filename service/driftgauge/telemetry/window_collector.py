"""What is exported of the shards that are held: one collector over immutable snapshots."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from driftgauge.core.durations import format_duration
from driftgauge.core.result import Score, SegmentResult, Verdict, WindowResult
from driftgauge.telemetry.catalogue import METRICS, Kind
from driftgauge.telemetry.snapshot import ShardSnapshot, StreamSnapshot

__all__ = ["WindowCollector"]

# What is no longer kept up to date is not shown: no series is better than a drift that is frozen.
_FRESH_S = 15.0

_Streams = Sequence[tuple[str, StreamSnapshot]]
_Newest = Sequence[tuple[str, str, WindowResult]]  # stream, window, result


class WindowCollector(Collector):
    """Shows the streams of the shards that are held, each for so long after the shard's last commit.

    Every change swaps in a new mapping by one assignment, and a scrape reads the reference once, so it never
    mixes two states of a shard. Changes come from one thread, the role's; scrapes from any.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        """Show nothing.

        Args:
            monotonic_s: A clock that never goes back.
        """
        self._monotonic_s = monotonic_s
        self._shards: Mapping[int, tuple[float, ShardSnapshot]] = {}

    def show(self, shard: int, snapshot: ShardSnapshot) -> None:
        """Show a shard as it is now."""
        self._shards = {**self._shards, shard: (self._monotonic_s(), snapshot)}

    def keep(self, shards: Collection[int]) -> None:
        """Show no other shards any more: the group has given them to others."""
        self._shards = {shard: shown for shard, shown in self._shards.items() if shard in shards}

    def describe(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the families without samples."""
        for name in (
            *_WINDOW_GAUGES,
            *_CLUSTER_GAUGES,
            _VERDICT,
            *_SEGMENT_GAUGES,
            _SEGMENT_VERDICT,
            _MISSING,
            _WATERMARK,
            *_BY_SIZE,
            _CLOSED,
            *_CHAIN_COUNTERS,
        ):
            yield _family(name) if METRICS[name].kind is Kind.GAUGE else _counter_family(name)

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the families of the snapshots that are fresh."""
        now_s = self._monotonic_s()
        shards = {
            shard: snapshot
            for shard, (shown_s, snapshot) in sorted(self._shards.items())
            if now_s - shown_s <= _FRESH_S
        }
        streams = [item for snapshot in shards.values() for item in snapshot.streams.items()]
        newest = [
            (stream, format_duration(size_ms), result)
            for stream, known in streams
            for size_ms, result in sorted(known.newest.items())
        ]
        yield from _measured(newest)
        yield from _judged(newest)
        yield from _totals(streams)
        for name, value_of in _CHAIN_COUNTERS.items():
            family = _counter_family(name)
            for shard, snapshot in shards.items():
                family.add_metric((str(shard),), value_of(snapshot))
            yield family


def _measured(newest: _Newest) -> Iterator[GaugeMetricFamily]:
    """Yield the numbers of the newest windows, and what they lack."""
    for name, value_of in _WINDOW_GAUGES.items():
        family = _family(name)
        for stream, window, result in newest:
            value = value_of(result)
            if value is not None:
                family.add_metric((stream, window), value)
        yield family
    for name, values_of in _CLUSTER_GAUGES.items():
        family = _family(name)
        for stream, window, result in newest:
            for cluster, number in enumerate(values_of(result)):
                family.add_metric((stream, window, str(cluster)), number)
        yield family
    missing = _family(_MISSING)
    for stream, window, result in newest:
        for topic, partition in result.missing:
            missing.add_metric((stream, window, topic, str(partition)), 1)
    yield missing


def _totals(streams: _Streams) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
    """Yield how far the streams have come, and their totals, which outlive a change of hands."""
    watermarks = _family(_WATERMARK)
    for stream, known in streams:
        if known.watermark_ms is not None:
            watermarks.add_metric((stream,), known.watermark_ms / 1000)
    yield watermarks
    for name, values_of in _BY_SIZE.items():
        family = _family(name) if METRICS[name].kind is Kind.GAUGE else _counter_family(name)
        for stream, known in streams:
            for size_ms, value in values_of(known).items():
                family.add_metric((stream, format_duration(size_ms)), value)
        yield family
    closed = _counter_family(_CLOSED)
    for stream, known in streams:
        for (size_ms, verdict), number in known.closed.items():
            closed.add_metric((stream, format_duration(size_ms), verdict), number)
    yield closed


def _judged(newest: _Newest) -> Iterator[GaugeMetricFamily]:
    """Yield the verdicts, and what is known of the segments."""
    verdicts = _family(_VERDICT)
    segment_gauges = {name: _family(name) for name in _SEGMENT_GAUGES}
    segment_verdicts = _family(_SEGMENT_VERDICT)
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


def _family(name: str) -> GaugeMetricFamily:
    metric = METRICS[name]
    return GaugeMetricFamily(metric.name, metric.documentation, labels=metric.labels)


def _counter_family(name: str) -> CounterMetricFamily:
    metric = METRICS[name]
    return CounterMetricFamily(metric.name, metric.documentation, labels=metric.labels)


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
_CLOSED = "driftgauge_windows_closed_total"

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

_BY_SIZE: Mapping[str, Callable[[StreamSnapshot], Mapping[int, float]]] = {
    "driftgauge_windows_open": lambda stream: stream.open_windows,
    "driftgauge_alarm_active": lambda stream: stream.alarms,
    "driftgauge_late_events_total": lambda stream: stream.late,
    "driftgauge_window_revisions_total": lambda stream: stream.revised,
}

_CHAIN_COUNTERS: Mapping[str, Callable[[ShardSnapshot], int]] = {
    "driftgauge_partials_gap_total": lambda shard: shard.gaps,
    "driftgauge_partials_overlap_total": lambda shard: shard.overlaps,
    "driftgauge_partials_orphans_total": lambda shard: shard.orphans,
}
