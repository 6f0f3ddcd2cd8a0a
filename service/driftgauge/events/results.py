"""Conversion of window results to their published records."""

import math
from collections.abc import Iterable
from typing import Any

from driftgauge.core.durations import format_duration
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.statistics.power import Detectable
from driftgauge.core.statistics.spread import Spread
from driftgauge.core.windows.evidence import Kind
from driftgauge.core.windows.result import SegmentResult, WindowResult
from driftgauge.events.descriptions import BaselineDescription
from driftgauge.events.timestamps import format_timestamp
from driftgauge.events.window_record import (
    ClusterRecord,
    DetectableRecord,
    DuplicatesRecord,
    EvidenceRecord,
    ExampleRecord,
    MeanShiftRecord,
    PartitionRecord,
    SegmentRecord,
    SlowDriftRecord,
    SpreadChangeRecord,
    SpreadRecord,
    WindowRecord,
)

__all__ = ["result_key", "result_record", "stream_of", "to_record"]

# Fields with the same name and form in a result and its record.
_OF_WINDOW = ("stream", "revision", "events_lost", "counted_twice", "incomplete_reason")
_OF_SCORE = (
    "js_divergence",
    "js_distance",
    "noise_floor",
    "js_excess",
    "js_p_value",
    "p_value",
    "calibrated",
)
_SCORE_OBJECTS = (
    "mean_shift",
    "novelty",
    "novelty_excess",
    "novelty_p_value",
    "spread",
    "duplicates",
    "evidence",
    "kind",
    "detectable",
)
_OF_SPREAD = ("change", "outliers", "excess", "p_value")
_OF_DUPLICATES = ("share", "p_value")
_KINDS = tuple(kind.value for kind in Kind)
_OF_DETECTABLE = ("js_divergence", "mean_shift", "novelty", "spread", "duplicates")
_OF_SHIFT = ("t2", "p_value", "leading_p_value", "excess", "centroid_distance", "centroid_p_value")
_OF_SEGMENT = (
    "count",
    "js_divergence",
    "js_excess",
    "mean_shift_excess",
    "novelty_excess",
    "spread_excess",
    "p_value",
    "adjusted_p_value",
    "calibrated",
)


def result_key(result: WindowResult) -> bytes:
    """Return the key of a result's record, equal for all revisions of a window: "stream/1d/start"."""
    size = format_duration(result.window.size_ms)
    return f"{result.stream}/{size}/{format_timestamp(result.window.start_ms)}".encode()


def stream_of(key: bytes) -> str:
    """Return the stream in a result's key; empty if the key is another's."""
    return key.decode(errors="replace").rpartition("/")[0].rpartition("/")[0]


def result_record(result: WindowResult, description: BaselineDescription | None) -> bytes:
    """Return the value of a result's record: one line of JSON by the schema of window results, version 1."""
    return to_record(result, description).model_dump_json().encode()


def to_record(result: WindowResult, description: BaselineDescription | None) -> WindowRecord:
    """Return the record of a result.

    Args:
        result: The result.
        description: The description of the result's baseline; without it, the fields that it fills are null.
    """
    score = result.score
    scored: dict[str, Any] = dict.fromkeys((*_OF_SCORE, *_SCORE_OBJECTS))
    if score is not None:
        scored = {
            **_fields(score, _OF_SCORE),
            "mean_shift": _shift_record(score.mean_shift),
            "novelty": score.novelty.share,
            "novelty_excess": score.novelty.excess,
            "novelty_p_value": score.novelty.p_value,
            "spread": _spread_record(score.spread),
            "duplicates": DuplicatesRecord(**_fields(score.duplicates, _OF_DUPLICATES)),
            "evidence": EvidenceRecord(**_fields(score.evidence, _KINDS)),
            "kind": None if score.kind is None else score.kind.value,
            "detectable": _detectable_record(score.detectable),
        }
    return WindowRecord(
        **scored,
        **_fields(result, _OF_WINDOW),
        window=format_duration(result.window.size_ms),
        start=format_timestamp(result.window.start_ms),
        end=format_timestamp(result.window.end_ms),
        count=result.count,
        verdict=result.verdict.value,
        slow_drift=None
        if result.slow_drift is None
        else SlowDriftRecord(statistic=result.slow_drift, limit=result.slow_drift_limit),
        baseline=result.baseline_id,
        baseline_created=None if description is None else format_timestamp(description.created_ms),
        incomplete=tuple(
            PartitionRecord(topic=topic, partition=partition) for topic, partition in result.missing
        ),
        clusters=_cluster_records(result, description),
        movers=() if score is None else score.movers,
        examples=_example_records(result, description),
        segments=tuple(_segment_record(segment) for segment in result.segments),
    )


def _cluster_records(
    result: WindowResult, description: BaselineDescription | None
) -> tuple[ClusterRecord, ...]:
    baseline_count = int(result.baseline_counts.sum())
    of_divergence = of_novelty = [None] * len(result.counts)
    if result.score is not None:
        of_divergence = result.score.contributions.tolist()
        of_novelty = result.score.novelty.contributions.tolist()
    return tuple(
        ClusterRecord(
            id=cluster,
            count=in_window,
            share=in_window / result.count,
            baseline_share=in_baseline / baseline_count,
            js_contribution=js_contribution,
            novelty_contribution=novelty_contribution,
            name=None if description is None else description.names[cluster],
            position=None if description is None else description.positions[cluster],
        )
        for cluster, (in_window, in_baseline, js_contribution, novelty_contribution) in enumerate(
            zip(
                result.counts.tolist(),
                result.baseline_counts.tolist(),
                of_divergence,
                of_novelty,
                strict=True,
            )
        )
    )


def _example_records(
    result: WindowResult, description: BaselineDescription | None
) -> tuple[ExampleRecord, ...]:
    """Return the examples of the movers, of the window and of the baseline."""
    of_baseline: dict[int, tuple[str, ...]] = {}
    if description is not None and result.score is not None:
        of_baseline = {
            mover: description.example_ids[mover]
            for mover in result.score.movers
            if description.example_ids[mover]
        }
    return tuple(
        ExampleRecord(
            cluster=cluster,
            event_ids=result.examples.get(cluster, ()),
            baseline_event_ids=of_baseline.get(cluster, ()),
        )
        for cluster in sorted(result.examples.keys() | of_baseline.keys())
    )


def _shift_record(shift: MeanShift) -> MeanShiftRecord:
    return MeanShiftRecord(**_fields(shift, _OF_SHIFT), components=tuple(shift.shares.tolist()))


def _detectable_record(detectable: Detectable) -> DetectableRecord:
    sizes = _fields(detectable, _OF_DETECTABLE)
    return DetectableRecord(**{name: size if math.isfinite(size) else None for name, size in sizes.items()})


def _spread_record(spread: Spread) -> SpreadRecord:
    components, residual = (
        None if change is None else SpreadChangeRecord(**_fields(change, _OF_SPREAD))
        for change in spread.changes
    )
    return SpreadRecord(components=components, residual=residual)


def _segment_record(result: SegmentResult) -> SegmentRecord:
    key, value = result.segment
    return SegmentRecord(**_fields(result, _OF_SEGMENT), key=key, value=value, verdict=result.verdict.value)


def _fields(source: object, names: Iterable[str]) -> dict[str, Any]:
    """Return the named fields of a result or its record."""
    return {name: getattr(source, name) for name in names}
