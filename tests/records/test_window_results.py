"""Conversion of window results to records: the golden window results, from counts to JSON."""

import json
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings

from driftgauge.core.counting.examples import FarExample
from driftgauge.core.counting.numbers import Number
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.statistics.spread import Spread, SpreadChange
from driftgauge.core.window import Window
from driftgauge.records.descriptions import BaselineDescription, BaselineExamples
from driftgauge.records.window_record import WindowRecord
from driftgauge.records.window_results import result_key, result_record, to_record
from tests.builders.baselines import HOSTILE_NAMES
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.events import WINDOW_RESULTS, name
from tests.builders.results import (
    KINDS,
    STATISTICS,
    build_description,
    build_number,
    build_result,
    build_score,
    build_segment,
    build_small_segment,
    by_statistic,
)
from tests.builders.strategies import RESULTS as ANY_RESULT
from tests.examples import examples

BASELINE = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
EVEN = (500, 500)
THREE = (600, 300, 100)


build_golden = partial(
    build_result,
    stream="resnet18-fc1",
    baseline_counts=EVEN,
    baseline_id=BASELINE,
    published_ms=MONDAY_MS + 2 * DAY_MS,
    slow_drift_limit=6.75,
)
RESULTS = {
    "scored": build_golden(
        (553, 447),
        Window(DAY_MS, MONDAY_MS),
        score=build_score(
            (553, 447),
            EVEN,
            noise_floor=0.0003625,
            excess=0.0016704388410913926,
            js_p_value=0.0181,
            mean_shift=MeanShift(
                t2=5.625,
                p_value=0.0605,
                centroid_distance=0.0752,
                centroid_p_value=0.0413,
                excess=0.00725,
            ),
            p_value=0.0304,
            novelty=Novelty(0.013, 0.003, 0.18, np.array([0.00475, -0.00175])),
            calibrated=False,
        ),
        slow_drift=1.375,
        slow_drift_since_ms=MONDAY_MS - DAY_MS,
        numbers={
            "confidence": build_number(
                (0.5, 0.75, 2.0), (0.5, math.nan), baseline=((0.75, 1.0), (0.75, 0.25)), events=1_000
            ),
            "score": build_number((), (3.5,), number=Number("score", 1.0, 5.0), events=1_000),
        },
    ),
    "too-few-events": build_golden((1, 0), Window(500, MONDAY_MS + 500), revision=2),
    "incomplete-and-events-lost": build_golden(
        (0, 204),
        Window(DAY_MS, MONDAY_MS),
        revision=1,
        score=build_score(
            (0, 204),
            EVEN,
            noise_floor=0.001064,
            excess=0.310214,
            js_p_value=8.3e-65,
            mean_shift=MeanShift(
                t2=312.5,
                p_value=2.5e-68,
                centroid_distance=1.875,
                centroid_p_value=1.5e-70,
                excess=1.8325,
            ),
            p_value=4.4e-70,
            novelty=Novelty(0.0, -0.0101, 0.94, np.array([0.0, -0.0101])),
            kind="mix",
            evidence=by_statistic(1.0, 0.0, 0.0, 0.0, 0.0, names=KINDS),
        ),
        missing=(("backfill", 0), ("embeddings", 11)),
        events_lost=True,
        incomplete_reason=None,
    ),
    "drift-with-segments-and-examples": build_golden(
        (580, 120, 300),
        Window(DAY_MS, MONDAY_MS + DAY_MS),
        baseline_counts=THREE,
        score=build_score(
            (580, 120, 300),
            THREE,
            noise_floor=0.0007,
            excess=0.06591132385524594,
            js_p_value=3.1e-29,
            mean_shift=MeanShift(
                t2=410.5,
                p_value=2.2e-84,
                centroid_distance=1.25,
                centroid_p_value=4.7e-60,
                excess=0.817,
            ),
            p_value=6.6e-84,
            novelty=Novelty(0.0875, 0.0774, 1.5e-41, np.array([0.0, 0.0049, 0.0725])),
            spread=Spread(SpreadChange(0.21, 0.2, 3.5e-17), None),
            kind="shift",
            evidence=by_statistic(0.25, 0.75, 0.0, 0.0, 0.0, names=KINDS),
            detectable=by_statistic(0.02, math.inf, 0.03, 0.08, 0.07),
        ),
        verdict=Verdict.DRIFT,
        slow_drift=13.5,
        segments=(
            build_segment(
                "de",
                996,
                js_divergence=0.0611,
                excess=by_statistic(0.0603, 0.8125, 0.0774, 0.2, names=STATISTICS[:-1]),
                p_value=7.5e-82,
                adjusted_p_value=7.5e-82,
                verdict=Verdict.DRIFT,
            ),
            build_small_segment("other", 4),
        ),
        examples={1: ("0193f3a2-7c1e", "0193f3a2-7c2f"), 2: ("0193f3a2-9b04", "köln", "0193f3a2-8d51")},
        snippets={1: ("a red truck", "<b>zwei</b>")},
        farthest=(FarExample(2_125, 17, "0193f3a2-9b04", "a ship"), FarExample(1_001, 3, "köln")),
    ),
}

