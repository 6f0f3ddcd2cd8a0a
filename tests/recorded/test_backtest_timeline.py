"""Timelines of windows."""

from dataclasses import replace

import numpy as np

from driftgauge.core.judging.scoring import SegmentResult
from driftgauge.core.judging.verdict import Verdict
from driftgauge.recorded.backtest import build_timelines
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.results import STATISTICS, build_result, by_statistic


def starts(points):
    return [point.window.start_ms // point.window.size_ms for point in points]


def test_timelines_use_first_complete_revision_and_separate_segments():
    segment = SegmentResult(
        ("country", "de"),
        40,
        0.2,
        by_statistic(0.19, 0.3, 0.01, 0.02, names=STATISTICS[:-1]),
        0.001,
        0.002,
        calibrated=False,
        verdict=Verdict.DRIFT,
    )
    first = build_result(number=1)
    results = [
        build_result(number=2),
        replace(first, verdict=Verdict.INCOMPLETE),
        replace(first, revision=1, verdict=Verdict.DRIFT, segments=(segment,)),
        replace(first, revision=2, verdict=Verdict.OK),
        build_result(number=1, size_ms=DAY_MS),
        build_result(number=1, stream="texts"),
    ]
    timelines = build_timelines(results)
    assert list(timelines) == [
        ("images", HOUR_MS, None),
        ("images", HOUR_MS, ("country", "de")),
        ("images", DAY_MS, None),
        ("texts", HOUR_MS, None),
    ]
    hours, (of_segment,), *_ = timelines.values()
    assert starts(hours) == [1, 2]
    assert hours[0].verdict is Verdict.DRIFT
    assert hours[0].count == int(np.sum(first.counts))
    assert (of_segment.count, of_segment.p_value, of_segment.verdict) == (40, 0.002, Verdict.DRIFT)
