"""Metrics of streams, of their newest closed windows and of shards, read from snapshots at a scrape."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.numbers import Number
from driftgauge.core.judging.number_judging import NumberResult
from driftgauge.core.judging.scoring import Score
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.novelty import NOVELTY, main_cluster
from driftgauge.core.statistics.number_change import PARTS
from driftgauge.core.windows.result import WindowResult
from driftgauge.statistic_words import list_kinds
from driftgauge.telemetry.metric import Samples, ScrapedMetric
from driftgauge.telemetry.snapshot import ShardSnapshot, StreamView

__all__ = ["SHARD_METRICS", "STREAM_METRICS"]

_STREAM = ("stream",)
_WINDOW = ("stream", "window")
_KIND = (*_WINDOW, "kind")
_CLUSTER = (*_WINDOW, "cluster_id", "name")
_SEGMENT = (*_WINDOW, "segment", "value")
_NUMBER = (*_WINDOW, "number")

_UNSCORED = " Absent if the window was not scored."
_NAMED = " `name` is that of the cluster in the window's baseline: its labels, or its terms."


def _of_size(value_of: Callable[[StreamView, int], float | None]) -> Callable[[StreamView], Samples]:
    """Return the samples of a value by stream and window size, ms."""
    return lambda view: (((window,), value_of(view, size_ms)) for window, size_ms in view.sizes())


def _of_window(value_of: Callable[[WindowResult], float | None]) -> Callable[[StreamView], Samples]:
    """Return the samples of a value of the newest closed window of each size."""
    return lambda view: (((window,), value_of(result)) for window, result in view.windows())


def _of_score(value_of: Callable[[Score], float]) -> Callable[[StreamView], Samples]:
    return _of_window(lambda result: None if result.score is None else value_of(result.score))


def _info(view: StreamView) -> Samples:
    labels, baseline = view.watched.labels, view.baseline
    described = view.watched.descriptions.get(baseline.baseline_id)
    of_baseline = baseline.baseline_id, (described and described.model_version) or ""
    yield (labels.owner or "", labels.team or "", labels.severity, *of_baseline), 1


def _watermark_s(view: StreamView) -> Samples:
    watermark_ms = view.status.watermark_ms
    yield (), None if watermark_ms is None else watermark_ms / 1000


def _overdue_s(view: StreamView, size_ms: int) -> float | None:
    # A stream that matches may begin long after the replicas, and its first window is not overdue then.
    if view.watched.spec.is_shared and size_ms not in view.newest:
        return None
    return view.watched.overdue_ms(size_ms) / 1000


def _windows_closed(view: StreamView) -> Samples:
    for window, size_ms in view.sizes():
        for verdict in Verdict:
            yield (window, verdict), view.status.closed.get((size_ms, verdict), 0)


def _thresholds(view: StreamView) -> Samples:
    return (((each.kind,), view.watched.spec.alarm.floor(each.name)) for each in registry.STATISTICS)


def _verdicts(view: StreamView) -> Samples:
    for window, result in view.windows():
        for verdict in Verdict:
            yield (window, verdict), verdict is result.verdict


def _segment_verdicts(view: StreamView) -> Samples:
    for window, result in view.windows():
        for segment in result.segments:
            for verdict in Verdict:
                yield (window, *segment.segment, verdict), verdict is segment.verdict


def _excesses(view: StreamView) -> Samples:
    for window, result in view.windows():
        for each in registry.STATISTICS:
            if result.score is not None and each.name in result.score.findings:
                yield (window, each.kind), result.score.findings.of(each).excess


def _evidence(view: StreamView) -> Samples:
    for window, result in view.windows():
        if result.score is not None and result.score.kind is not None:
            for kind, share in result.score.evidence.items():
                yield (window, kind), share


def _detectable_ratios(view: StreamView) -> Samples:
    """Yield the least detectable size of each kind over the smallest worth finding."""
    smallest = view.watched.spec.alarm.smallest
    for window, result in view.windows():
        unscored = dict.fromkeys((each.name for each in registry.STATISTICS), math.inf)
        found = unscored if result.score is None else result.score.detectable
        for each in registry.STATISTICS:
            if each.name in found:
                yield (window, each.kind), found[each.name] / smallest[each.name]


def _measured_until(result: WindowResult) -> float | None:
    return None if result.measuring is None else result.measuring.until_ms / 1000


def _slow_drift_ratio(result: WindowResult) -> float | None:
    return None if result.slow_drift is None else result.slow_drift / result.slow_drift_limit


def _missing_partitions(view: StreamView) -> Samples:
    for window, result in view.windows():
        for topic, partition in result.missing:
            yield (window, topic, str(partition)), 1


def _by_cluster(view: StreamView, values_of: Callable[[WindowResult], Mapping[int, float]]) -> Samples:
    """Yield the values of a window's clusters, each with the cluster's name, empty if it has none."""
    for window, result in view.windows():
        described = view.watched.descriptions.get(result.baseline_id)
        for cluster, value in values_of(result).items():
            yield (window, str(cluster), (described and described.names[cluster]) or ""), value


def _shares(counts: NDArray[np.int64]) -> Mapping[int, float]:
    return dict(enumerate((counts / max(counts.sum(), 1)).tolist()))


def _signed_contributions(result: WindowResult) -> Mapping[int, float]:
    signed = result.signed_contributions
    return {} if signed is None else dict(enumerate(signed.tolist()))


def _main_novelty(result: WindowResult) -> Mapping[int, float]:
    """Return the contribution of the cluster with most of the novelty, if novelty names the drift."""
    if result.score is None or result.score.kind != NOVELTY.kind:
        return {}
    contributions = result.score.findings.of(NOVELTY).contributions
    main = main_cluster(contributions)
    return {} if main is None else {main: float(contributions[main])}


def _contributions(view: StreamView) -> Samples:
    for kind, values_of in ((DIVERGENCE.kind, _signed_contributions), (NOVELTY.kind, _main_novelty)):
        for labels, value in _by_cluster(view, values_of):
            yield (*labels, kind), value


def _numbers(view: StreamView) -> Iterator[tuple[tuple[str, str], Number, NumberResult]]:
    """Yield the configured numbers of the newest closed window of each size that has them, with labels."""
    for window, result in view.windows():
        for number in view.watched.spec.numbers:
            if (found := result.numbers.get(number.name)) is not None:
                yield (window, number.name), number, found


def _of_number(value_of: Callable[[NumberResult], float | None]) -> Callable[[StreamView], Samples]:
    return lambda view: ((labels, value_of(found)) for labels, _, found in _numbers(view))


def _number_change(view: StreamView) -> Samples:
    for labels, _, found in _numbers(view):
        for part in ("total", *PARTS) if found.change else ():
            yield (*labels, part), getattr(found.change, part).value


def _number_events(view: StreamView) -> Samples:
    for labels, _, found in _numbers(view):
        for kind, value in (("value", found.count), ("missing", found.missing), ("clipped", found.clipped)):
            yield (*labels, kind), value


def _number_alarms(view: StreamView) -> Samples:
    # Of a number as it is configured now: no window may have followed since its limits changed.
    return ((labels, found.after.of(number).fires) for labels, number, found in _numbers(view))


STREAM_METRICS: tuple[ScrapedMetric[StreamView], ...] = (
    ScrapedMetric(
        "driftgauge_stream_info",
        (*_STREAM, "owner", "team", "severity", "baseline", "model_version"),
        "none, always 1",
        "The stream's owner and team (empty if not configured), the severity of its drift (critical,"
        " warning or info), the baseline in force, and the model version of its vectors (empty if the"
        " baseline names none). Only the replica that holds the stream's shard exports a stream's metrics;"
        " driftgauge_events_total is the exception.",
        _info,
    ),
    ScrapedMetric(
        "driftgauge_late_events_total",
        _WINDOW,
        "events",
        "Events that arrived after their window of this size could no longer be corrected. A larger window"
        " may still have counted the event. Kept in the shard's state.",
        _of_size(lambda view, size_ms: view.status.late.get(size_ms, 0)),
    ),
    ScrapedMetric(
        "driftgauge_applied_events_total",
        _STREAM,
        "events",
        "All accepted events of the stream that its shard has applied, the late ones among them: what"
        " driftgauge_late_events_total is a part of. Kept in the shard's state.",
        lambda view: (((), view.status.applied),),
    ),
    ScrapedMetric(
        "driftgauge_windows_closed_total",
        (*_WINDOW, "verdict"),
        "windows",
        f"Windows closed, by verdict: {', '.join(Verdict)}. A window whose verdict changes in a revision"
        " counts under both. Kept in the shard's state.",
        _windows_closed,
    ),
    ScrapedMetric(
        "driftgauge_alarm_active",
        _WINDOW,
        "1 or 0",
        "1 if the last conclusive window (ok, warning, misfit or drift) says drift, also after a revision."
        " Incomplete and insufficient windows end no alarm.",
        _of_size(lambda view, size_ms: view.has_alarm(size_ms)),
    ),
    ScrapedMetric(
        "driftgauge_drifts_passed_total",
        _WINDOW,
        "drifts",
        "Drifts that have passed: alarms that ended, and windows that came to say drift when a later window"
        " said otherwise. With driftgauge_alarm_active added, the number of drifts that have begun. Kept in"
        " the shard's state.",
        _of_size(lambda view, size_ms: view.status.drifts_passed.get(size_ms, 0)),
    ),
    ScrapedMetric(
        "driftgauge_watermark_timestamp_seconds",
        _STREAM,
        "seconds since the epoch, event time",
        "Watermark of the stream: the event time up to which the stream is considered complete. Absent while"
        " unknown.",
        _watermark_s,
    ),
    ScrapedMetric(
        "driftgauge_p_value_threshold",
        _STREAM,
        "probability",
        "A window is significant if driftgauge_window_p_value is below this level, the window's share of"
        " the alarm budget.",
        lambda view: (((), view.watched.spec.alarm.overall_level),),
    ),
    ScrapedMetric(
        "driftgauge_excess_threshold",
        (*_STREAM, "kind"),
        "the kind's own",
        "A window is large if driftgauge_window_excess of any kind reaches this floor by more than noise.",
        _thresholds,
    ),
    ScrapedMetric(
        "driftgauge_window_overdue_threshold_seconds",
        _WINDOW,
        "seconds",
        "Time since driftgauge_window_closed_timestamp_seconds after which a window is overdue."
        " overdue_after sets it; the default is two windows plus the configured waiting times. Absent before"
        " the first closed window of a stream without an entry of its own.",
        _of_size(_overdue_s),
    ),
    ScrapedMetric(
        "driftgauge_window_verdict",
        (*_WINDOW, "verdict"),
        "1 or 0",
        f"1 for the verdict of the newest closed window, 0 for the others: {', '.join(Verdict)}.",
        _verdicts,
    ),
    ScrapedMetric(
        "driftgauge_window_events",
        _WINDOW,
        "events",
        "Events of the newest closed window.",
        _of_window(lambda result: result.count),
    ),
    ScrapedMetric(
        "driftgauge_window_end_timestamp_seconds",
        _WINDOW,
        "seconds since the epoch, event time",
        "End of the newest closed window. Windows that were not scored advance this time, too.",
        _of_window(lambda result: result.window.end_ms / 1000),
    ),
    ScrapedMetric(
        "driftgauge_window_closed_timestamp_seconds",
        _WINDOW,
        "seconds since the epoch, wall time",
        "Time at which the newest closed window was closed or last corrected.",
        _of_window(lambda result: result.published_ms / 1000),
    ),
    ScrapedMetric(
        "driftgauge_window_missing_partition",
        (*_WINDOW, "topic", "partition"),
        "none, always 1",
        "A partition that had not passed the end of the newest closed window when the window was published,"
        " or for which the stream no longer waits.",
        _missing_partitions,
    ),
    ScrapedMetric(
        "driftgauge_window_js_divergence",
        _WINDOW,
        "none, 0 to 1",
        "Jensen-Shannon divergence, base 2, between the newest closed window and the baseline. The"
        " divergence, not its square root." + _UNSCORED,
        _of_score(lambda score: score.divergence.js_divergence),
    ),
    ScrapedMetric(
        "driftgauge_window_noise_floor",
        _WINDOW,
        "none, 0 to 1",
        "Expected Jensen-Shannon divergence of a window with this event count and no drift." + _UNSCORED,
        _of_score(lambda score: score.divergence.noise_floor),
    ),
    ScrapedMetric(
        "driftgauge_window_p_value",
        _WINDOW,
        "probability",
        "Combined p-value of all statistics. The verdict uses this value." + _UNSCORED,
        _of_score(lambda score: score.p_value),
    ),
    ScrapedMetric(
        "driftgauge_window_excess",
        _KIND,
        "the kind's own",
        "Size of each kind of drift above its expectation without drift, which the verdict compares with"
        f" driftgauge_excess_threshold. Kinds: {list_kinds()}." + _UNSCORED,
        _excesses,
    ),
    ScrapedMetric(
        "driftgauge_window_evidence_ratio",
        _KIND,
        "ratio, 0 to 1",
        "Share of each kind of drift in the evidence of the newest closed window, and in a run of drift of"
        " those before it; the largest names its drift. Absent if the window is not significant.",
        _evidence,
    ),
    ScrapedMetric(
        "driftgauge_window_measured_until_timestamp_seconds",
        _WINDOW,
        "seconds since the epoch, event time",
        "When the measurement of how much clean windows vary ends at the earliest. Until then the verdict is"
        " provisional, and only gross drift is drift. Absent if none goes on.",
        _of_window(_measured_until),
    ),
    ScrapedMetric(
        "driftgauge_window_detectable_ratio",
        _KIND,
        "ratio, 0 or more",
        "The least drift that four of five windows with this event count find, and no less than may hide in a"
        " warm-up, over the configured smallest_drift. Above 1 drift worth finding may go unseen; +Inf if"
        " the window was not scored. Absent for a kind that the baseline does not let be tested.",
        _detectable_ratios,
    ),
    ScrapedMetric(
        "driftgauge_window_slow_drift_ratio",
        _WINDOW,
        "ratio, 0 or more",
        "CUSUM of the evidence of the stream's windows over its limit: from 1 the verdict is warning, or"
        " drift if it lasts. Without drift it gets there as rarely as a false page comes. Absent if the"
        " newest closed window is not judged, or was not scored.",
        _of_window(_slow_drift_ratio),
    ),
    ScrapedMetric(
        "driftgauge_window_cluster_ratio",
        _CLUSTER,
        "ratio, 0 to 1",
        "Share of the newest closed window's events in each cluster." + _NAMED,
        lambda view: _by_cluster(view, lambda result: _shares(result.counts)),
    ),
    ScrapedMetric(
        "driftgauge_baseline_cluster_ratio",
        _CLUSTER,
        "ratio, 0 to 1",
        "Share of the vectors in each cluster, in the baseline of the newest closed window. After a change of"
        " baseline, that is the former one until a window of the new one closes." + _NAMED,
        lambda view: _by_cluster(view, lambda result: _shares(result.baseline_counts)),
    ),
    ScrapedMetric(
        "driftgauge_window_cluster_contribution",
        (*_CLUSTER, "kind"),
        "none, -1 to 1",
        "Contribution of each cluster to a kind of drift. mix: to driftgauge_window_js_divergence, which is"
        " the sum of the absolute values; negative if the cluster's share is below the baseline's."
        " novelty: the part of the novelty in the cluster that holds most of it; absent if no cluster"
        " does, or the drift is of another kind." + _NAMED + _UNSCORED,
        _contributions,
    ),
    ScrapedMetric(
        "driftgauge_window_segment_verdict",
        (*_SEGMENT, "verdict"),
        "1 or 0",
        "1 for the verdict of the segment in the newest closed window, 0 for the others.",
        _segment_verdicts,
    ),
    ScrapedMetric(
        "driftgauge_number_mean",
        _NUMBER,
        "the number's own",
        "Mean of a number beside the embedding in the newest closed window; absent without a value.",
        _of_number(lambda number: None if number.mean is None else number.mean.value),
    ),
    ScrapedMetric(
        "driftgauge_number_mean_error",
        _NUMBER,
        "the number's own",
        "Standard error of driftgauge_number_mean, from how much the means of windows vary.",
        _of_number(lambda number: None if number.mean is None else number.mean.error),
    ),
    ScrapedMetric(
        "driftgauge_baseline_number_mean",
        _NUMBER,
        "the number's own",
        "Mean of the number in the baseline of the newest closed window; absent if that does not know it.",
        _of_number(lambda number: number.baseline_mean),
    ),
    ScrapedMetric(
        "driftgauge_number_change",
        (*_NUMBER, "part"),
        "the number's own",
        "Change of a number's mean against the baseline in the newest closed window. total is the sum of mix"
        " (other shares of the clusters), within (other means within clusters) and unshared (clusters that"
        " only one side has). Absent if the baseline does not know the number.",
        _number_change,
    ),
    ScrapedMetric(
        "driftgauge_number_events",
        (*_NUMBER, "kind"),
        "events",
        "Events of the newest closed window by what they have of a number: value, missing, or clipped: the"
        " values outside the range, which count as its nearer end.",
        _number_events,
    ),
    ScrapedMetric(
        "driftgauge_number_alarm_active",
        _NUMBER,
        "1 or 0",
        "1 if two of the last three windows exceed alert_below or alert_change of a number. A window that"
        " says nothing of it leaves this as it was: one that is incomplete, partial for the number, or has"
        " too few values.",
        _number_alarms,
    ),
)


def _entry_streams(shard: ShardSnapshot) -> Samples:
    for match, entry in shard.entries.items():
        yield (match, "admitted"), entry.admitted
        yield (match, "allowed"), entry.most


SHARD_METRICS: tuple[ScrapedMetric[ShardSnapshot], ...] = (
    ScrapedMetric(
        "driftgauge_shard_panes",
        ("shard",),
        "panes",
        "Panes that a shard keeps in memory: those of open windows, and those of windows that wait to be"
        " closed or deleted. `driftgauge config check` prints the memory of each.",
        lambda shard: (((), shard.panes),),
    ),
    ScrapedMetric(
        "driftgauge_partials_faults_total",
        ("shard", "reason"),
        "faults",
        "Faults in the chain of partials. gap: a commit started after the offset up to which the shard had"
        " counted, so the records in between are missing. overlap: a commit started before it, so they count"
        " twice. orphans: a part of a commit was dropped, because the rest never came. Kept in the shard's"
        " state.",
        lambda shard: (
            (("gap",), shard.position.gaps),
            (("overlap",), shard.position.overlaps),
            (("orphans",), shard.position.orphans),
        ),
    ),
    ScrapedMetric(
        "driftgauge_match_streams",
        ("shard", "match", "state"),
        "streams",
        "Streams of an entry with a pattern. admitted: by this shard; seven days without an event retire a"
        " stream. allowed: `most` of the entry, which bounds each shard. All shards together should not have"
        " admitted more, for the alarm budget is shared by so many.",
        _entry_streams,
    ),
    ScrapedMetric(
        "driftgauge_surplus_events_total",
        ("shard", "match"),
        "events",
        "Accepted events that are in no window, because the shard had admitted `most` other streams of the"
        " entry. Kept in the shard's state.",
        lambda shard: (((match,), entry.surplus) for match, entry in shard.entries.items()),
    ),
)
