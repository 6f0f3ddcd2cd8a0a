"""Tests of the checks that follow a history: the chain of progress in the partials, and verdicts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from driftgauge.core.counting.partial import CommitId, CommitPart, PaneDelta, PartitionProgress
from driftgauge.core.counting.scheme import Scheme
from driftgauge.core.counting.tally import TallyField
from driftgauge.core.windows.result import WindowResult
from driftgauge.records.window_results import result_key, result_record
from tests.builders.clocks import MONDAY_MS, SECOND_MS
from tests.builders.references import build_reference, measured
from tests.builders.specs import ALARM, build_spec
from tests.chaos.checks import Check
from tests.chaos.history_checks import ProgressChain, check_chain_counters, check_partials, check_verdicts
from tests.chaos.windows import PublishedRevision
from tests.core.shard import Shard
from tests.harness.scrape import Scrape

TOPIC = "events"
SCHEME = Scheme("0123", 60_000, (), (TallyField("cluster_outliers", 2), TallyField("cluster_counts", 2)))
KEY = ("alpha", "1m", 60_000)


def progress(start: int, end: int, *, begins: bool = False, partition: int = 0) -> PartitionProgress:
    return PartitionProgress("id", 1, begins, 0, 0, None, (TOPIC, partition), start, end)


def commit(
    number: int, start: int, end: int, *, producer: str = "a", begins: bool = False
) -> list[CommitPart]:
    """Return two parts of a commit: the events of one pane, and the progress."""
    id_ = CommitId(producer, 0, number)
    values = np.array([9, 8, end - start, 0, -5])
    delta = PaneDelta("alpha", SCHEME, 60_000, None, values, end - start, ((TOPIC, 0), start))
    part = CommitPart(id_, 0, 2, 1, 0, (delta,), ())
    return [part, replace(part, index=1, panes=(), partitions=(progress(start, end, begins=begins),))]


def verify(parts: list[CommitPart], shards: int = 1) -> tuple[Check, ProgressChain]:
    chain = ProgressChain(TOPIC)
    for offset, part in enumerate(parts):
        chain.take(0, offset, part)
    return chain.finish({0: 30}, shards), chain


FIRST, SECOND, THIRD = commit(0, 0, 10, begins=True), commit(0, 10, 20, producer="b"), commit(1, 20, 30)


LOSSY = CommitPart(CommitId("c", 0, 0), 0, 1, 1, 0, (), (replace(progress(5, 9), partition=("lossy", 0)),))
OTHER = [replace(part, commit=CommitId("c", 0, 0)) for part in THIRD]


@pytest.mark.parametrize(
    "parts",
    [
        [*FIRST, *SECOND, *THIRD],
        [*FIRST, SECOND[0], OTHER[0], SECOND[1], OTHER[1]],
        [*FIRST, *SECOND, *THIRD, LOSSY],
    ],
    ids=["contiguous", "interleaved", "another topic"],
)
def test_contiguous_commits_pass(parts: list[CommitPart]) -> None:
    check, chain = verify(parts)
    assert check.passed, check.mismatches
    assert chain.counts() == {KEY: (30, 0)}
    assert check_partials(chain.counts(), {KEY: (30, 0), ("alpha", "5m", 0): (30, 0)}).passed


def without(part: str) -> list[CommitPart]:
    """Return commits of which the first has lost or skipped records."""
    first = replace(progress(0, 10, begins=True), **{part: 3})
    return [FIRST[0], replace(FIRST[1], partitions=(first,)), *SECOND, *THIRD]


@pytest.mark.parametrize(
    "wrong",
    [
        [*FIRST, *THIRD],
        [*FIRST, *SECOND, *commit(1, 10, 30)],
        [*FIRST, *SECOND, *SECOND],
        [*FIRST, *SECOND, *commit(1, 20, 30, begins=True)],
        [*commit(0, 0, 10), *SECOND, *THIRD],
        [FIRST[0], *SECOND, *THIRD],
        [FIRST[1], *SECOND, *THIRD],
        [*FIRST, *SECOND, *THIRD, commit(2, 30, 40)[0]],
        [*FIRST, *SECOND[::-1], *THIRD],
        [*FIRST, *SECOND],
        without("lost"),
        without("skipped"),
    ],
    ids=[
        "gap",
        "overlap",
        "twice",
        "begins again",
        "never began",
        "no progress",
        "no partial",
        "orphan",
        "in another order",
        "not to the end",
        "records lost",
        "records skipped",
    ],
)
def test_broken_chain_fails(wrong: list[CommitPart]) -> None:
    assert not verify(wrong)[0].passed
    assert not verify([*FIRST, *SECOND, *THIRD], shards=2)[0].passed


def test_missing_partial_fails_counts() -> None:
    second = replace(SECOND[1], index=0, parts=1)
    check, chain = verify([*FIRST, second, *THIRD])
    assert check.passed
    assert not check_partials(chain.counts(), {KEY: (30, 0)}).passed


@pytest.mark.parametrize(
    "wrong",
    [
        {KEY: (30, 1)},
        {},
        {KEY: (30, 0), ("alpha", "1m", 0): (1, 0)},
        {KEY: (30, 0), ("beta", "1m", 0): (1, 0)},
    ],
)
def test_wrong_partials_fail(wrong: dict[tuple[str, str, int], tuple[int, ...]]) -> None:
    assert not check_partials(wrong, {KEY: (30, 0)}).passed


def counters(change: Callable[[str, int], float | None]) -> Scrape:
    found = {
        ("driftgauge_partials_faults_total", (("reason", name), ("shard", str(shard)))): change(name, shard)
        for name in ("gap", "overlap", "orphans")
        for shard in range(2)
    }
    return Scrape({series: value for series, value in found.items() if value is not None})


def test_chain_counters_require_one_owner_at_zero() -> None:
    first = counters(lambda _, shard: 0.0 if shard == 0 else None)
    second = counters(lambda _, shard: 0.0 if shard == 1 else None)
    assert check_chain_counters({"a": first, "b": second}, 2).passed
    assert not check_chain_counters({"a": first}, 2).passed
    assert not check_chain_counters({"a": first, "b": second, "c": second}, 2).passed
    broken = counters(lambda name, shard: float(name == "gap") if shard == 1 else None)
    assert not check_chain_counters({"a": first, "b": broken}, 2).passed


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
