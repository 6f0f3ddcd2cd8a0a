"""A changelog record of each kind: the key, the value and the key's bytes."""

import math
from typing import Any

import numpy as np

from driftgauge.core.counting.examples import Example, Examples, FarExample
from driftgauge.core.judging.calibration import Calibration, SegmentCalibration, Source
from driftgauge.core.judging.clean_windows import CleanWindows, WindowSums
from driftgauge.core.judging.measuring import Measurement
from driftgauge.core.judging.verdict import SlowDrift, Verdict, VerdictHistory, VerdictMemory
from driftgauge.core.statistics.duplicates import Duplicates
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.statistics.overdispersion import Overdispersion, OverdispersionEstimator
from driftgauge.core.statistics.spread import Spread, SpreadChange
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import (
    AcceptedLoss,
    AcceptedLossKey,
    CalibrationKey,
    DataLoss,
    EventTimeKey,
    EventTimes,
    ExamplesKey,
    HistoryKey,
    Key,
    MeasurementKey,
    PaneCounts,
    PaneKey,
    PositionKey,
    PublishedKey,
    ShardPosition,
    SourceBlock,
    SourcesKey,
    StreamKey,
    StreamStatus,
)
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.results import (
    CONFIDENCE,
    KINDS,
    build_number,
    build_result,
    build_score,
    build_small_segment,
    by_statistic,
    tally_number,
)

