"""Tests that every check passes on correct records and reports each wrong one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message

from tests.builders.page import record_tree
from tests.chaos.checks import (
    Check,
    check_dead_letters,
    check_gauges,
    check_log,
    check_replay,
    check_revisions,
    check_unmarked,
)
from tests.chaos.committed_reader import check_reads, fingerprint
from tests.chaos.final_checks import check_divergences, check_numbers
from tests.chaos.options import Options
from tests.chaos.report import Finding, Report, Status, summary
from tests.chaos.results import PublishedRevision, final_results
from tests.chaos.unclean_election import find_loss_metrics, is_marked
from tests.chaos.workload import CENTRES, PARTITIONS, Fault, Workload, WorkloadSpec
from tests.harness.gauges import expected_gauges
from tests.harness.scrape import Scrape

BASELINES = {"alpha": np.array([3, 1])}


def published(
    js_divergence: float | None, counts: tuple[int, ...] = (1, 3), verdict: str = "ok"
) -> PublishedRevision:
    window = {"stream": "alpha", "window": "1m", "start": "1970-01-01T00:00:00Z", "revision": 0}
    clusters = [{"count": count} for count in counts]
    document = {**window, "js_divergence": js_divergence, "clusters": clusters, "count": sum(counts)}
    return PublishedRevision("", {**document, "verdict": verdict})


# Of (1/4, 3/4) from (3/4, 1/4): 1 - H(1/4): their mean is even.
DIVERGENCE = 0.18872187554086717


@pytest.mark.parametrize(
    ("revision", "passes"),
    [
        (published(DIVERGENCE), True),
        (published(DIVERGENCE + 1e-8), False),
        (published(DIVERGENCE**0.5), False),
        (published(DIVERGENCE, counts=(3, 1)), False),
        (published(0.0, counts=(3, 1)), True),
        (published(None), False),
        (published(None, verdict="insufficient"), True),
        (published(None, verdict="incomplete"), True),
    ],
)
def test_divergence_must_match_counts(revision: PublishedRevision, passes: bool) -> None:
    assert check_divergences([revision], BASELINES).passed == passes


@pytest.mark.parametrize(
    ("count", "missing", "means", "passes"),
    [
        # As the service keeps 1 and 2 of [0, 4].
        (4, 0, (2.00003, 1.00002), True),
        (4, 0, (2.00003, 1.33333), False),
        (4, 0, (2.00003, None), False),
        (3, 0, (2.00003, 1.00002), False),
        (3, 1, (2.00003, 1.00002), False),
    ],
)
def test_every_number_must_be_in_its_cluster(
    count: int, missing: int, means: tuple[float | None, ...], passes: bool
) -> None:
    revision = published(None)
    of_clusters = [{"mean": mean} for mean in means]
    revision.document["numbers"] = {"blob": {"count": count, "missing": missing, "clusters": of_clusters}}
    centroids = {"alpha": CENTRES[[2, 1]].astype(np.float32)}
    assert check_numbers([revision], centroids).passed == passes


def test_count_must_match_clusters() -> None:
    sound = published(DIVERGENCE)
    wrong = PublishedRevision("", {**sound.document, "count": 5})
    assert not check_divergences([wrong], BASELINES).passed


RECORDS = [Message(topic="t", partition=0, offset=at, key=b"k", value=b"%d" % at) for at in (1, 2, 5)]
SEEN = [fingerprint(record) for record in RECORDS]


@pytest.mark.parametrize(
    ("seen", "passes"),
    [
        (SEEN, True),
        (SEEN[:2], True),
        (SEEN[1:], False),
        ([*SEEN, SEEN[-1]], False),
        ([SEEN[1], SEEN[0], SEEN[2]], False),
        ([SEEN[0], (SEEN[1][0], 0), SEEN[2]], False),
        ([*SEEN[:2], (("t", 0, 3), 7), SEEN[2]], False),
        ([*SEEN, (("t", 0, 6), 7)], False),
        ([], False),
    ],
    ids=["all", "not to the end", "hole", "twice", "back", "other content", "aborted", "cut off", "nothing"],
)
def test_committed_records_must_remain_in_order(
    seen: list[tuple[tuple[str, int, int], int]], passes: bool
) -> None:
    assert check_reads(seen, [], RECORDS).passed == passes


def test_reader_problems_fail() -> None:
    assert not check_reads(SEEN, ["offset out of range"], RECORDS).passed


@pytest.mark.parametrize("name", ["events_lost", "counted_twice", "incomplete"])
def test_window_with_mark_is_marked(name: str) -> None:
    document = {"events_lost": False, "counted_twice": False, "incomplete": []}
    assert not is_marked(document)
    assert is_marked({**document, name: [1]})


def test_loss_is_reported_by_positive_counter() -> None:
    lost = "driftgauge_offsets_skipped_total", (("place", "deleted"), ("topic", "t"))
    other = "driftgauge_offsets_skipped_total", (("place", "between"), ("topic", "t"))
    assert find_loss_metrics([Scrape("", {lost: 0.0, other: 3.0})]) == set()
    assert find_loss_metrics([Scrape("", {lost: 0.0}), Scrape("", {lost: 2.0})]) == {lost[0]}


OPTIONS = Options(events=1, disruptions=0, seconds=1.0, seed=1)
RIGHT, WRONG = Check("right", 1), Check("wrong", 1, ["1, not 2"])


@pytest.mark.parametrize(
    ("report", "finding", "status"),
    [
        (Report(OPTIONS, checks=[RIGHT], is_checked=True), Finding.EXACT, Status.PASSED),
        (Report(OPTIONS, checks=[RIGHT, WRONG], is_checked=True), Finding.WRONG, Status.FAILED),
        (Report(OPTIONS, checks=[RIGHT], is_checked=True, problems=["slow"]), Finding.EXACT, Status.MACHINE),
        (Report(OPTIONS, checks=[WRONG], problems=["slow"]), Finding.WRONG, Status.FAILED),
        (Report(OPTIONS, checks=[RIGHT], is_checked=True, failures=["ended"]), Finding.EXACT, Status.FAILED),
        (Report(OPTIONS, checks=[RIGHT], is_checked=True, dead_clients=["it"]), Finding.EXACT, Status.PASSED),
        (Report(OPTIONS, checks=[RIGHT]), Finding.UNCHECKED, Status.MACHINE),
    ],
    ids=["passed", "wrong", "slow", "wrong and slow", "replica failed", "dead client", "not all checked"],
)
def test_status_and_verdict(report: Report, finding: Finding, status: Status) -> None:
    assert (report.finding, report.status) == (finding, status)
    verdict = summary(report).splitlines()[-1]
    assert f"counts: {finding};" in verdict
    assert verdict.startswith("passed") == (status is Status.PASSED)


TOPIC = "events"


@pytest.fixture(scope="module")
def workload() -> Workload:
    return Workload.make(WorkloadSpec(2, 3_000, 30.0, live_from_ms=1_800_000_000_000, released_s=9.0))


def as_written(workload: Workload) -> list[Message]:
    messages = []
    for partition in range(PARTITIONS):
        for offset, row in enumerate(np.flatnonzero(workload.partition == partition).tolist()):
            value = workload.value(row)
            messages.append(Message(topic=TOPIC, partition=partition, offset=offset, value=value))
    return messages


def letter(message: Message, reason: str) -> Message:
    source = {"topic": TOPIC, "partition": message.partition(), "offset": message.offset()}
    headers = [(f"driftgauge.{name}", str(value).encode()) for name, value in source.items()]
    return Message(value=message.value(), headers=[*headers, ("driftgauge.reason", reason.encode())])


def letters(workload: Workload) -> list[Message]:
    by_value = {workload.value(row): Fault(int(workload.fault[row])) for row in range(len(workload))}
    faults = [(message, by_value[message.value() or b""]) for message in as_written(workload)]
    return [letter(message, fault.name.lower()) for message, fault in faults if fault is not Fault.NONE]


def result(
    start: str = "2025-11-03T00:00:00Z", revision: int = 0, counts: tuple[int, ...] = (3, 1)
) -> PublishedRevision:
    clusters = [
        {
            "id": number,
            "count": count,
            "share": count / sum(counts),
            "baseline_share": 1 / len(counts),
            "js_contribution": 0.125,
            "novelty_contribution": 0.0,
            "name": None,
        }
        for number, count in enumerate(counts)
    ]
    window = {"stream": "alpha", "window": "1m", "start": start, "end": start.replace("00Z", "59Z")}
    document = record_tree(revision=revision, count=sum(counts), clusters=clusters, **window)
    return PublishedRevision(f"alpha/1m/{start}", document)


LATER = "2025-11-03T00:01:00Z"
Listing = list[Any]


def drop(items: Listing) -> Listing:
    return items[:-1]


def repeat(items: Listing) -> Listing:
    return [*items, items[-1]]


def swap(items: Listing) -> Listing:
    return [items[1], items[0], *items[2:]]


@pytest.mark.parametrize("change", [drop, repeat, swap])
def test_changed_log_fails(workload: Workload, tmp_path: Path, change: Callable[[Listing], Listing]) -> None:
    correct = as_written(workload)
    check, paths = check_log(correct, workload, tmp_path)
    assert check.passed
    assert sum(len(path.read_bytes().splitlines()) for path in paths) == (~workload.late).sum()
    assert not check_log(change(correct), workload, tmp_path)[0].passed


@pytest.mark.parametrize("change", [drop, repeat])
def test_changed_dead_letters_fail(workload: Workload, change: Callable[[Listing], Listing]) -> None:
    correct = letters(workload)
    assert check_dead_letters(correct, workload, TOPIC).passed
    assert len(check_dead_letters(change(correct), workload, TOPIC).mismatches) == 1


def test_dead_letters_of_valid_events_or_wrong_reason_fail(workload: Workload) -> None:
    correct = letters(workload)
    valid = Message(partition=0, offset=int(np.argmin(workload.fault[workload.partition == 0])), value=b"{}")
    assert not check_dead_letters([*correct, letter(valid, "late")], workload, TOPIC).passed
    source = dict(correct[0].headers() or [])
    offset = int(source["driftgauge.offset"])
    partition = int(source["driftgauge.partition"])
    late = letter(Message(partition=partition, offset=offset, value=correct[0].value()), "late")
    assert not check_dead_letters([late, *correct[1:]], workload, TOPIC).passed


KEY = ("alpha", "1m", 0)


@pytest.mark.parametrize(
    "wrong",
    [
        [result(), result()],
        [result(revision=1)],
        [result(), result(revision=2, counts=(4, 1))],
        [result(revision=1), result()],
        [result(), result(revision=1, counts=(2, 9))],
        [PublishedRevision("alpha/1m/another", result().document)],
    ],
    ids=["twice", "no first", "a gap", "backwards", "a decreased count", "another key"],
)
def test_wrong_revisions_fail(wrong: list[PublishedRevision]) -> None:
    assert check_revisions([result(), result(LATER), result(revision=1, counts=(4, 1))]).passed
    assert not check_revisions(wrong).passed


@pytest.mark.parametrize(
    ("mark", "passes"),
    [
        ({}, True),
        ({"events_lost": True}, False),
        ({"counted_twice": True}, False),
        ({"incomplete_reason": "counted_otherwise"}, False),
    ],
)
def test_marked_window_fails(mark: dict[str, Any], passes: bool) -> None:
    unmarked = {"events_lost": False, "counted_twice": False, "incomplete_reason": None}
    assert check_unmarked([PublishedRevision("", {**result().document, **unmarked, **mark})]).passed == passes


def gauges_check(changes: dict[str, float | None], other: str = "") -> Check:
    """One replica shows what was published, with changes by the metric's name; another shows a metric too."""
    final = final_results([result(), result(LATER, revision=1)])
    correct = expected_gauges({key: each.document for key, each in final.items()})
    wrong = {series: changes.get(series[0], value) for series, value in correct.items()}
    shown = {series: value for series, value in wrong.items() if value is not None}
    others = {series: value for series, value in correct.items() if series[0] == other}
    return check_gauges({"replica-1": Scrape("", shown), "replica-2": Scrape("", others)}, final)


