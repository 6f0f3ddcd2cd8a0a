"""Builders of window results, scores, segments and timelines, and summaries of results."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from driftgauge.core.counting.numbers import Number, NumberTally
from driftgauge.core.judging.number_judging import NumberMemory, NumberResult, judge_number
from driftgauge.core.judging.scoring import Score, SegmentResult
from driftgauge.core.judging.verdict import Verdict, VerdictMemory
from driftgauge.core.reference import Segment
from driftgauge.core.statistics.divergence import Divergence, js_contributions
from driftgauge.core.statistics.duplicates import Duplicates
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.statistics.relations import RelationChange, Relations
from driftgauge.core.statistics.spread import Spread, SpreadChange
from driftgauge.core.statistics.statistic import Findings
from driftgauge.core.window import Window
from driftgauge.core.windows.result import WindowResult
from driftgauge.recorded.backtest import WindowPoint
from driftgauge.records.descriptions import BaselineDescription, BaselineExamples
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS

BASELINE_COUNTS = np.array([40, 30, 20, 10], dtype=np.int64)
SLOW_LIMIT = 6.5


def build_score(counts: ArrayLike, baseline_counts: ArrayLike = BASELINE_COUNTS, **changes: Any) -> Score:
    """Return a score with the divergence of the counts; all other numbers are invented and distinct."""
    contributions = js_contributions(np.array(counts, dtype=np.int64), np.array(baseline_counts))
    divergence = math.fsum(contributions)
    findings = {
        "js_divergence": Divergence(
            js_divergence=divergence,
            js_distance=math.sqrt(divergence),
            contributions=contributions,
            noise_floor=0.0011,
            excess=divergence - 0.0011,
            p_value=0.21,
        ),
        "mean_shift": MeanShift(
            t2=3.5,
            p_value=0.17,
            centroid_distance=0.25,
            centroid_p_value=0.31,
            excess=-0.004,
        ),
        "novelty": build_novelty(0.0125, 0.0025, 0.37, clusters=len(contributions)),
        "spread": Spread(SpreadChange(0.06, 0.03, 0.41), SpreadChange(-0.07, 0.05, 0.43)),
        "duplicates": Duplicates(share=0.015, p_value=0.47),
        "relations": Relations(RelationChange(0.09, -0.02, 0.39), RelationChange(0.5, 0.1, 0.33)),
    }
    score = Score(
        findings=Findings(findings),
        p_value=0.23,
        evidence=by_statistic(0.4, 0.25, 0.2, 0.1, 0.05, names=KINDS),
        kind=None,
        detectable=by_statistic(0.02, 0.04, 0.03, 0.08, 0.07),
        calibrated=True,
    )
    return change_score(score, **changes)


KINDS = ("mix", "shift", "novelty", "spread", "duplicates")
STATISTICS = ("js_divergence", "mean_shift", "novelty", "spread", "duplicates")


def by_statistic(*values: Any, names: Iterable[str] = STATISTICS) -> dict[str, Any]:
    """Return a value for each statistic, or for each kind."""
    return dict(zip(names, values, strict=True))


def change_score(score: Score, **changes: Any) -> Score:
    """Return a score with other fields, other findings by name, or other fields of the divergence.

    The p-value of the divergence is `js_p_value`, since `p_value` is that of the score.
    """
    own = {each.name for each in dataclasses.fields(score)}
    findings = {name: each for name, each in changes.items() if name in STATISTICS[1:]}
    divergence = {
        name.replace("js_p_value", "p_value"): each
        for name, each in changes.items()
        if name not in own | findings.keys()
    }
    findings["js_divergence"] = dataclasses.replace(score.findings["js_divergence"], **divergence)
    changed = {name: each for name, each in changes.items() if name in own}
    return dataclasses.replace(score, **{"findings": Findings(score.findings | findings), **changed})


def build_novelty(share: float, excess: float, p_value: float, *, clusters: int = 4) -> Novelty:
    """Return a novelty with the same part of the excess in each cluster."""
    return Novelty(share, excess, p_value, np.full(clusters, excess / clusters))


def build_description(
    *names: str | None,
    example_ids: Iterable[tuple[str, ...]] | None = None,
    created_ms: int = MONDAY_MS,
    model_version: str | None = None,
) -> BaselineDescription:
    """Return the description of clusters with these names; cluster i lies at (i / 2, -i)."""
    return BaselineDescription(
        created_ms,
        model_version,
        names,
        tuple((number / 2, -float(number)) for number in range(len(names))),
        tuple(map(BaselineExamples, [()] * len(names) if example_ids is None else example_ids)),
    )


CONFIDENCE = Number("confidence", 0.0, 1.0, alert_below=0.8)


def tally_number(number: Number, *values: Iterable[float]) -> NumberTally:
    """Return the tally of a number, given its values in each cluster."""
    clusters = [np.full(len([*each]), cluster) for cluster, each in enumerate(values)]
    counted = number.count(
        np.concatenate([np.array([*each], np.float64) for each in values]),
        np.concatenate(clusters).astype(np.intp),
        len(values),
    )
    return NumberTally(number, counted)


def build_number(
    *values: Iterable[float],
    baseline: Iterable[Iterable[float]] | None = None,
    events: int | None = None,
    before: NumberMemory | None = None,
    is_conclusive: bool = True,
    number: Number = CONFIDENCE,
) -> NumberResult:
    """Return what a window says of a number, given its values in each cluster, and those of the baseline."""
    return judge_number(
        number,
        tally_number(number, *values),
        None if baseline is None else tally_number(number, *baseline),
        before or NumberMemory(),
        events=sum(len([*each]) for each in values) if events is None else events,
        is_conclusive=is_conclusive,
        fewest=1,
    )


NO_MEMORY = {"slow_drift": None, "slow_drift_since_ms": None, "memory": None}
NOT_SCORED = {"score": None, "verdict": Verdict.INSUFFICIENT, **NO_MEMORY}
"""The fields of a window with too few events."""

INCOMPLETE = {"verdict": Verdict.INCOMPLETE, **NO_MEMORY}
"""The fields of a window with missing partitions."""


def hour_window(number: int) -> Window:
    """Return an hour since the epoch."""
    return Window(HOUR_MS, number * HOUR_MS)


def build_result(
    counts: ArrayLike = (10, 20, 30, 40),
    window: Window | None = None,
    *,
    size_ms: int = HOUR_MS,
    number: int = 1,
    **changes: Any,
) -> WindowResult:
    """Return a window's result: scored from 20 events on, complete and `ok`, except for the changes.

    A revision supersedes the same verdict unless `superseded` is given.

    Args:
        counts: The number of events of each cluster.
        window: The window; by default that of this number since the epoch.
        size_ms: The size of the default window.
        number: The number of the default window.
        changes: Fields of the result; with `missing` partitions the window is incomplete.
    """
    counts = np.array(counts, dtype=np.int64)
    baseline_counts = np.array(changes.get("baseline_counts", BASELINE_COUNTS), dtype=np.int64)
    if counts.sum() < 20:
        state: dict[str, Any] = NOT_SCORED
    else:
        state = {"score": build_score(counts, baseline_counts)}
        if changes.get("missing"):
            state |= {**INCOMPLETE, "incomplete_reason": "partitions_missing"}
    fields = {
        "stream": "images",
        "window": window or Window(size_ms, number * size_ms),
        "revision": 0,
        "counts": counts,
        "baseline_id": "sha256:abc",
        "missing": (),
        "events_lost": False,
        "published_ms": 0,
        "verdict": Verdict.OK,
        "slow_drift": 0.5,
        "slow_drift_since_ms": MONDAY_MS,
        "slow_drift_limit": SLOW_LIMIT,
        "segments": (),
        "examples": {},
        "memory": VerdictMemory(),
        **state,
        **changes,
        "baseline_counts": baseline_counts,
    }
    return WindowResult(**{"superseded": fields["verdict"] if fields["revision"] else None, **fields})


def build_segment(value: str, count: int = 100, **changes: Any) -> SegmentResult:
    """Return the result of a segment by country, scored except for the changes."""
    fields = {
        "segment": ("country", value),
        "count": count,
        "js_divergence": 0.002,
        "excess": by_statistic(-0.001, 0.003, 0.004, 0.005, names=STATISTICS[:-1]),
        "p_value": 0.2,
        "adjusted_p_value": 0.4,
        "calibrated": False,
        "verdict": Verdict.OK,
    }
    return SegmentResult(**{**fields, **changes})


def build_small_segment(value: str, count: int = 3) -> SegmentResult:
    """Return the result of a segment with too few events to be scored."""
    nulls = dict.fromkeys(("js_divergence", "excess", "p_value", "adjusted_p_value", "calibrated"))
    return build_segment(value, count, **nulls, verdict=Verdict.INSUFFICIENT)


def plain(value: Any) -> Any:
    """Return a result, or a part of one, for bitwise comparison: arrays become their type and numbers."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tolist()
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return tuple(plain(each) for each in value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


LETTERS = {"o": Verdict.OK, "w": Verdict.WARNING, "D": Verdict.DRIFT, "i": Verdict.INSUFFICIENT}


def build_timelines(
    verdicts: str, *, size_ms: int = HOUR_MS, detectable: float = 0.01, shift: float = 0.01
) -> dict[Any, list[WindowPoint]]:
    """Return one timeline with these verdicts in order: o(k), w(arning), D(rift), i(nsufficient)."""
    scored = {"js_divergence": detectable, "mean_shift": shift}
    points = [
        WindowPoint(
            Window(size_ms, number * size_ms),
            100,
            LETTERS[letter],
            js_divergence=0.1,
            noise_floor=0.01,
            p_value=0.5,
            kind="shift",
            detectable=None if letter == "i" else scored,
        )
        for number, letter in enumerate(verdicts)
    ]
    return {("images", size_ms, None): points}


def summarize_counts(results: Iterable[WindowResult]) -> list[tuple[int, int, int, tuple[int, ...]]]:
    """Return (size, start, revision, counts) of each result."""
    return [
        (each.window.size_ms, each.window.start_ms, each.revision, tuple(each.counts.tolist()))
        for each in results
    ]


def summarize_hours(results: Iterable[WindowResult]) -> list[tuple[float, int, int]]:
    """Return (hour since Monday, revision, count) of each hourly result."""
    return [
        ((result.window.start_ms - MONDAY_MS) / HOUR_MS, result.revision, result.count)
        for result in results
        if result.window.size_ms == HOUR_MS
    ]


def summarize_minutes(
    results: Iterable[WindowResult], stream: str = "images"
) -> list[tuple[int, int, int, tuple[int, ...]]]:
    """Return (minute since Monday, revision, count, missing indexes) of each result of a stream."""
    return [
        (
            (result.window.start_ms - MONDAY_MS) // MINUTE_MS,
            result.revision,
            result.count,
            tuple(index for _, index in result.missing),
        )
        for result in results
        if result.stream == stream
    ]


def summarize_segments(result: WindowResult) -> dict[Segment, tuple[int, Verdict]]:
    """Return the count and the verdict of each segment."""
    return {segment.segment: (segment.count, segment.verdict) for segment in result.segments}
