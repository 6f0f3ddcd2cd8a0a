"""Every metric the service exports, as data: the one source of names, labels, help and values of streams.

`python -m driftgauge.telemetry.catalogue [--check] [README]` writes the README's table from it.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from driftgauge.core.windows.result import Verdict, WindowResult
from driftgauge.errors import InputError
from driftgauge.telemetry.metric import Metric, Samples, of_newest, of_score, of_segment, of_size, of_stream
from driftgauge.telemetry.snapshot import ShownStream

__all__ = ["METRICS", "render_table", "replace_table"]

_BEGIN = "<!-- metrics:begin -->"
_END = "<!-- metrics:end -->"

# From a poll that found a handful of records to a commit that waits for the broker.
_DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# From offsets that are known at once to the end of a dead replica's transaction.
_RESTORE_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)

_WINDOW = ("stream", "window")
_CLUSTER = ("stream", "window", "cluster_id")
_PARTITION = ("topic", "partition")
_SHARD = ("shard",)
_ROLE = ("role",)


def _watermark_s(shown: ShownStream) -> float | None:
    watermark_ms = shown.known.status.watermark_ms
    return None if watermark_ms is None else watermark_ms / 1000


def _contributions(result: WindowResult) -> Sequence[float]:
    signed = result.signed_contributions
    return () if signed is None else signed.tolist()


def _ratios(counts: NDArray[np.int64]) -> Sequence[float]:
    ratios: list[float] = (counts / counts.sum()).tolist()
    return ratios


def _clusters(shown: ShownStream, values_of: Callable[[WindowResult], Sequence[float]]) -> Samples:
    for window, result in shown.newest():
        for cluster, value in enumerate(values_of(result)):
            yield (window, str(cluster)), value


def _baseline_ratios(shown: ShownStream) -> Samples:
    for cluster, ratio in enumerate(_ratios(shown.baseline.reference.counts)):
        yield (str(cluster),), ratio


def _closed(shown: ShownStream) -> Samples:
    for window, size_ms in shown.sizes():
        for verdict in Verdict:
            yield (window, verdict), shown.known.status.closed.get((size_ms, verdict), 0)


def _verdicts(shown: ShownStream) -> Samples:
    for window, result in shown.newest():
        for verdict in Verdict:
            yield (window, verdict), verdict is result.verdict


def _segment_verdicts(shown: ShownStream) -> Samples:
    for labels, segment in shown.segments():
        for verdict in Verdict:
            yield (*labels, verdict), verdict is segment.verdict


def _missing(shown: ShownStream) -> Samples:
    for window, result in shown.newest():
        for topic, partition in result.missing:
            yield (window, topic, str(partition)), 1


_ALL = (
    Metric(
        "driftgauge_events_total",
        ("stream", "outcome"),
        "events",
        "Records read from the events topics, by what became of them: accepted, or the reason of the"
        " rejection; each counts once, when it is committed. A late event is accepted here. The stream is"
        " empty where the record names no configured one; those series begin at 0. Those of a stream begin"
        " with the replica's first record of that outcome: rate() misses what was committed with it, and"
        " what a replica never met costs no series.",
    ),
    of_size(
        "driftgauge_late_events_total",
        "events",
        "Events that came when the window of this size that they belong to was past correction; such an"
        " event may still have counted in a larger window. Kept in the shard's state.",
        lambda shown, size_ms: shown.known.status.late.get(size_ms, 0),
    ),
    Metric(
        "driftgauge_windows_closed_total",
        (*_WINDOW, "verdict"),
        "windows",
        "Windows closed, by verdict: ok, warning, drift, insufficient, incomplete. One whose verdict is"
        " another after a revision counts under that as well. Kept in the shard's state.",
        _closed,
    ),
    of_size(
        "driftgauge_window_revisions_total",
        "revisions",
        "Closed windows published again, because late events or a partition that was behind changed what"
        " is said of them. Kept in the shard's state.",
        lambda shown, size_ms: shown.known.status.revised.get(size_ms, 0),
    ),
    of_score(
        "driftgauge_window_js_divergence",
        "none, 0 to 1",
        "Jensen-Shannon divergence, base 2, of the newest closed window from the baseline. The divergence,"
        " not its square root.",
        lambda score: score.js_divergence,
    ),
    of_score(
        "driftgauge_window_js_distance",
        "none, 0 to 1",
        "Jensen-Shannon distance, the square root of driftgauge_window_js_divergence.",
        lambda score: score.js_distance,
    ),
    of_score(
        "driftgauge_window_noise_floor",
        "none, 0 to 1",
        "The Jensen-Shannon divergence to expect at the newest closed window's count without any drift.",
        lambda score: score.noise_floor,
    ),
    of_score(
        "driftgauge_window_js_excess",
        "none, -1 to 1",
        "driftgauge_window_js_divergence less driftgauge_window_noise_floor; below 0 where there is less"
        " than noise.",
        lambda score: score.js_excess,
    ),
    of_score(
        "driftgauge_window_js_p_value",
        "probability",
        "How often the divergence is as large without drift.",
        lambda score: score.js_p_value,
    ),
    of_score(
        "driftgauge_window_mean_shift_t2",
        "none, 0 or more",
        "Hotelling's T2 of the shift of the mean along the baseline's leading components.",
        lambda score: score.mean_shift.t2,
    ),
    of_score(
        "driftgauge_window_mean_shift_excess",
        "squared standard deviations",
        "The size of the shift of the mean, free of the count: its Mahalanobis length squared, less what"
        " is expected of it without drift.",
        lambda score: score.mean_shift.excess,
    ),
    of_score(
        "driftgauge_window_mean_shift_p_value",
        "probability",
        "How often T2 is as large without drift.",
        lambda score: score.mean_shift.p_value,
    ),
    of_score(
        "driftgauge_window_centroid_distance",
        "the vectors' own unit",
        "The length of the shift of the mean along the baseline's leading components.",
        lambda score: score.mean_shift.centroid_distance,
    ),
    of_score(
        "driftgauge_window_centroid_p_value",
        "probability",
        "How often that shift is as long without drift.",
        lambda score: score.mean_shift.centroid_p_value,
    ),
    of_score(
        "driftgauge_window_p_value",
        "probability",
        "How often, without drift, divergence, T2 and the length of the shift together are as extreme:"
        " what the verdict goes by.",
        lambda score: score.p_value,
    ),
    of_score(
        "driftgauge_window_calibrated",
        "1 or 0",
        "Whether the p-values know how related events are; at 0 it is guessed, or not known at all, and"
        " they may be too small where events come in bursts.",
        lambda score: score.calibrated,
    ),
    of_score(
        "driftgauge_window_novelty_ratio",
        "ratio, 0 to 1",
        "Share of the events further from their centroid than 99 % of the baseline's; about 0.01 without"
        " drift.",
        lambda score: score.novelty,
    ),
    Metric(
        "driftgauge_window_verdict",
        (*_WINDOW, "verdict"),
        "1 or 0",
        "What the newest closed window says: 1 for one of ok, warning, drift, insufficient (too few events"
        " to say that there is none), incomplete (partitions are missing); 0 for the others.",
        _verdicts,
    ),
    of_size(
        "driftgauge_alarm_active",
        "1 or 0",
        "Whether the last window that says anything (ok, warning or drift) says drift: a window that is"
        " incomplete or insufficient ends no alarm.",
        lambda shown, size_ms: size_ms in shown.known.status.alarms,
    ),
    of_newest(
        "driftgauge_window_slow_drift",
        "standard deviations",
        "Small evidence that has built up over the windows, a CUSUM. Absent where the newest closed window"
        " is incomplete or was not scored.",
        lambda result: result.slow_drift,
    ),
    of_newest(
        "driftgauge_window_slow_drift_limit",
        "standard deviations",
        "What driftgauge_window_slow_drift must reach to warn; without drift as rarely as a false page.",
        lambda result: result.slow_drift_limit,
    ),
    Metric(
        "driftgauge_window_cluster_signed_js_contribution",
        _CLUSTER,
        "none, -1 to 1",
        "Each cluster's part of driftgauge_window_js_divergence, which is the sum of their sizes; negative"
        " where its share is below the baseline's. Absent where the window was not scored.",
        lambda shown: _clusters(shown, _contributions),
    ),
    Metric(
        "driftgauge_window_cluster_ratio",
        _CLUSTER,
        "ratio, 0 to 1",
        "Share of the newest closed window's events in each cluster.",
        lambda shown: _clusters(shown, lambda result: _ratios(result.counts)),
    ),
    of_segment(
        "driftgauge_window_segment_events",
        "events",
        "Events of the newest closed window in each segment.",
        lambda segment: segment.count,
    ),
    of_segment(
        "driftgauge_window_segment_js_divergence",
        "none, 0 to 1",
        "Jensen-Shannon divergence, base 2, of the segment's events from the baseline's of the same"
        " segment. Absent where the segment was not scored.",
        lambda segment: segment.js_divergence,
    ),
    of_segment(
        "driftgauge_window_segment_adjusted_p_value",
        "probability",
        "As driftgauge_window_p_value, of the segment, adjusted for the number of segments"
        " (Benjamini-Hochberg). Absent where the segment was not scored.",
        lambda segment: segment.adjusted_p_value,
    ),
    Metric(
        "driftgauge_window_segment_verdict",
        (*_WINDOW, "segment", "value", "verdict"),
        "1 or 0",
        "As driftgauge_window_verdict, of each segment.",
        _segment_verdicts,
    ),
    of_newest(
        "driftgauge_window_events",
        "events",
        "Events of the newest closed window.",
        lambda result: result.count,
    ),
    of_newest(
        "driftgauge_window_revision",
        "revisions",
        "Revision of the newest closed window: 0 at first, one more for each correction.",
        lambda result: result.revision,
    ),
    of_newest(
        "driftgauge_window_complete",
        "1 or 0",
        "Whether the newest closed window is judged in full; at 0 a partition that the stream waits for"
        " had not passed its end when it was published, or its counts are in doubt.",
        lambda result: result.incomplete_reason is None,
    ),
    Metric(
        "driftgauge_window_missing_partition",
        (*_WINDOW, "topic", "partition"),
        "none, always 1",
        "A partition that had not passed the end of the newest closed window when it was published, or"
        " that the stream had given up waiting for.",
        _missing,
    ),
    of_newest(
        "driftgauge_window_events_lost",
        "1 or 0",
        "Whether events of the newest closed window may have been lost: to the retention of the events"
        " topic, or to a gap in the partials.",
        lambda result: result.events_lost,
    ),
    of_newest(
        "driftgauge_window_counted_twice",
        "1 or 0",
        "Whether events of the newest closed window may have been counted twice, because partials overlap.",
        lambda result: result.counted_twice,
    ),
    of_newest(
        "driftgauge_window_end_timestamp_seconds",
        "seconds since the epoch, event time",
        "The time at which the newest closed window ends. It advances for windows that were not scored, too.",
        lambda result: result.window.end_ms / 1000,
    ),
    of_newest(
        "driftgauge_window_closed_timestamp_seconds",
        "seconds since the epoch, wall time",
        "The time at which the newest closed window was closed or last corrected.",
        lambda result: result.published_ms / 1000,
    ),
    of_size(
        "driftgauge_window_duration_seconds",
        "seconds",
        "Configured length of the windows.",
        lambda _, size_ms: size_ms / 1000,
    ),
    of_size(
        "driftgauge_window_min_events",
        "events",
        "Configured number of events below which a window is not scored.",
        lambda shown, _: shown.watched.spec.min_events,
    ),
    of_size(
        "driftgauge_window_overdue_seconds",
        "seconds",
        "Time since driftgauge_window_closed_timestamp_seconds after which a window is overdue: as is"
        " configured, else two windows and all that the configuration lets one wait.",
        lambda shown, size_ms: shown.watched.overdue_after(size_ms) / 1000,
    ),
    of_stream(
        "driftgauge_alarm_p_value",
        "probability",
        "A window is significant where driftgauge_window_p_value is below this, its part of the budget.",
        lambda shown: shown.watched.spec.alarm.whole_level,
    ),
    of_stream(
        "driftgauge_alarm_js_excess",
        "none, 0 to 1",
        "A window is large where driftgauge_window_js_excess reaches this, or"
        " driftgauge_window_mean_shift_excess reaches driftgauge_alarm_mean_shift_excess.",
        lambda shown: shown.watched.spec.alarm.js_excess_floor,
    ),
    of_stream(
        "driftgauge_alarm_mean_shift_excess",
        "squared standard deviations",
        "As driftgauge_alarm_js_excess, for the shift of the mean.",
        lambda shown: shown.watched.spec.alarm.mean_shift_excess_floor,
    ),
    Metric(
        "driftgauge_alarm_severity_info",
        ("stream", "severity"),
        "none, always 1",
        "How urgent drift of this stream is by the configuration: critical, warning or info. As all that"
        " is said of a stream, but for driftgauge_events_total, shown by the replica that owns its shard.",
        lambda shown: (((shown.watched.drift_severity,), 1),),
    ),
    of_size(
        "driftgauge_windows_open",
        "windows",
        "Windows that hold events and are still open to events or corrections.",
        lambda shown, size_ms: shown.known.open_windows.get(size_ms, 0),
    ),
    of_stream(
        "driftgauge_watermark_timestamp_seconds",
        "seconds since the epoch, event time",
        "The time up to which the stream is taken to be complete. Absent while unknown.",
        _watermark_s,
    ),
    Metric(
        "driftgauge_baseline_info",
        ("stream", "baseline", "model_version"),
        "none, always 1",
        "The baseline in force and the model version it was fitted on (empty where it names none).",
        lambda shown: (((shown.baseline.reference.baseline_id, shown.baseline.model_version or ""), 1),),
    ),
    of_stream(
        "driftgauge_baseline_created_timestamp_seconds",
        "seconds since the epoch, wall time",
        "The time at which the baseline in force was fitted.",
        lambda shown: shown.baseline.created_ms / 1000,
    ),
    Metric(
        "driftgauge_baseline_cluster_ratio",
        ("stream", "cluster_id"),
        "ratio, 0 to 1",
        "Share of the baseline's vectors in each cluster.",
        _baseline_ratios,
    ),
    Metric(
        "driftgauge_batch_duration_seconds",
        ("stage",),
        "seconds",
        "Time spent in each stage: counting has decode, count and commit; windows have apply, close and"
        " write.",
        buckets=_DURATION_BUCKETS,
    ),
    Metric(
        "driftgauge_ready",
        ("condition",),
        "1 or 0",
        "Whether each condition of readiness holds: baselines_loaded; count and windows (the role's Kafka"
        " clients work: it has joined its group, and has not lost them since); clock (it differs from the"
        " brokers' by no more than 2 s). A role that is not served is absent. The readiness probe asks for"
        " all of them.",
    ),
    Metric(
        "driftgauge_clock_offset_seconds",
        _ROLE,
        "seconds",
        "This replica's clock less the brokers', by delivery reports of the internal topics; beyond 2 s"
        " either way counting stops. Absent before the first report.",
    ),
    Metric(
        "driftgauge_topic_partitions",
        ("topic",),
        "partitions",
        "Partitions of an events topic, or shards of the partials topic; all replicas together must hold"
        " each of them. Absent until known.",
    ),
    Metric(
        "driftgauge_consumer_lag_messages",
        _PARTITION,
        "messages",
        "Records of an assigned partition or shard that are not read yet.",
    ),
    Metric(
        "driftgauge_consumer_position_offset",
        _PARTITION,
        "offset",
        "Offset of the next record to read from an assigned partition or shard.",
    ),
    Metric(
        "driftgauge_consumer_assigned_partitions",
        ("topic",),
        "partitions",
        "Partitions of the events topic, or shards of the partials topic, that this replica holds.",
    ),
    Metric(
        "driftgauge_consumer_stopped_partitions",
        ("topic",),
        "partitions",
        "Partitions or shards that are assigned and stand still, because state, committed offset and log"
        " do not fit together; the log says why.",
    ),
    Metric(
        "driftgauge_stable_offset_stalled_seconds",
        _PARTITION,
        "seconds",
        "How long a partition's stable offset has stood still below its high watermark: a transaction"
        " there does not end. Absent where the offset moves.",
    ),
    Metric(
        "driftgauge_unwritable_partitions",
        ("topic",),
        "partitions",
        "Partitions of an internal or output topic that this replica cannot write to: its last transaction"
        " failed there, or left the shards concerned out. Absent where there are none.",
    ),
    Metric(
        "driftgauge_records_lost_total",
        ("topic",),
        "records",
        "Records that the topic no longer kept when they were to be read.",
    ),
    Metric(
        "driftgauge_partials_gap_total",
        _SHARD,
        "commits",
        "Commits of partials that began beyond the offset up to which the shard had counted: events"
        " between the two are missing. Kept in the shard's state.",
        of_shard=lambda position: position.gaps,
    ),
    Metric(
        "driftgauge_partials_overlap_total",
        _SHARD,
        "commits",
        "Commits of partials that began before the offset up to which the shard had counted: events"
        " between the two count twice. Kept in the shard's state.",
        of_shard=lambda position: position.overlaps,
    ),
    Metric(
        "driftgauge_partials_orphans_total",
        _SHARD,
        "records",
        "Partials that were dropped because their commit never became whole. Kept in the shard's state.",
        of_shard=lambda position: position.orphans,
    ),
    Metric(
        "driftgauge_consumer_rebalances_total",
        ("role", "kind"),
        "rebalances",
        "Changes of a role's assignment: assigned, revoked, lost (taken away without notice).",
    ),
    Metric(
        "driftgauge_restore_duration_seconds",
        _ROLE,
        "seconds",
        "Time from an assignment until the role works on what it was given.",
        buckets=_RESTORE_BUCKETS,
    ),
    Metric(
        "driftgauge_commits_total",
        ("role", "outcome"),
        "commits",
        "Transactions of a role: ok, or aborted, of which nothing stands and which are made again.",
    ),
    Metric(
        "driftgauge_sessions_lost_total",
        _ROLE,
        "sessions",
        "Times that a role's Kafka clients were replaced, after an outage or because they had been fenced.",
    ),
    Metric(
        "driftgauge_last_poll_timestamp_seconds",
        _ROLE,
        "seconds since the epoch, wall time",
        "The time of the role's last poll; 0 before the first.",
    ),
    Metric(
        "driftgauge_log_messages_total",
        ("level",),
        "messages",
        "Messages logged: debug, info, warning, error, critical.",
    ),
    Metric("driftgauge_build_info", ("version",), "none, always 1", "The version that runs."),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}


def render_table() -> str:
    """Return the metrics as a markdown table."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.unit} | {metric.help} |"
        for metric in METRICS.values()
    ]
    return "\n".join(["| metric | type | labels | unit | meaning |", "|---|---|---|---|---|", *rows])


def replace_table(text: str) -> str:
    """Return a README's text with the table between its markers written again.

    Raises:
        InputError: The text has not exactly one of each marker, begin before end.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end) or _BEGIN in rest or _END in before + after:
        message = (
            f"the README must hold one {_BEGIN} and, after it, one {_END}; put both where the table goes"
        )
        raise InputError(message)
    return f"{before}{_BEGIN}\n{render_table()}\n{_END}{after}"


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 where the table is out of date.")
@click.argument("readme", type=click.Path(exists=True, dir_okay=False, path_type=Path), default="README.md")
def _main(readme: Path, *, check: bool) -> None:
    """Write the table of metrics into README (README.md here unless given)."""
    text = readme.read_text(encoding="utf-8")
    try:
        replaced = replace_table(text)
    except InputError as error:
        raise click.UsageError(str(error)) from error
    if check and replaced != text:
        click.echo(
            f"{readme}: the table of metrics is out of date; run python -m driftgauge.telemetry.catalogue",
            err=True,
        )
        sys.exit(1)
    if replaced != text:
        readme.write_text(replaced, encoding="utf-8")


if __name__ == "__main__":
    _main()
