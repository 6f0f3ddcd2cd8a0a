"""Conversion of window results to their published records."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.durations import format_duration
from driftgauge.core.judging.calibration import CalibrationSummary, Measuring
from driftgauge.core.judging.number_judging import NumberResult
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.novelty import NOVELTY
from driftgauge.core.statistics.number_change import PARTS
from driftgauge.core.statistics.statistic import Findings
from driftgauge.core.windows.result import WindowResult
from driftgauge.events.timestamps import format_timestamp
from driftgauge.records.descriptions import BaselineDescription, BaselineExamples
from driftgauge.records.window_record import SegmentRecord, WindowRecord

__all__ = ["result_key", "result_record", "stream_of", "to_record"]

_OF_SCORE = ("p_value", "calibrated", "evidence", "kind", "detectable", "events_needed")
_OF_DIVERGENCE = ("js_divergence", "js_distance", "noise_floor")
_OF_RESULT = (
    "stream",
    "revision",
    "count",
    "verdict",
    "events_lost",
    "counted_twice",
    "incomplete_reason",
    "applied_total",
    "late_total",
)
_OF_NUMBER = (
    "count",
    "missing",
    "clipped",
    "mean",
    "overdispersion",
    "baseline_mean",
    "movers",
    "exceeds",
    "fires",
)
_OF_SEGMENT = tuple(name for name in SegmentRecord.model_fields if name not in {"key", "value"})


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
    findings = Findings() if score is None else score.findings
    divergence = findings.get(DIVERGENCE.name)
    return WindowRecord.model_validate(
        {
            **{name: getattr(result, name) for name in _OF_RESULT},
            **{name: getattr(score, name, None) for name in _OF_SCORE},
            **{name: getattr(divergence, name, None) for name in _OF_DIVERGENCE},
            "findings": None if score is None else _findings(findings),
            "window": format_duration(result.window.size_ms),
            "start": format_timestamp(result.window.start_ms),
            "end": format_timestamp(result.window.end_ms),
            "calibration": None if result.calibration is None else _calibration(result.calibration),
            "measuring": None if result.measuring is None else _measuring(result.measuring),
            "slow_drift": None if result.slow_drift is None else _slow_drift(result),
            "baseline": result.baseline_id,
            "baseline_created": description and format_timestamp(description.created_ms),
            "incomplete": tuple(
                {"topic": topic, "partition": partition} for topic, partition in result.missing
            ),
            "clusters": _clusters(result, description),
            "movers": () if score is None else score.movers,
            "examples": _examples(result, description),
            "farthest": _farthest(result, description),
            "segments": tuple(
                {name: getattr(each, name) for name in _OF_SEGMENT}
                | {"key": each.segment[0], "value": each.segment[1]}
                for each in result.segments
            ),
            "numbers": {name: _number(each) for name, each in result.numbers.items()},
        }
    )


def _number(result: NumberResult) -> dict[str, Any]:
    change = result.change
    unknown = [None] * len(result.means)
    return {
        **{name: getattr(result, name) for name in _OF_NUMBER},
        "partial": result.is_partial,
        "changed": result.has_changed,
        "change": change and change.total,
        **{part: change and getattr(change, part) for part in PARTS},
        "clusters": tuple(
            {"id": cluster, "mean": mean, "baseline_mean": baseline_mean, "change": part, "within": within}
            for cluster, (mean, baseline_mean, part, within) in enumerate(
                zip(
                    _or_none(result.means),
                    _or_none(result.baseline_means) or unknown,
                    change.by_cluster.tolist() if change else unknown,
                    change.within_by_cluster.tolist() if change else unknown,
                    strict=True,
                )
            )
        ),
    }


def _or_none(values: NDArray[np.float64]) -> list[float | None]:
    """Return numbers as JSON has them: None for NaN."""
    return [None if math.isnan(value) else value for value in values.tolist()]


def _calibration(calibration: CalibrationSummary) -> dict[str, Any]:
    is_dated = calibration.to_ms > 0
    return {
        "source": calibration.source,
        "window": format_duration(calibration.size_ms),
        "start": format_timestamp(calibration.from_ms) if is_dated else None,
        "end": format_timestamp(calibration.to_ms) if is_dated else None,
        "windows": calibration.windows,
        "overdispersion": dict(calibration.overdispersion),
        "misfit": calibration.is_misfit,
    }


def _measuring(measuring: Measuring) -> dict[str, Any]:
    changed_ms = measuring.changed_ms
    return {
        "start": format_timestamp(measuring.from_ms),
        "until": format_timestamp(measuring.until_ms),
        "changed": None if changed_ms is None else format_timestamp(changed_ms),
    }


def _slow_drift(result: WindowResult) -> dict[str, Any]:
    since_ms = result.slow_drift_since_ms
    return {
        "statistic": result.slow_drift,
        "limit": result.slow_drift_limit,
        "since": None if since_ms is None else format_timestamp(since_ms),
    }


def _findings(findings: Findings) -> dict[str, dict[str, Any]]:
    """Return what each statistic found."""
    tested = [each for each in registry.STATISTICS if each.name in findings]
    return {
        each.name: {
            "kind": each.kind,
            "value": each.shown(findings.of(each)),
            "excess": findings.of(each).excess,
            "p_value": each.p_value(findings.of(each)),
            "numbers": each.numbers(findings.of(each)),
        }
        for each in tested
    }


def _clusters(result: WindowResult, description: BaselineDescription | None) -> tuple[dict[str, Any], ...]:
    baseline_count = int(result.baseline_counts.sum())
    of_divergence = of_novelty = [None] * len(result.counts)
    if result.score is not None:
        of_divergence = result.score.divergence.contributions.tolist()
        of_novelty = result.score.findings.of(NOVELTY).contributions.tolist()
    return tuple(
        {
            "id": cluster,
            "count": in_window,
            "share": in_window / max(result.count, 1),
            "baseline_share": in_baseline / baseline_count,
            "js_contribution": js_contribution,
            "novelty_contribution": novelty_contribution,
            "name": description and description.names[cluster],
            "position": description and description.positions[cluster],
        }
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


def _examples(result: WindowResult, description: BaselineDescription | None) -> tuple[dict[str, Any], ...]:
    """Return the examples of the movers, of the window and of the baseline."""
    movers = result.score.movers if description is not None and result.score is not None else ()
    of_baseline = {each: own for each in movers if description and (own := description.examples[each]).ids}
    return tuple(
        {
            "cluster": cluster,
            "event_ids": result.examples.get(cluster, ()),
            "snippets": result.snippets.get(cluster, ()),
        }
        | _of_baseline(of_baseline.get(cluster, BaselineExamples()))
        for cluster in sorted(result.examples.keys() | of_baseline.keys())
    )


def _farthest(result: WindowResult, description: BaselineDescription | None) -> dict[str, Any] | None:
    """Return the farthest events; None if the window has none."""
    if not result.farthest:
        return None
    snippets = tuple(each.snippet for each in result.farthest)
    return {
        "event_ids": tuple(each.event_id for each in result.farthest),
        "snippets": snippets if any(snippets) else (),
    } | _of_baseline(description.farthest if description else BaselineExamples())


def _of_baseline(examples: BaselineExamples) -> dict[str, Any]:
    return {"baseline_event_ids": examples.ids, "baseline_snippets": examples.texts}