DESCRIPTIONS = {
    "drift-with-segments-and-examples": BaselineDescription(
        created_ms=MONDAY_MS - 7 * DAY_MS + 12 * HOUR_MS + 30 * MINUTE_MS,
        model_version=None,
        names=("automobile", "truck, automobile", None),
        positions=((-1.25, 0.5), (0.75, 2.0), (1.5, -0.125)),
        examples=(
            BaselineExamples(("b-17",), ("a blue car",)),
            BaselineExamples(),
            BaselineExamples(("b-3", "größe-<b>")),
        ),
        farthest=BaselineExamples(("b-99",), ("<i>ein Zug</i>",)),
    )
}


def read(text):
    """Return the record to twelve digits, since another processor may round a logarithm differently."""
    return json.loads(text, parse_float=lambda number: float(f"{float(number):.12g}"))


def test_golden_window_results_are_all_built():
    assert {name(path) for path in WINDOW_RESULTS} == set(RESULTS)


@pytest.mark.parametrize("path", WINDOW_RESULTS, ids=name)
def test_result_converts_to_golden_record(path):
    record = read(result_record(RESULTS[name(path)], DESCRIPTIONS.get(name(path))))
    golden = read(path.read_bytes())
    assert record == golden
    assert list(record) == list(golden), "in the contract's order"


@pytest.mark.parametrize("path", WINDOW_RESULTS, ids=name)
def test_record_without_later_fields_gets_defaults(path):
    document = json.loads(path.read_bytes())
    del document["counted_twice"], document["incomplete_reason"]
    record = WindowRecord.model_validate_json(json.dumps(document))
    assert record == WindowRecord.model_validate_json(path.read_bytes())
    assert (record.counted_twice, record.incomplete_reason) == (False, None)


def test_revisions_of_window_share_key():
    window = Window(DAY_MS, MONDAY_MS)
    keys = {result_key(build_golden((5 + n, 5), window, revision=n)) for n in range(3)}
    assert keys == {b"resnet18-fc1/1d/2025-11-03T00:00:00Z"}
    assert result_key(RESULTS["too-few-events"]) == b"resnet18-fc1/500ms/2025-11-03T00:00:00.500Z"


@settings(max_examples=examples(40))
@given(ANY_RESULT)
def test_written_record_is_one_of_the_schema(result):
    names = [f"{count}{HOSTILE_NAMES[count % len(HOSTILE_NAMES)]}" for count in result.counts]
    description = build_description(*names, example_ids=[("x",)] * len(names))
    written = result_record(result, description)
    assert b"\n" not in written
    record = WindowRecord.model_validate_json(written)
    assert record == to_record(result, description)
    assert [cluster.name for cluster in record.clusters] == names
    assert tuple(cluster.count for cluster in record.clusters) == tuple(result.counts.tolist())


def test_examples_of_baseline_are_those_of_movers():
    ids = [(f"b-{number}",) for number in range(5)]
    result = build_golden(
        (100, 200, 150, 50, 500),
        Window(DAY_MS, MONDAY_MS),
        baseline_counts=(300, 200, 250, 50, 200),
        examples={0: ("e-0",)},
    )
    record = to_record(result, build_description(*"abcde", example_ids=ids))
    assert record.movers == (4, 0, 2)
    assert [(each.cluster, each.event_ids, each.baseline_event_ids) for each in record.examples] == [
        (0, ("e-0",), ("b-0",)),
        (2, (), ("b-2",)),
        (4, (), ("b-4",)),
    ]


def test_window_that_is_not_scored_names_clusters_and_no_examples():
    result = build_golden((1, 0), Window(DAY_MS, MONDAY_MS), score=None)
    record = to_record(result, build_description("a", None, example_ids=[("x",), ("y",)]))
    assert [each.name for each in record.clusters] == ["a", None]
    assert record.clusters[1].position == (0.5, -1.0)
    assert record.examples == ()
