"""A closed window as the record that is published, and back."""

import numpy as np

from driftgauge.core.durations import format_duration, parse_duration
from driftgauge.core.mean_shift import MeanShift
from driftgauge.core.result import Recall, Score, SegmentResult, Verdict, WindowResult
from driftgauge.core.windows.window import Window
from driftgauge.events.contract import (
    ClusterRecord,
    ExampleRecord,
    MeanShiftRecord,
    PartitionRecord,
    SegmentRecord,
    SlowDriftRecord,
    WindowRecord,
)
from driftgauge.events.timestamps import format_timestamp, parse_timestamp

__all__ = ["from_record", "result_key", "result_record", "to_record"]


def result_key(result: WindowResult) -> bytes:
    """Return the record's key, the same for every revision of a window: "stream/1d/start"."""
    size = format_duration(result.window.size_ms)
    return f"{result.stream}/{size}/{format_timestamp(result.window.start_ms)}".encode()


def result_record(result: WindowResult) -> bytes:
    """Return the record's value, one line of JSON by the schema of window results, version 1."""
    return to_record(result).model_dump_json().encode()


def to_record(result: WindowResult) -> WindowRecord:
    """Return a result as its record."""
    score = result.score
    return WindowRecord(
        stream=result.stream,
        window=format_duration(result.window.size_ms),
        start=format_timestamp(result.window.start_ms),
        end=format_timestamp(result.window.end_ms),
        revision=result.revision,
        count=result.count,
        verdict=result.verdict.value,
        js_divergence=None if score is None else score.js_divergence,
        js_distance=None if score is None else score.js_distance,
        noise_floor=None if score is None else score.noise_floor,
        js_excess=None if score is None else score.js_excess,
        js_p_value=None if score is None else score.js_p_value,
        mean_shift=None if score is None else _shift_record(score.mean_shift),
        p_value=None if score is None else score.p_value,
        calibrated=None if score is None else score.calibrated,
        novelty=None if score is None else score.novelty,
        slow_drift=None
        if result.slow is None
        else SlowDriftRecord(statistic=result.slow, limit=result.slow_limit),
        baseline=result.baseline_id,
        incomplete=tuple(
            PartitionRecord(topic=topic, partition=partition) for topic, partition in result.missing
        ),
        incomplete_reason=result.incomplete_reason,
        events_lost=result.events_lost,
        counted_twice=result.counted_twice,
        clusters=_cluster_records(result),
        movers=() if score is None else score.movers,
        examples=tuple(
            ExampleRecord(cluster=cluster, event_ids=event_ids)
            for cluster, event_ids in result.examples.items()
        ),
        segments=tuple(_segment_record(segment) for segment in result.segments),
    )


def from_record(
    record: WindowRecord,
    *,
    baseline_counts: tuple[int, ...],
    published_ms: int,
    superseded: Verdict | None,
    slow_limit: float,
    recall: Recall | None,
) -> WindowResult:
    """Return the result of a record and of what the record does not say."""
    start_ms = parse_timestamp(record.start)
    return WindowResult(
        stream=record.stream,
        window=Window(parse_duration(record.window), start_ms),
        revision=record.revision,
        counts=np.array([cluster.count for cluster in record.clusters], dtype=np.int64),
        baseline_counts=np.array(baseline_counts, dtype=np.int64),
        baseline_id=record.baseline,
        missing=tuple((partition.topic, partition.partition) for partition in record.incomplete),
        events_lost=record.events_lost,
        published_ms=published_ms,
        score=_score(record),
        verdict=Verdict(record.verdict),
        superseded=superseded,
        slow=None if record.slow_drift is None else record.slow_drift.statistic,
        slow_limit=slow_limit,
        segments=tuple(_segment(segment) for segment in record.segments),
        examples={example.cluster: example.event_ids for example in record.examples},
        recall=recall,
        counted_twice=record.counted_twice,
        incomplete_reason=record.incomplete_reason,
    )


def _cluster_records(result: WindowResult) -> tuple[ClusterRecord, ...]:
    baseline_count = int(result.baseline_counts.sum())
    contributions = [None] * len(result.counts)
    if result.score is not None:
        contributions = result.score.contributions.tolist()
    return tuple(
        ClusterRecord(
            id=cluster,
            count=in_window,
            share=in_window / result.count,
            baseline_share=in_baseline / baseline_count,
            js_contribution=contribution,
        )
        for cluster, (in_window, in_baseline, contribution) in enumerate(
            zip(result.counts.tolist(), result.baseline_counts.tolist(), contributions, strict=True)
        )
    )


def _shift_record(shift: MeanShift) -> MeanShiftRecord:
    return MeanShiftRecord(
        t2=shift.t2,
        p_value=shift.p_value,
        excess=shift.excess,
        centroid_distance=shift.centroid_distance,
        centroid_p_value=shift.centroid_p_value,
        components=tuple(shift.shares.tolist()),
    )


def _segment_record(result: SegmentResult) -> SegmentRecord:
    key, value = result.segment
    return SegmentRecord(
        key=key,
        value=value,
        count=result.count,
        js_divergence=result.js_divergence,
        js_excess=result.js_excess,
        mean_shift_excess=result.mean_shift_excess,
        p_value=result.p_value,
        adjusted_p_value=result.adjusted_p_value,
        calibrated=result.calibrated,
        verdict=result.verdict.value,
    )


def _score(record: WindowRecord) -> Score | None:
    # All of them are there, or none; asked one by one for the type checker's sake.
    if (
        record.js_divergence is None
        or record.js_distance is None
        or record.noise_floor is None
        or record.js_excess is None
        or record.js_p_value is None
        or record.mean_shift is None
        or record.p_value is None
        or record.novelty is None
        or record.calibrated is None
    ):
        return None
    contributions = [
        0.0 if cluster.js_contribution is None else cluster.js_contribution for cluster in record.clusters
    ]
    shift = record.mean_shift
    return Score(
        js_divergence=record.js_divergence,
        js_distance=record.js_distance,
        contributions=np.array(contributions, dtype=np.float64),
        noise_floor=record.noise_floor,
        js_excess=record.js_excess,
        js_p_value=record.js_p_value,
        mean_shift=MeanShift(
            t2=shift.t2,
            p_value=shift.p_value,
            excess=shift.excess,
            centroid_distance=shift.centroid_distance,
            centroid_p_value=shift.centroid_p_value,
            shares=np.array(shift.components, dtype=np.float64),
        ),
        p_value=record.p_value,
        novelty=record.novelty,
        calibrated=record.calibrated,
    )


def _segment(record: SegmentRecord) -> SegmentResult:
    return SegmentResult(
        segment=(record.key, record.value),
        count=record.count,
        js_divergence=record.js_divergence,
        js_excess=record.js_excess,
        mean_shift_excess=record.mean_shift_excess,
        p_value=record.p_value,
        adjusted_p_value=record.adjusted_p_value,
        calibrated=record.calibrated,
        verdict=Verdict(record.verdict),
    )