@pytest.mark.parametrize("value", [None, 99.0])
@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("driftgauge_window_events", 1),
        ("driftgauge_window_end_timestamp_seconds", 1),
        ("driftgauge_window_js_divergence", 1),
        ("driftgauge_window_slow_drift_ratio", 1),
        ("driftgauge_window_verdict", 6),
        ("driftgauge_window_cluster_ratio", 2),
        ("driftgauge_window_cluster_contribution", 2),
    ],
)
def test_wrong_gauges_fail(name: str, series: int, value: float | None) -> None:
    assert gauges_check({}).passed
    assert len(gauges_check({name: value}).mismatches) == series
    assert len(gauges_check({}, other=name).mismatches) == series


def test_replay_with_few_windows_of_other_counts_passes() -> None:
    keys = [("alpha", "1m", number) for number in range(20)]
    replayed = dict.fromkeys(keys, result())
    for differing, passes in ((1, True), (2, True), (3, False)):
        final = {**replayed, **dict.fromkeys(keys[:differing], result(counts=(4, 0)))}
        assert check_replay(replayed, final, keys).passed == passes
    late = {("alpha", "1m", -1): result()}
    assert check_replay({**replayed, **late}, replayed, keys).passed


def changed(name: str, value: object) -> PublishedRevision:
    return PublishedRevision(result().name, {**result().document, name: value})


@pytest.mark.parametrize(
    ("replayed", "published", "passes"),
    [
        ({KEY: result()}, {KEY: result(revision=2)}, True),
        ({KEY: changed("verdict", "warning")}, {KEY: result()}, True),
        ({KEY: changed("slow_drift", None)}, {KEY: result()}, True),
        ({KEY: changed("p_value", 0.5)}, {KEY: result()}, False),
        ({KEY: changed("js_divergence", 0.0)}, {KEY: result()}, False),
        ({KEY: changed("findings", None)}, {KEY: result()}, False),
        ({KEY: result()}, {}, False),
        ({}, {KEY: result()}, False),
    ],
)
def test_replay_may_differ_in_revision_verdict_and_slow_drift_only(
    replayed: dict[Any, Any], published: dict[Any, Any], passes: bool
) -> None:
    assert check_replay(replayed, published, [KEY]).passed == passes


def test_check_without_comparison_fails() -> None:
    assert not Check("nothing").passed
