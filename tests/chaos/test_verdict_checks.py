"""Tests that the recomputed verdicts agree with the service's and with no others."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from driftgauge.core.windows.result import WindowResult
from driftgauge.records.window_results import result_key, result_record
from tests.builders.clocks import MONDAY_MS, SECOND_MS
from tests.builders.references import build_reference, measured
from tests.builders.specs import ALARM, build_spec
from tests.chaos.results import PublishedRevision
from tests.chaos.verdict_checks import check_verdicts
from tests.core.shard import Shard

SPEC = build_spec(
    reference=measured(build_reference(count=200)),
    sizes_ms=(SECOND_MS, 4 * SECOND_MS),
    disorder_ms=500,
    lateness_ms=4 * SECOND_MS,
)


def mixed(second: int, mix: tuple[int, ...], start: int = 0) -> list[tuple[int, int]]:
    """Return the events of one second, with a count for each cluster: (time, cluster)."""
    clusters = [cluster for cluster, number in enumerate(mix) for _ in range(number)]
    first_ms = MONDAY_MS + SECOND_MS * second + start
    return [(first_ms + offset, cluster) for offset, cluster in enumerate(clusters)]


QUIET, MOVED, ODD, MORE = (80, 60, 40, 20), (20, 60, 40, 80), (60, 60, 45, 35), (0, 0, 0, 60)
EMPTY = (0, 0, 0, 0)
MIXES = (
    *(QUIET, MOVED, QUIET, MOVED, EMPTY, MOVED, QUIET, MOVED, EMPTY, EMPTY, MOVED, QUIET),
    *(ODD, ODD, ODD, ODD, ODD, ODD, QUIET),
)


def published(results: list[WindowResult]) -> list[PublishedRevision]:
    """Return the published results, in commit order."""
    return [
        PublishedRevision(result_key(result).decode(), orjson.loads(result_record(result, None)), number)
        for number, result in enumerate(results)
    ]


@pytest.fixture(scope="module")
def results() -> list[PublishedRevision]:
    """Windows with and without drift, two revised after later ones closed, under several owners."""
    shard = Shard(SPEC)
    found: list[WindowResult] = []
    baseline = SPEC.baselines[0].reference.key
    for second, mix in enumerate(MIXES):
        shard.read(*mixed(second, mix), baseline=baseline)
        found += shard.commit(after_ms=SECOND_MS)
        if second in {3, 9}:
            shard.read(*mixed(second - 2, MORE, start=500), baseline=baseline)
            found += shard.commit(after_ms=SECOND_MS)
        if second % 3 == 2:
            shard.restart()
    return published(found)


def test_service_verdicts_pass(results: list[PublishedRevision]) -> None:
    check = check_verdicts(results, ALARM.level)
    assert check.passed, check.mismatches
    assert check.checked == 2 * len(results)
    assert {result.document["verdict"] for result in results} == {"ok", "warning", "drift"}
    assert {result.revision for result in results} >= {0, 1}


def test_changed_verdict_or_slow_drift_and_missing_window_fail(results: list[PublishedRevision]) -> None:
    for index, result in enumerate(results):
        verdict = {"verdict": "drift" if result.document["verdict"] != "drift" else "ok"}
        slow_drift = {"slow_drift": {**result.document["slow_drift"], "statistic": 0.123}}
        for change in (verdict, slow_drift):
            wrong = [*results]
            wrong[index] = replace(result, document={**result.document, **change})
            assert not check_verdicts(wrong, ALARM.level).passed
    seconds = [result for result in results if result.key[1] == "1s"]
    without_the_first_drift = [
        result for result in seconds if not result.document["start"].endswith(("01Z", "02Z"))
    ]
    assert not check_verdicts(without_the_first_drift, ALARM.level).passed


@pytest.mark.parametrize(
    "why", [{"incomplete": [{"topic": "t", "partition": 0}]}, {"incomplete_reason": "counted_twice"}]
)
def test_incomplete_window_has_no_verdict_or_slow_drift(
    results: list[PublishedRevision], why: dict[str, Any]
) -> None:
    document = {**results[0].document, **why}
    assert not check_verdicts([PublishedRevision("", document)], ALARM.level).passed
    document |= {"verdict": "incomplete", "slow_drift": None}
    assert check_verdicts([PublishedRevision("", document)], ALARM.level).passed
