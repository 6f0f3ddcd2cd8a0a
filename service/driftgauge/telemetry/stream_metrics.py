"""Metrics of a stream: totals, alarm, configured limits, watermark, and the baseline in force."""

from driftgauge.core.windows.result import Verdict
from driftgauge.telemetry.metric import Metric, Samples, size_metric, stream_metric
from driftgauge.telemetry.snapshot import StreamView

__all__ = ["BASELINE_METRICS", "LIMIT_METRICS", "TOTAL_METRICS"]


def _watermark_s(view: StreamView) -> float | None:
    watermark_ms = view.snapshot.status.watermark_ms
    return None if watermark_ms is None else watermark_ms / 1000


def _overdue_s(view: StreamView, size_ms: int) -> float | None:
    # A stream that matches may begin long after the replicas, and its first window is not overdue then.
    if view.watched.spec.is_shared and size_ms not in view.snapshot.newest:
        return None
    return view.watched.overdue_after(size_ms) / 1000


def _labels(view: StreamView) -> Samples:
    labels = view.watched.labels
    return (((labels.owner or "", labels.team or "", labels.severity), 1),)


def _windows_closed(view: StreamView) -> Samples:
    for window, size_ms in view.sizes():
        for verdict in Verdict:
            yield (window, verdict), view.snapshot.status.closed.get((size_ms, verdict), 0)


TOTAL_METRICS = (
    Metric(
        "driftgauge_events_total",
        ("stream",),
        "events",
        "Accepted events, late ones among them, at their commit. A record may hold several. A stream's series"
        " starts with its first event on the replica, so rate() misses the first commit.",
    ),
    size_metric(
        "driftgauge_late_events_total",
        "events",
        "Events that arrived after their window of this size could no longer be corrected. A larger window"
        " may still have counted the event. Kept in the shard's state.",
        lambda view, size_ms: view.snapshot.status.late.get(size_ms, 0),
    ),
    Metric(
        "driftgauge_windows_closed_total",
        ("stream", "window", "verdict"),
        "windows",
        "Windows closed, by verdict: ok, warning, drift, insufficient, incomplete, misfit. A window whose"
        " verdict changes in a revision counts under both. Kept in the shard's state.",
        _windows_closed,
    ),
    size_metric(
        "driftgauge_window_revisions_total",
        "revisions",
        "Closed windows published again, because late events or a delayed partition changed the result."
        " Kept in the shard's state.",
        lambda view, size_ms: view.snapshot.status.revised.get(size_ms, 0),
    ),
    size_metric(
        "driftgauge_alarm_active",
        "1 or 0",
        "1 where the last conclusive window (ok, warning, misfit or drift) says drift. Incomplete and"
        " insufficient windows end no alarm.",
        lambda view, size_ms: size_ms in view.snapshot.status.alarms,
    ),
    size_metric(
        "driftgauge_windows_open",
        "windows",
        "Windows that hold events and still accept events or corrections.",
        lambda view, size_ms: view.snapshot.open_windows.get(size_ms, 0),
    ),
    stream_metric(
        "driftgauge_watermark_timestamp_seconds",
        "seconds since the epoch, event time",
        "Watermark of the stream: the event time up to which the stream is considered complete. Absent while"
        " unknown.",
        _watermark_s,
    ),
)

LIMIT_METRICS = (
    size_metric(
        "driftgauge_window_duration_seconds",
        "seconds",
        "Configured length of the windows.",
        lambda _, size_ms: size_ms / 1000,
    ),
    size_metric(
        "driftgauge_window_min_events",
        "events",
        "Configured number of events below which a window is not scored.",
        lambda view, _: view.watched.spec.min_events,
    ),
    size_metric(
        "driftgauge_window_overdue_seconds",
        "seconds",
        "Time since driftgauge_window_closed_timestamp_seconds after which a window is overdue."
        " overdue_after sets it; the default is two windows plus the configured waiting times. Absent before"
        " the first closed window of a stream without an entry of its own.",
        _overdue_s,
    ),
    stream_metric(
        "driftgauge_alarm_p_value",
        "probability",
        "A window is significant where driftgauge_window_p_value is below this level, the window's share of"
        " the alarm budget.",
        lambda view: view.watched.spec.alarm.overall_level,
    ),
    stream_metric(
        "driftgauge_alarm_js_excess",
        "none, 0 to 1",
        "A window is large where driftgauge_window_js_excess reaches this floor, or another excess its own.",
        lambda view: view.watched.spec.alarm.floor("js_divergence"),
    ),
    stream_metric(
        "driftgauge_alarm_mean_shift_excess",
        "squared standard deviations",
        "A window is large where driftgauge_window_mean_shift_excess reaches this floor, or another excess"
        " its own.",
        lambda view: view.watched.spec.alarm.floor("mean_shift"),
    ),
    stream_metric(
        "driftgauge_alarm_novelty_excess_ratio",
        "ratio, 0 to 1",
        "A window is large where driftgauge_window_novelty_excess_ratio reaches this floor, or another"
        " excess its own.",
        lambda view: view.watched.spec.alarm.floor("novelty"),
    ),
    stream_metric(
        "driftgauge_alarm_spread_excess_ratio",
        "ratio, 0 or more",
        "A window is large where the size of driftgauge_window_spread_change_ratio, less that of a clean"
        " window, reaches this floor, or another excess its own.",
        lambda view: view.watched.spec.alarm.floor("spread"),
    ),
    stream_metric(
        "driftgauge_alarm_duplicates_ratio",
        "ratio, 0 to 1",
        "A window is large where driftgauge_window_duplicates_ratio reaches this floor, or another excess its"
        " own.",
        lambda view: view.watched.spec.alarm.floor("duplicates"),
    ),
    Metric(
        "driftgauge_stream_info",
        ("stream", "owner", "team", "severity"),
        "none, always 1",
        "Configured labels of the stream: its owner and team (empty where not configured), and the severity"
        " of its drift: critical, warning or info. Only the replica that holds the stream's shard exports a"
        " stream's metrics; driftgauge_events_total is the exception.",
        _labels,
    ),
)

BASELINE_METRICS = (
    Metric(
        "driftgauge_baseline_info",
        ("stream", "baseline", "model_version"),
        "none, always 1",
        "The baseline in force and the model version of its vectors (empty where the baseline names none).",
        lambda view: (((view.baseline.reference.baseline_id, view.baseline.model_version or ""), 1),),
    ),
    stream_metric(
        "driftgauge_baseline_created_timestamp_seconds",
        "seconds since the epoch, wall time",
        "Time at which the baseline in force was fitted.",
        lambda view: view.baseline.created_ms / 1000,
    ),
)
