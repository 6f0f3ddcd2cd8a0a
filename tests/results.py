"""Builders of window results, for tests that publish, encode or show them."""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.windows.result import Score, SegmentResult, Verdict, VerdictMemory, WindowResult
from driftgauge.core.windows.window import Window

BASELINE_COUNTS = np.array([40, 30, 20, 10], dtype=np.int64)
SLOW_LIMIT = 6.5


def build_score(counts: ArrayLike, baseline_counts: ArrayLike = BASELINE_COUNTS, **changes: Any) -> Score:
    """Return a score with the divergence of the counts; all other numbers are invented and distinct."""
    contributions = js_contributions(np.array(counts, dtype=np.int64), np.array(baseline_counts))
    divergence = math.fsum(contributions)
    fields = {
        "js_divergence": divergence,
        "js_distance": math.sqrt(divergence),
        "contributions": contributions,
        "noise_floor": 0.0011,
        "js_excess": divergence - 0.0011,
        "js_p_value": 0.21,
        "mean_shift": MeanShift(
            t2=3.5,
            p_value=0.17,
            centroid_distance=0.25,
            centroid_p_value=0.31,
            excess=-0.004,
            shares=np.array([0.75, 0.25]),
        ),
        "p_value": 0.23,
        "novelty": 0.0125,
        "calibrated": True,
    }
    return Score(**{**fields, **changes})


def build_result(window: Window, counts: ArrayLike, **changes: Any) -> WindowResult:
    """Return the result of a stream's window: scored, complete and `ok`, except for the changes."""
    baseline_counts = np.array(changes.get("baseline_counts", BASELINE_COUNTS), dtype=np.int64)
    fields = {
        "stream": "images",
        "window": window,
        "revision": 0,
        "counts": np.array(counts, dtype=np.int64),
        "baseline_id": "sha256:abc",
        "missing": (),
        "events_lost": False,
        "published_ms": 0,
        "score": build_score(counts, baseline_counts),
        "verdict": Verdict.OK,
        "superseded": None,
        "slow_drift": 0.5,
        "slow_drift_limit": SLOW_LIMIT,
        "segments": (),
        "examples": {},
        "memory": VerdictMemory(),
        **changes,
        "baseline_counts": baseline_counts,
    }
    return WindowResult(**fields)


NOT_SCORED = {"score": None, "verdict": Verdict.INSUFFICIENT, "slow_drift": None, "memory": None}
"""The fields of a window with too few events."""

INCOMPLETE = {"verdict": Verdict.INCOMPLETE, "slow_drift": None, "memory": None}
"""The fields of a window with missing partitions."""


def build_segment(value: str, count: int = 100, **changes: Any) -> SegmentResult:
    """Return the result of a segment by country, scored except for the changes."""
    fields = {
        "segment": ("country", value),
        "count": count,
        "js_divergence": 0.002,
        "js_excess": -0.001,
        "mean_shift_excess": 0.003,
        "p_value": 0.2,
        "adjusted_p_value": 0.4,
        "calibrated": False,
        "verdict": Verdict.OK,
    }
    return SegmentResult(**{**fields, **changes})


def build_small_segment(value: str, count: int = 3) -> SegmentResult:
    """Return the result of a segment with too few events to be scored."""
    nulls = dict.fromkeys(
        ("js_divergence", "js_excess", "mean_shift_excess", "p_value", "adjusted_p_value", "calibrated"), None
    )
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