NULL = -(2**63)
IDENTITY = "0123456789abcdef" * 4
PANE = Window(HOUR_MS, MONDAY_MS)
SCHEME = f"{IDENTITY[:16]}-89abcdef"
NUMBER_TALLY = tally_number(CONFIDENCE, (0.75, 0.5, 2.0), (math.nan, 1.0)).values
TALLY = 700, 500, 7, 5, -300, 40, 1_200, 1_100, 30, 20
RECALL = VerdictMemory(
    (False, True),
    SlowDrift(2.5, MONDAY_MS - HOUR_MS, ((MONDAY_MS - HOUR_MS, np.array(TALLY)),)),
    {("country", "de"): (False,)},
    has_fitted=True,
    evidence=by_statistic(1.25, 0.375, 0.125, 0.0, 0.0, names=KINDS),
)
HISTORY = VerdictHistory(end_ms=MONDAY_MS + HOUR_MS, memory=RECALL)
SUMS = WindowSums(
    np.array(TALLY),
    OverdispersionEstimator(
        24,
        np.array([410.5, 210.25]),
        np.array([[28.0, -0.5], [-0.5, 25.0]]),
        {"novelty": np.array([30.0]), "spread": np.array([26.5, 24.0, 23.0]), "duplicates": np.array([25.0])},
    ),
)
CLEAN = CleanWindows(
    all=SUMS,
    days=((MONDAY_MS - 48 * HOUR_MS, np.array(TALLY)), (MONDAY_MS - 24 * HOUR_MS, np.array(TALLY))),
    segments={
        ("country", "de"): WindowSums(
            np.array([70, 50, 1, 0]),
            OverdispersionEstimator(2, np.array([41.5, 21.0]), np.diag([2.0, 3.0])),
        )
    },
)
MEASUREMENT = Measurement(
    warm_up=None,
    since_ms=MONDAY_MS - 9 * 24 * HOUR_MS,
    clean=CLEAN,
    changed_ms=MONDAY_MS - 9 * 24 * HOUR_MS,
    has_fitted=True,
    has_drifted=True,
)
OVERDISPERSION = Overdispersion(
    13.5,
    1.25,
    np.array([[2.0, 0.5], [0.5, 1.5]]),
    {"novelty": np.array([1.5]), "spread": np.array([1.25, 2.0, 1.5]), "duplicates": np.array([1.0])},
    baseline=Overdispersion(200.0, 1.0, np.diag([1.0, 1.5])),
    kurtosis=40.0,
)
CALIBRATION = Calibration(
    source=Source.WARM_UP,
    size_ms=HOUR_MS,
    from_ms=MONDAY_MS - 14 * 24 * HOUR_MS,
    to_ms=MONDAY_MS,
    length=len(TALLY),
    whole=SegmentCalibration(OVERDISPERSION, values=np.array(TALLY), share=0.25, is_misfit=True),
    segments={("country", "de"): SegmentCalibration(OVERDISPERSION, is_own=False)},
    hidden={"mean_shift": 0.5},
    lasting=OVERDISPERSION,
)
GOLDEN: dict[str, tuple[Key, Any, bytes]] = {
    "pane": (
        PaneKey("resnet18-fc1", SCHEME, PANE),
        PaneCounts(np.array([0, 7, 300, 3, -2, 2**33], np.int64), {CONFIDENCE.key: NUMBER_TALLY}),
        b'["pane",{"stream":"resnet18-fc1","scheme":"0123456789abcdef-89abcdef","pane":{"size_ms":3600000,"start_ms":1762128000000},"segment":null}]',
    ),
    "segment": (
        PaneKey("resnet18-fc1", SCHEME, PANE, ("city/country", "köln, de")),
        PaneCounts(np.array([1, 0, 0, 0, -5, 6], np.int64)),
        b'["pane",{"stream":"resnet18-fc1","scheme":"0123456789abcdef-89abcdef",'
        b'"pane":{"size_ms":3600000,"start_ms":1762128000000},"segment":["city/country","k\xc3\xb6ln, de"]}]',
    ),
    "examples": (
        ExamplesKey("resnet18-fc1", SCHEME, PANE),
        Examples(
            (Example(0, 51_966, "0193f3a2"), Example(0, 48_879_000, "köln"), Example(7, 12, "0193f3a3")),
            (FarExample(2_125, 48_879_000, "köln", "eine Kuh"), FarExample(1_001, 12, "0193f3a3")),
        ),
        b'["examples",{"stream":"resnet18-fc1","scheme":"0123456789abcdef-89abcdef","pane":{"size_ms":3600000,"start_ms":1762128000000}}]',
    ),
    "published": (
        PublishedKey("resnet18-fc1", PANE),
        build_result(
            (80, 240),
            PANE,
            stream="resnet18-fc1",
            revision=2,
            baseline_counts=(500, 500),
            baseline_id=f"sha256:{IDENTITY}",
            published_ms=MONDAY_MS + HOUR_MS,
            score=build_score(
                (80, 240),
                (500, 500),
                js_divergence=0.125,
                js_distance=0.375,
                contributions=np.array([0.0625, 0.0625]),
                noise_floor=0.03125,
                excess=0.09375,
                mean_shift=MeanShift(
                    t2=80.0,
                    p_value=1e-12,
                    centroid_distance=1.5,
                    centroid_p_value=1e-10,
                    excess=0.25,
                ),
                novelty=Novelty(0.0625, 0.046875, 1e-7, np.array([0.0625, -0.015625])),
                spread=Spread(SpreadChange(0.25, 0.1875, 1e-8), None, SpreadChange(0.125, 0.0625, 1e-3)),
                duplicates=Duplicates(0.25, 1e-6),
                evidence=by_statistic(0.5, 0.25, 0.125, 0.0625, 0.0625, names=KINDS),
                kind="mix",
                detectable=by_statistic(0.015625, math.inf, 0.03125, 0.0625, 0.125),
            ),
            verdict=Verdict.DRIFT,
            superseded=Verdict.INCOMPLETE,
            slow_drift=4.0,
            segments=(build_small_segment("other"),),
            examples={1: ("0193f3a2", "köln")},
            farthest=(FarExample(2_125, 48_879_000, "köln", "eine Kuh"),),
            numbers={"confidence": build_number((0.5, 0.75), (0.5,), baseline=((0.75, 1.0), (0.75,)))},
            memory=RECALL,
            counted_twice=True,
        ),
        b'["published",{"stream":"resnet18-fc1","window":{"size_ms":3600000,"start_ms":1762128000000}}]',
    ),
    "history": (
        HistoryKey("resnet18-fc1", HOUR_MS, IDENTITY[:16]),
        HISTORY,
        b'["history",{"stream":"resnet18-fc1","size_ms":3600000,"baseline":"0123456789abcdef"}]',
    ),
    "measurement": (
        MeasurementKey("resnet18-fc1", HOUR_MS, IDENTITY[:16]),
        MEASUREMENT,
        b'["measurement",{"stream":"resnet18-fc1","size_ms":3600000,"baseline":"0123456789abcdef"}]',
    ),
    "calibration": (
        CalibrationKey("resnet18-fc1", HOUR_MS, IDENTITY[:16]),
        CALIBRATION,
        b'["calibration",{"stream":"resnet18-fc1","size_ms":3600000,"baseline":"0123456789abcdef"}]',
    ),
    "position": (
        PositionKey(),
        ShardPosition(
            shards=16,
            offset=4_711,
            log_ms=MONDAY_MS + 5,
            producers={("driftgauge-0", 3): (99, 4_712, MONDAY_MS + 4)},
            gaps=1,
            keys=1_234,
            lost_to_ms=MONDAY_MS - HOUR_MS,
        ),
        b'["position",{}]',
    ),
    "accepted_loss": (AcceptedLossKey(), AcceptedLoss(MONDAY_MS), b'["accepted_loss",{}]'),
    "sources": (
        SourcesKey("embeddings", 1),
        SourceBlock(
            "00ff", (), 66, np.array([[900, MONDAY_MS, MONDAY_MS + 9, MONDAY_MS], [-1, 0, NULL, 1]]), (1,)
        ),
        b'["sources",{"topic":"embeddings","block":1}]',
    ),
    "stream": (
        StreamKey("resnet18-fc1"),
        StreamStatus(
            watermark_ms=MONDAY_MS,
            pending_watermark=(MONDAY_MS + HOUR_MS, MONDAY_MS + 9),
            foremost=((MONDAY_MS, MONDAY_MS + 7), (MONDAY_MS + HOUR_MS, MONDAY_MS + 9)),
            given_up=frozenset({("embeddings", 7), ("embeddings", 3)}),
            losses=(DataLoss(("embeddings", 3), None, MONDAY_MS),),
            counted_twice=((MONDAY_MS, MONDAY_MS + 1),),
            late={HOUR_MS: 12},
            closed={(HOUR_MS, Verdict.OK): 5, (HOUR_MS, Verdict.DRIFT): 2},
            purged_ms=MONDAY_MS - HOUR_MS,
        ),
        b'["stream",{"stream":"resnet18-fc1"}]',
    ),
    "time": (
        EventTimeKey("resnet18-fc1", "embeddings", 1),
        EventTimes(np.array([[MONDAY_MS, MONDAY_MS + 9], [NULL, NULL]])),
        b'["time",{"stream":"resnet18-fc1","topic":"embeddings","block":1}]',
    ),
}
