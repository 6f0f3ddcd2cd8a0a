"""Metrics of the newest closed window: its score, verdict, clusters, segments, state."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.statistics import registry
from driftgauge.core.statistics.novelty import NOVELTY, main_cluster
from driftgauge.core.windows.result import Verdict, WindowResult
from driftgauge.telemetry.metric import Metric, Samples, newest_window_metric, segment_metric
from driftgauge.telemetry.score_metrics import SCORE_METRICS
from driftgauge.telemetry.snapshot import StreamView

__all__ = ["WINDOW_METRICS"]

_WINDOW = ("stream", "window")
_CLUSTER = (*_WINDOW, "cluster_id")


def _signed_contributions(result: WindowResult) -> Sequence[float]:
    signed = result.signed_contributions
    return () if signed is None else signed.tolist()


def _ratios(counts: NDArray[np.int64]) -> Sequence[float]:
    ratios: list[float] = (counts / counts.sum()).tolist()
    return ratios


def _clusters(view: StreamView, values_of: Callable[[WindowResult], Sequence[float]]) -> Samples:
    for window, result in view.newest():
        for cluster, value in enumerate(values_of(result)):
            yield (window, str(cluster)), value


def _cluster_names(view: StreamView) -> Samples:
    for window, result in view.newest():
        for cluster, name in enumerate(view.watched.names_of(result.baseline_id)):
            if name is not None:
                yield (window, str(cluster), name), 1


def _verdicts(view: StreamView) -> Samples:
    for window, result in view.newest():
        for verdict in Verdict:
            yield (window, verdict), verdict is result.verdict


def _segment_verdicts(view: StreamView) -> Samples:
    for labels, segment in view.segments():
        for verdict in Verdict:
            yield (*labels, verdict), verdict is segment.verdict


def _detectable_ratios(view: StreamView) -> Samples:
    """Yield the least detectable size of each kind over the smallest worth finding."""
    smallest = view.watched.spec.alarm.smallest
    for window, result in view.newest():
        found = {} if result.score is None else result.score.detectable
        for each in registry.STATISTICS:
            yield (window, each.kind.name), found.get(each.name, math.inf) / smallest[each.name]


def _evidence(view: StreamView) -> Samples:
    for window, result in view.newest():
        if result.score is not None and result.score.kind is not None:
            for kind, share in result.score.evidence.items():
                yield (window, kind), share


def _novel_cluster(view: StreamView) -> Samples:
    for window, result in view.newest():
        if result.score is not None and result.score.kind == NOVELTY.kind.name:
            contributions = result.score.findings.of(NOVELTY).contributions
            if (cluster := main_cluster(contributions)) is not None:
                yield (window, str(cluster)), float(contributions[cluster])


def _missing_partitions(view: StreamView) -> Samples:
    for window, result in view.newest():
        for topic, partition in result.missing:
            yield (window, topic, str(partition)), 1


_VERDICT_METRICS = (
    Metric(
        "driftgauge_window_detectable_ratio",
        (*_WINDOW, "kind"),
        "ratio, 0 or more",
        "The least drift that four of five windows with this event count find, over the configured"
        f" smallest_drift. Kinds: {registry.list_kinds()}. Above 1 drift worth finding may go unseen; +Inf"
        " where the window was not scored, or the kind is not tested.",
        _detectable_ratios,
    ),
    Metric(
        "driftgauge_window_evidence_ratio",
        (*_WINDOW, "kind"),
        "ratio, 0 to 1",
        "Share of each kind of drift in the evidence of the newest closed window; the largest names its"
        f" drift. Kinds: {registry.list_kinds()}. Absent where the window is not significant.",
        _evidence,
    ),
    Metric(
        "driftgauge_window_verdict",
        (*_WINDOW, "verdict"),
        "1 or 0",
        "1 for the verdict of the newest closed window, 0 for the others. Verdicts: ok, warning, drift,"
        " insufficient (too few events to be scored), incomplete (partitions are missing, or the counts"
        " are in doubt), misfit (the warm-up differs from the baseline).",
        _verdicts,
    ),
    newest_window_metric(
        "driftgauge_window_slow_drift",
        "standard deviations",
        "CUSUM of the evidence of the stream's windows. Absent where the newest closed window is incomplete"
        " or was not scored.",
        lambda result: result.slow_drift,
    ),
    newest_window_metric(
        "driftgauge_window_slow_drift_limit",
        "standard deviations",
        "Value of driftgauge_window_slow_drift from which the verdict is warning. Without drift the"
        " statistic reaches this limit as rarely as a false page comes.",
        lambda result: result.slow_drift_limit,
    ),
)

_CLUSTER_METRICS = (
    Metric(
        "driftgauge_window_cluster_signed_js_contribution",
        _CLUSTER,
        "none, -1 to 1",
        "Contribution of each cluster to driftgauge_window_js_divergence, which is the sum of the absolute"
        " values. Negative where the cluster's share is below the baseline's. Absent where the window was"
        " not scored.",
        lambda view: _clusters(view, _signed_contributions),
    ),
    Metric(
        "driftgauge_window_cluster_novelty_contribution",
        _CLUSTER,
        "none, 0 to 1",
        "Part of driftgauge_window_novelty_excess_ratio in the cluster that holds most of it. Absent where no"
        " cluster does, or the drift is of another kind.",
        _novel_cluster,
    ),
    Metric(
        "driftgauge_window_cluster_ratio",
        _CLUSTER,
        "ratio, 0 to 1",
        "Share of the newest closed window's events in each cluster.",
        lambda view: _clusters(view, lambda result: _ratios(result.counts)),
    ),
    Metric(
        "driftgauge_baseline_cluster_ratio",
        _CLUSTER,
        "ratio, 0 to 1",
        "Share of the vectors in each cluster, in the baseline of the newest closed window. After a change of"
        " baseline, that is the former one until a window of the new one closes.",
        lambda view: _clusters(view, lambda result: _ratios(result.baseline_counts)),
    ),
    Metric(
        "driftgauge_cluster_info",
        (*_CLUSTER, "name"),
        "none, always 1",
        "Name of each cluster in the baseline of the newest closed window: its labels, or its terms, as"
        " baseline fit found them. Join it to a metric with window and cluster_id. Absent where the cluster"
        " has no name.",
        _cluster_names,
    ),
)

_SEGMENT_METRICS = (
    segment_metric(
        "driftgauge_window_segment_events",
        "events",
        "Events of the newest closed window in each segment.",
        lambda segment: segment.count,
    ),
    segment_metric(
        "driftgauge_window_segment_js_divergence",
        "none, 0 to 1",
        "Jensen-Shannon divergence, base 2, between the segment's events and the same segment of the"
        " baseline. Absent where the segment was not scored.",
        lambda segment: segment.js_divergence,
    ),
    segment_metric(
        "driftgauge_window_segment_adjusted_p_value",
        "probability",
        "Combined p-value of the segment, adjusted for the number of segments (Benjamini-Hochberg). Absent"
        " where the segment was not scored.",
        lambda segment: segment.adjusted_p_value,
    ),
    Metric(
        "driftgauge_window_segment_verdict",
        (*_WINDOW, "segment", "value", "verdict"),
        "1 or 0",
        "1 for the verdict of the segment in the newest closed window, 0 for the others.",
        _segment_verdicts,
    ),
)

_STATE_METRICS = (
    newest_window_metric(
        "driftgauge_window_events",
        "events",
        "Events of the newest closed window.",
        lambda result: result.count,
    ),
    newest_window_metric(
        "driftgauge_window_revision",
        "revisions",
        "Revision of the newest closed window: 0 at first, one more for each correction.",
        lambda result: result.revision,
    ),
    newest_window_metric(
        "driftgauge_window_complete",
        "1 or 0",
        "1 where the newest closed window is judged in full. At 0 a partition had not passed the window's"
        " end when the window was published, or the counts are in doubt.",
        lambda result: result.incomplete_reason is None,
    ),
    Metric(
        "driftgauge_window_missing_partition",
        (*_WINDOW, "topic", "partition"),
        "none, always 1",
        "A partition that had not passed the end of the newest closed window when the window was published,"
        " or for which the stream no longer waits.",
        _missing_partitions,
    ),
    newest_window_metric(
        "driftgauge_window_events_lost",
        "1 or 0",
        "1 where events of the newest closed window may be lost: to the retention of the events topic, or to"
        " a gap in the partials.",
        lambda result: result.events_lost,
    ),
    newest_window_metric(
        "driftgauge_window_counted_twice",
        "1 or 0",
        "1 where events of the newest closed window may be counted twice, because partials overlap.",
        lambda result: result.counted_twice,
    ),
    newest_window_metric(
        "driftgauge_window_end_timestamp_seconds",
        "seconds since the epoch, event time",
        "End of the newest closed window. Windows that were not scored advance this time, too.",
        lambda result: result.window.end_ms / 1000,
    ),
    newest_window_metric(
        "driftgauge_window_closed_timestamp_seconds",
        "seconds since the epoch, wall time",
        "Time at which the newest closed window was closed or last corrected.",
        lambda result: result.published_ms / 1000,
    ),
)

WINDOW_METRICS = (*SCORE_METRICS, *_VERDICT_METRICS, *_CLUSTER_METRICS, *_SEGMENT_METRICS, *_STATE_METRICS)
