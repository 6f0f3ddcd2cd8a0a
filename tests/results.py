"""Window results as an owner judges them, for the tests of what is done with them afterwards."""

import dataclasses
import math

import numpy as np

from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.windows.result import Score, SegmentResult, Verdict, VerdictMemory, WindowResult

BASELINE_COUNTS = np.array([40, 30, 20, 10], dtype=np.int64)
SLOW_LIMIT = 6.5


def build_score(counts, baseline_counts=BASELINE_COUNTS, **changes):
    """A comparison whose divergence is that of the counts; the rest is made up, and no two are alike."""
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


def build_result(window, counts, **changes):
    """The result of a stream's window: scored, complete and `ok`, unless it is said otherwise."""
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
"""What is said of a window with too few events."""

INCOMPLETE = {"verdict": Verdict.INCOMPLETE, "slow_drift": None, "memory": None}
"""What is said of a window that lacks partitions."""


def build_segment(value, count=100, **changes):
    """A segment of a window, by country; scored unless it is said otherwise."""
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


def build_small_segment(value, count=3):
    """A segment with too few events to be scored."""
    nulls = dict.fromkeys(
        ("js_divergence", "js_excess", "mean_shift_excess", "p_value", "adjusted_p_value", "calibrated"), None
    )
    return build_segment(value, count, **nulls, verdict=Verdict.INSUFFICIENT)


def plain(value):
    """Return what can be compared: arrays as their type and their numbers, all the way down."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tolist()
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return tuple(plain(each) for each in value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value
