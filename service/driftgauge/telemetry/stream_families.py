"""What is exported of a stream besides its newest windows: its configuration, its progress, its totals."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from driftgauge.core.durations import format_duration
from driftgauge.core.reference import Reference
from driftgauge.core.result import Verdict
from driftgauge.core.spec import StreamSpec
from driftgauge.telemetry.families import counter_family, gauge_family
from driftgauge.telemetry.snapshot import StreamSnapshot

__all__ = ["Shown", "WatchedBaseline", "WatchedStream", "baseline_families", "configured_families", "totals"]


@dataclass(frozen=True, slots=True)
class WatchedBaseline:
    """What is exported of a baseline while it is in force.

    Attributes:
        reference: What the stream is compared with.
        model_version: The model version it was fitted on; None where it names none.
        created_ms: When it was fitted, wall time.
    """

    reference: Reference
    model_version: str | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class WatchedStream:
    """What is exported of a stream before its first event.

    Attributes:
        spec: How it is watched.
        baselines: Its baselines.
        drift_severity: How urgent drift is: critical, warning or info.
        overdue_ms: How long after a window was closed the next one is overdue; None: as `StreamSpec` has it.
    """

    spec: StreamSpec
    baselines: tuple[WatchedBaseline, ...]
    drift_severity: str
    overdue_ms: int | None = None

    def in_force(self, time_ms: int) -> WatchedBaseline:
        """Return the baseline that is in force at an event time."""
        reference = self.spec.in_force(time_ms)
        return next(baseline for baseline in self.baselines if baseline.reference is reference)


Shown = Sequence[tuple[WatchedStream, StreamSnapshot]]


def configured_families(streams: Shown) -> Iterator[GaugeMetricFamily]:
    """Yield what the configuration says of the streams."""
    for name, value_of in _CONFIGURED.items():
        family = gauge_family(name)
        for watched, _ in streams:
            family.add_metric((watched.spec.name,), value_of(watched.spec))
        yield family
    severity = gauge_family("driftgauge_alarm_severity_info")
    for watched, _ in streams:
        severity.add_metric((watched.spec.name, watched.drift_severity), 1)
    yield severity
    for name, value_of_size in _CONFIGURED_BY_SIZE.items():
        family = gauge_family(name)
        for watched, _ in streams:
            for size_ms in watched.spec.sizes_ms:
                labels = watched.spec.name, format_duration(size_ms)
                family.add_metric(labels, value_of_size(watched, size_ms))
        yield family


def baseline_families(streams: Shown, now_ms: int) -> Iterator[GaugeMetricFamily]:
    """Yield what is known of the baselines that are in force at a time."""
    info = gauge_family("driftgauge_baseline_info")
    created = gauge_family("driftgauge_baseline_created_timestamp_seconds")
    ratios = gauge_family("driftgauge_baseline_cluster_ratio")
    for watched, _ in streams:
        stream, baseline = watched.spec.name, watched.in_force(now_ms)
        reference = baseline.reference
        info.add_metric((stream, reference.baseline_id, baseline.model_version or ""), 1)
        created.add_metric((stream,), baseline.created_ms / 1000)
        for cluster, ratio in enumerate((reference.counts / reference.counts.sum()).tolist()):
            ratios.add_metric((stream, str(cluster)), ratio)
    yield from (info, created, ratios)


def totals(streams: Shown) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
    """Yield how far the streams have come, and their totals, which outlive a change of hands."""
    watermarks = gauge_family("driftgauge_watermark_timestamp_seconds")
    open_windows = gauge_family("driftgauge_windows_open")
    alarms = gauge_family("driftgauge_alarm_active")
    late = counter_family("driftgauge_late_events_total")
    revised = counter_family("driftgauge_window_revisions_total")
    closed = counter_family("driftgauge_windows_closed_total")
    for watched, known in streams:
        stream, status = watched.spec.name, known.status
        if status.watermark_ms is not None:
            watermarks.add_metric((stream,), status.watermark_ms / 1000)
        for size_ms in watched.spec.sizes_ms:
            labels = stream, format_duration(size_ms)
            open_windows.add_metric(labels, known.open_windows.get(size_ms, 0))
            alarms.add_metric(labels, size_ms in status.alarms)
            late.add_metric(labels, status.late.get(size_ms, 0))
            revised.add_metric(labels, status.revised.get(size_ms, 0))
            for verdict in Verdict:
                closed.add_metric((*labels, verdict), status.closed.get((size_ms, verdict), 0))
    yield from (watermarks, open_windows, alarms, late, revised, closed)


def _overdue_s(watched: WatchedStream, size_ms: int) -> float:
    return (watched.overdue_ms or watched.spec.overdue_ms(size_ms)) / 1000


_CONFIGURED: Mapping[str, Callable[[StreamSpec], float]] = {
    "driftgauge_alarm_p_value": lambda spec: spec.alarm.whole_level,
    "driftgauge_alarm_js_excess": lambda spec: spec.alarm.js_excess_floor,
    "driftgauge_alarm_mean_shift_excess": lambda spec: spec.alarm.mean_shift_excess_floor,
}

_CONFIGURED_BY_SIZE: Mapping[str, Callable[[WatchedStream, int], float]] = {
    "driftgauge_window_duration_seconds": lambda watched, size_ms: size_ms / 1000,
    "driftgauge_window_min_events": lambda watched, size_ms: watched.spec.min_events,
    "driftgauge_window_overdue_seconds": _overdue_s,
}
