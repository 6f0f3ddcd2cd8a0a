"""Golden changelog records: the key, the value and the bytes of each kind, as schemas/ shows them."""

import math

import numpy as np
import pytest

from driftgauge.core.counting.examples import Example
from driftgauge.core.statistics.duplicates import Duplicates
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.statistics.overdispersion import OverdispersionEstimator
from driftgauge.core.statistics.power import Detectable
from driftgauge.core.statistics.spread import Spread, SpreadChange
from driftgauge.core.windows.changelog import (
    DataLoss,
    EventTimeKey,
    ExamplesKey,
    HistoryKey,
    PaneKey,
    PositionKey,
    PublishedKey,
    ShardPosition,
    SourceBlock,
    SourcesKey,
    StreamKey,
    StreamStatus,
)
from driftgauge.core.windows.evidence import Evidence, Kind
from driftgauge.core.windows.result import Score, Verdict, VerdictMemory
from driftgauge.core.windows.verdict import VerdictHistory
from driftgauge.core.windows.window import Window
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.results import build_result, build_small_segment

NULL = -(2**63)
IDENTITY = "0123456789abcdef" * 4
PANE = Window(HOUR_MS, MONDAY_MS)
SCHEME = f"{IDENTITY[:16]}-89abcdef"
RECALL = VerdictMemory((False, True), 2.5, {("country", "de"): (False,)})
RESULT = (
    '{"result":{"stream":"resnet18-fc1","window":"1h","start":"2025-11-03T00:00:00Z",'
    '"end":"2025-11-03T01:00:00Z","revision":2,"count":320,"verdict":"drift","js_divergence":0.125,'
    '"js_distance":0.375,"noise_floor":0.03125,"js_excess":0.09375,"js_p_value":1e-9,"mean_shift":'
    '{"t2":80.0,"p_value":1e-12,"leading_p_value":1e-13,"excess":0.25,"centroid_distance":1.5,"centroid_p_value":1e-10,'
    '"components":[0.75,0.25]},"p_value":1e-11,"calibrated":true,"novelty":0.0625,"novelty_excess":0.046875,"novelty_p_value":1e-7,"spread":{"components":{"change":0.25,"outliers":0.125,"excess":0.1875,"p_value":1e-8},"residual":null},"duplicates":{"share":0.25,"p_value":1e-6},"evidence":{"mix":0.5,"shift":0.25,"novelty":0.125,"spread":0.0625,"duplicates":0.0625},"kind":"mix","detectable":{"js_divergence":0.015625,"mean_shift":null,"novelty":0.03125,"spread":0.0625,"duplicates":0.125},"slow_drift":'
    '{"statistic":4.0,"limit":6.5},"baseline":"sha256:' + IDENTITY + '",'
    '"incomplete":[],"incomplete_reason":null,"events_lost":false,"counted_twice":true,"clusters":[{"id":0,"count":80,"share":0.25,"baseline_share":0.5,'
    '"js_contribution":0.0625,"novelty_contribution":0.0625},{"id":1,"count":240,"share":0.75,"baseline_share":0.5,"js_contribution":0.0625,"novelty_contribution":-0.015625}],'
    '"movers":[0,1],"examples":[{"cluster":1,"event_ids":["0193f3a2","köln"]}],"segments":[{"key":"country",'
    '"value":"other","count":3,"js_divergence":null,"js_excess":null,"mean_shift_excess":null,"novelty_excess":null,"spread_excess":null,"p_value":null,'
    '"adjusted_p_value":null,"calibrated":null,"verdict":"insufficient"}]},"baseline_counts":[500,500],'
    '"published_ms":1762131600000,"superseded":"incomplete","slow_limit":6.5,"recall":{"recent":[false,true],'
    '"slow":2.5,"segments":[{"key":"country","value":"de","recent":[false]}]}}'
)
HISTORY = (
    '{"baseline":"sha256:' + IDENTITY + '","end_ms":1762131600000,"recall":{"recent":[false,true],'
    '"slow":2.5,"segments":[{"key":"country","value":"de","recent":[false]}]},'
    '"warm_up":[1760918400000,1762128000000],"components":2,"clean":{"windows":24,"chi_squared":70.5,'
    '"products":"AAAAAAAAPEAAAAAAAADgvwAAAAAAAOC/AAAAAAAAOUA=","distances":[30.0,26.5,24.0,25.0]},"segments":[{"key":"country","value":"de",'
    '"clean":{"windows":2,"chi_squared":3.5,"products":"AAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACEA=","distances":[0.0,0.0,0.0,0.0]}}]}'
)
POSITION = (
    '{"shards":16,"offset":4711,"log_ms":1762128000005,"writer":"driftgauge-windows-1",'
    '"producers":[{"producer":"driftgauge-0","epoch":3,"commit":99,"log_ms":1762128000004}],'
    '"gaps":1,"overlaps":0,"orphans":0}'
)
STATUS = (
    '{"watermark_ms":1762128000000,"final_ms":null,"frontier":[1762131600000,1762128000009],'
    '"foremost":[[1762128000000,1762128000007],[1762131600000,1762128000009]],'
    '"given_up":[{"topic":"embeddings","partition":3},{"topic":"embeddings","partition":7}],'
    '"losses":[{"topic":"embeddings","partition":3,"from_ms":null,"to_ms":1762128000000}],'
    '"counted_twice":[[1762128000000,1762128000001]],"late":[{"size_ms":3600000,"count":12}],'
    '"closed":[{"size_ms":3600000,"count":2,"verdict":"drift"},{"size_ms":3600000,"count":5,"verdict":"ok"}],'
    '"revised":[{"size_ms":3600000,"count":1}],"alarms":[3600000]}'
)
EXAMPLE = '[[0,51966,"0193f3a2"],[0,48879000,"köln"],[7,12,"0193f3a3"]]'
GOLDEN = {
    "pane": (
        PaneKey("resnet18-fc1", SCHEME, PANE),
        np.array([0, 7, 300, 3, -2, 2**33], np.int64),
        b"pane/resnet18-fc1/0123456789abcdef-89abcdef/3600000/1762128000000",
        "01  02 04000000 02000000 0000 0700 2c01 0300 feffffffffffffff 0000000002000000",
    ),
    "segment": (
        PaneKey("resnet18-fc1", SCHEME, PANE, ("city/country", "köln, de")),
        np.array([1, 0, 0, 0, -5, 6], np.int64),
        b"segment/resnet18-fc1/0123456789abcdef-89abcdef/3600000/1762128000000/city%2Fcountry/k%C3%B6ln%2C%20de",
        "01  01 04000000 02000000 01 00 00 00 fbffffffffffffff 0600000000000000",
    ),
    "examples": (
        ExamplesKey("resnet18-fc1", SCHEME, PANE),
        (Example(0, 51_966, "0193f3a2"), Example(0, 48_879_000, "köln"), Example(7, 12, "0193f3a3")),
        b"examples/resnet18-fc1/0123456789abcdef-89abcdef/3600000/1762128000000",
        "01" + EXAMPLE.encode().hex(),
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
            score=Score(
                js_divergence=0.125,
                js_distance=0.375,
                contributions=np.array([0.0625, 0.0625]),
                noise_floor=0.03125,
                js_excess=0.09375,
                js_p_value=1e-9,
                mean_shift=MeanShift(
                    t2=80.0,
                    p_value=1e-12,
                    leading_p_value=1e-13,
                    centroid_distance=1.5,
                    centroid_p_value=1e-10,
                    excess=0.25,
                    shares=np.array([0.75, 0.25]),
                ),
                novelty=Novelty(0.0625, 0.046875, 1e-7, np.array([0.0625, -0.015625])),
                spread=Spread(SpreadChange(0.25, 0.125, 0.1875, 1e-8), None),
                duplicates=Duplicates(0.25, 1e-6),
                p_value=1e-11,
                evidence=Evidence(0.5, 0.25, 0.125, 0.0625, 0.0625),
                kind=Kind.MIX,
                detectable=Detectable(0.015625, math.inf, 0.03125, 0.0625, 0.125),
                calibrated=True,
            ),
            verdict=Verdict.DRIFT,
            superseded=Verdict.INCOMPLETE,
            slow_drift=4.0,
            segments=(build_small_segment("other"),),
            examples={1: ("0193f3a2", "köln")},
            memory=RECALL,
            counted_twice=True,
        ),
        b"published/resnet18-fc1/3600000/1762128000000",
        "01" + RESULT.encode().hex(),
    ),
    "history": (
        HistoryKey("resnet18-fc1", HOUR_MS),
        VerdictHistory(
            baseline_id=f"sha256:{IDENTITY}",
            end_ms=MONDAY_MS + HOUR_MS,
            memory=RECALL,
            warm_up=(MONDAY_MS - 14 * 24 * HOUR_MS, MONDAY_MS),
            clean=OverdispersionEstimator(
                24, 70.5, np.array([[28.0, -0.5], [-0.5, 25.0]]), np.array([30.0, 26.5, 24.0, 25.0])
            ),
            segments={("country", "de"): OverdispersionEstimator(2, 3.5, np.diag([2.0, 3.0]), np.zeros(4))},
        ),
        b"history/resnet18-fc1/3600000",
        "01" + HISTORY.encode().hex(),
    ),
    "position": (
        PositionKey(),
        ShardPosition(
            shards=16,
            offset=4_711,
            log_ms=MONDAY_MS + 5,
            writer="driftgauge-windows-1",
            producers={("driftgauge-0", 3): (99, MONDAY_MS + 4)},
            gaps=1,
        ),
        b"position",
        "01" + POSITION.encode().hex(),
    ),
    "sources": (
        SourcesKey("embeddings", 1),
        SourceBlock("00ff", (), 66, np.array([[900, MONDAY_MS, MONDAY_MS + 9, MONDAY_MS], [-1, 0, NULL, 1]])),
        b"sources/embeddings/1",
        "01  42000000 04 30306666  02 04"
        "8403000000000000 007403479a010000 097403479a010000 007403479a010000"
        "ffffffffffffffff 0000000000000000 0000000000000080 0100000000000000",
    ),
    "stream": (
        StreamKey("resnet18-fc1"),
        StreamStatus(
            watermark_ms=MONDAY_MS,
            frontier=(MONDAY_MS + HOUR_MS, MONDAY_MS + 9),
            foremost=((MONDAY_MS, MONDAY_MS + 7), (MONDAY_MS + HOUR_MS, MONDAY_MS + 9)),
            given_up=frozenset({("embeddings", 7), ("embeddings", 3)}),
            losses=(DataLoss(("embeddings", 3), None, MONDAY_MS),),
            counted_twice=((MONDAY_MS, MONDAY_MS + 1),),
            late={HOUR_MS: 12},
            closed={(HOUR_MS, Verdict.OK): 5, (HOUR_MS, Verdict.DRIFT): 2},
            revised={HOUR_MS: 1},
            alarms=frozenset({HOUR_MS}),
        ),
        b"stream/resnet18-fc1",
        "01" + STATUS.encode().hex(),
    ),
    "time": (
        EventTimeKey("resnet18-fc1", "embeddings", 1),
        np.array([[MONDAY_MS, MONDAY_MS + 9], [NULL, NULL]]),
        b"time/resnet18-fc1/embeddings/1",
        "01  02 02 007403479a010000 097403479a010000 0000000000000080 0000000000000080",
    ),
}
# The values of these kinds are JSON after the version byte.
JSON = {"position": POSITION, "stream": STATUS, "examples": EXAMPLE, "published": RESULT, "history": HISTORY}
RECORD = pytest.mark.parametrize(
    ("key", "value"),
    [(raw, bytes.fromhex(text)) for _, _, raw, text in GOLDEN.values()],
    ids=GOLDEN.keys(),
)
