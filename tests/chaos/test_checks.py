"""Tests that every check passes on correct records and reports each wrong one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message

from tests.builders.page import record_tree
from tests.chaos.brokers import find_loss_metrics
from tests.chaos.checks import (
    FULL_ROUND,
    LATE,
    Check,
    check_burst,
    check_counts,
    check_dead_letters,
    check_divergences,
    check_gauges,
    check_late,
    check_log,
    check_nothing_closed_early,
    check_numbers,
    check_replay,
    check_revisions,
    check_unmarked,
    late_totals,
)
from tests.chaos.committed_reader import check_reads, fingerprint
from tests.chaos.plan import Options
from tests.chaos.report import Finding, Report, Status, summary
from tests.chaos.windows import ExpectedCounts, PublishedRevision, final_results
from tests.chaos.workload import CENTRES, PARTITIONS, Fault, Workload, WorkloadSpec
from tests.harness.gauges import expected_gauges
from tests.harness.scrape import Scrape

START, LATER = "2025-11-03T00:00:00Z", "2025-11-03T00:01:00Z"
Listing = list[Any]


def result(written_ms: int = 0, counts: tuple[int, ...] = (3, 1), **changes: Any) -> PublishedRevision:
    """Return a published result of these counts, with changes of its fields."""
    of_cluster = {"baseline_share": 1 / len(counts), "js_contribution": 0.125, "novelty_contribution": 0.0}
    clusters = [
        {**of_cluster, "id": number, "count": count, "share": count / sum(counts), "name": None}
        for number, count in enumerate(counts)
    ]
    start = changes.get("start", START)
    window = {"stream": "alpha", "window": "1m", "start": start, "end": start.replace("00Z", "59Z")}
    marks = {"events_lost": False, "counted_twice": False, "incomplete_reason": None}
    document = record_tree(revision=0, count=sum(counts), clusters=clusters, **window)
    return PublishedRevision(f"alpha/1m/{start}", document | marks | changes, written_ms)


# Of (1/4, 3/4) from (3/4, 1/4): 1 - H(1/4): their mean is even.
DIVERGENCE = 0.18872187554086717


@pytest.mark.parametrize(
    ("counts", "changes", "passes"),
    [
        ((1, 3), {"js_divergence": DIVERGENCE}, True),
        ((1, 3), {"js_divergence": DIVERGENCE + 1e-8}, False),
        ((1, 3), {"js_divergence": DIVERGENCE**0.5}, False),
        ((3, 1), {"js_divergence": DIVERGENCE}, False),
        ((3, 1), {"js_divergence": 0.0}, True),
        ((1, 3), {"js_divergence": DIVERGENCE, "count": 5}, False),
        ((1, 3), {"js_divergence": None, "verdict": "ok"}, False),
        ((1, 3), {"js_divergence": None, "verdict": "insufficient"}, True),
        ((1, 3), {"js_divergence": None, "verdict": "incomplete"}, True),
    ],
)
def test_divergence_and_count_must_match_counts(
    counts: tuple[int, ...], changes: dict[str, Any], passes: bool
) -> None:
    revision = result(counts=counts, **changes)
    assert check_divergences([revision], {"alpha": np.array([3, 1])}).passed == passes


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
    blob = {"count": count, "missing": missing, "clusters": [{"mean": mean} for mean in means]}
    centroids = {"alpha": CENTRES[[2, 1]].astype(np.float32)}
    assert check_numbers([result(counts=(1, 3), numbers={"blob": blob})], centroids).passed == passes


RECORDS = [Message(topic="t", partition=0, offset=at, key=b"k", value=b"%d" % at) for at in (1, 2, 5)]
SEEN = [fingerprint(record) for record in RECORDS]


@pytest.mark.parametrize(
    ("seen", "problems", "passes"),
    [
        (SEEN, [], True),
        (SEEN[:2], [], True),
        (SEEN[1:], [], False),
        ([*SEEN, SEEN[-1]], [], False),
        ([SEEN[1], SEEN[0], SEEN[2]], [], False),
        ([SEEN[0], (SEEN[1][0], 0), SEEN[2]], [], False),
        ([*SEEN[:2], (("t", 0, 3), 7), SEEN[2]], [], False),
        ([*SEEN, (("t", 0, 6), 7)], [], False),
        ([], [], False),
        (SEEN, ["offset out of range"], False),
    ],
    ids=[
        *("all", "not to the end", "hole", "twice", "back", "other content", "aborted", "cut off", "nothing"),
        "problem",
    ],
)
def test_committed_records_must_remain_in_order(seen: Listing, problems: list[str], passes: bool) -> None:
    assert check_reads(seen, problems, RECORDS).passed == passes


def test_loss_is_reported_by_positive_counter() -> None:
    lost = "driftgauge_offsets_skipped_total", (("place", "deleted"), ("topic", "t"))
    other = "driftgauge_offsets_skipped_total", (("place", "between"), ("topic", "t"))
    assert find_loss_metrics([Scrape({lost: 0.0, other: 3.0})]) == set()
    assert find_loss_metrics([Scrape({lost: 0.0}), Scrape({lost: 2.0})]) == {lost[0]}


OPTIONS = Options(events=1, disruptions=0, seconds=1.0, seed=1)
RIGHT, WRONG = Check("right", 1), Check("wrong", 1, ["1, not 2"])


@pytest.mark.parametrize(
    ("report", "finding", "status"),
    [
        (Report(OPTIONS, checks=[RIGHT], is_checked=True), Finding.EXACT, Status.PASSED),
        (Report(OPTIONS, checks=[RIGHT, WRONG], is_checked=True), Finding.WRONG, Status.FAILED),
        (Report(OPTIONS, checks=[Check("nothing")], is_checked=True), Finding.WRONG, Status.FAILED),
        (Report(OPTIONS, checks=[RIGHT], is_checked=True, problems=["slow"]), Finding.EXACT, Status.MACHINE),
        (Report(OPTIONS, checks=[WRONG], problems=["slow"]), Finding.WRONG, Status.FAILED),
        (Report(OPTIONS, checks=[RIGHT], is_checked=True, failures=["ended"]), Finding.EXACT, Status.FAILED),
        (Report(OPTIONS, checks=[RIGHT], is_checked=True, dead_clients=["it"]), Finding.EXACT, Status.PASSED),
        (Report(OPTIONS, checks=[RIGHT]), Finding.UNCHECKED, Status.MACHINE),
    ],
    ids=[
        *("passed", "wrong", "nothing compared", "slow", "wrong and slow", "replica failed", "dead client"),
        "not all checked",
    ],
)
def test_status_and_verdict(report: Report, finding: Finding, status: Status) -> None:
    assert (report.finding, report.status) == (finding, status)
    verdict = summary(report).splitlines()[-1]
    assert f"counts: {finding};" in verdict
    assert verdict.startswith("passed") == (status is Status.PASSED)


TOPIC = "events"
WORKLOAD = Workload.make(WorkloadSpec(2, 3_000, 30.0, live_from_ms=1_800_000_000_000, released_s=9.0))
ROWS = [
    (partition, offset, row)
    for partition in range(PARTITIONS)
    for offset, row in enumerate(np.flatnonzero(WORKLOAD.partition == partition).tolist())
]
LOG = [
    Message(topic=TOPIC, partition=partition, offset=offset, value=WORKLOAD.value(row))
    for partition, offset, row in ROWS
]


def letter(message: Message, reason: str) -> Message:
    source = {"topic": TOPIC, "partition": message.partition(), "offset": message.offset(), "reason": reason}
    headers = [(f"driftgauge.{name}", str(value).encode()) for name, value in source.items()]
    return Message(value=message.value(), headers=headers)


FAULTY = [
    (message, Fault(int(WORKLOAD.fault[row])).name.lower())
    for message, (*_, row) in zip(LOG, ROWS, strict=True)
    if WORKLOAD.fault[row]
]
LETTERS = [letter(message, reason) for message, reason in FAULTY]


@pytest.mark.parametrize(
    "wrong", [LOG[:-1], [*LOG, LOG[-1]], [LOG[1], LOG[0], *LOG[2:]]], ids=["missing", "twice", "swapped"]
)
def test_changed_log_fails(tmp_path: Path, wrong: list[Message]) -> None:
    check, paths = check_log(LOG, WORKLOAD, tmp_path)
    assert check.passed
    assert sum(len(path.read_bytes().splitlines()) for path in paths) == (~WORKLOAD.late).sum()
    assert not check_log(wrong, WORKLOAD, tmp_path)[0].passed


@pytest.mark.parametrize(
    "wrong",
    [
        LETTERS[:-1],
        [*LETTERS, LETTERS[-1]],
        [*LETTERS, letter(LOG[0], "late")],
        [letter(FAULTY[0][0], "late"), *LETTERS[1:]],
    ],
    ids=["missing", "twice", "of a valid event", "another reason"],
)
def test_wrong_dead_letters_fail(wrong: list[Message]) -> None:
    assert not WORKLOAD.fault[ROWS[0][2]]
    assert check_dead_letters(LETTERS, WORKLOAD, TOPIC).passed
    assert len(check_dead_letters(wrong, WORKLOAD, TOPIC).mismatches) == 1


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
    assert check_revisions([result(), result(start=LATER), result(revision=1, counts=(4, 1))]).passed
    assert not check_revisions(wrong).passed


@pytest.mark.parametrize(
    "mark", [{"events_lost": True}, {"counted_twice": True}, {"incomplete_reason": "counted_otherwise"}]
)
def test_marked_window_fails(mark: dict[str, Any]) -> None:
    assert check_unmarked([result()]).passed
    assert not check_unmarked([result(**mark)]).passed


def gauges_check(changes: dict[str, float | None], other: str = "") -> Check:
    """One replica shows what was published, with changes by the metric's name; another shows a metric too."""
    final = final_results([result(), result(start=LATER, revision=1)])
    correct = expected_gauges({key: each.document for key, each in final.items()})
    wrong = {series: changes.get(series[0], value) for series, value in correct.items()}
    shown = {series: value for series, value in wrong.items() if value is not None}
    others = {series: value for series, value in correct.items() if series[0] == other}
    return check_gauges({"replica-1": Scrape(shown), "replica-2": Scrape(others)}, final)


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
    ],
)
def test_wrong_gauges_fail(name: str, series: int, value: float | None) -> None:
    assert gauges_check({}).passed
    assert len(gauges_check({name: value}).mismatches) == series
    assert len(gauges_check({}, other=name).mismatches) == series


KEY, OLD, OTHER = ("alpha", "1m", 600_000), ("alpha", "1m", 0), ("alpha", "5m", 600_000)
TWENTY = dict.fromkeys([("alpha", "1m", number) for number in range(20)], result())


@pytest.mark.parametrize(
    ("replayed", "final", "passes"),
    [
        ({KEY: result()}, {KEY: result(revision=2)}, True),
        ({KEY: result(verdict="warning")}, {KEY: result()}, True),
        ({KEY: result(slow_drift=None)}, {KEY: result()}, True),
        ({KEY: result(p_value=0.5)}, {KEY: result()}, False),
        ({KEY: result(js_divergence=0.0)}, {KEY: result()}, False),
        ({KEY: result(findings=None)}, {KEY: result()}, False),
        ({KEY: result()}, {}, False),
        ({}, {KEY: result()}, False),
        # At most a tenth of the windows may have another count, since replay has no late events.
        (TWENTY, TWENTY | dict.fromkeys([*TWENTY][:2], result(counts=(4, 0))), True),
        (TWENTY, TWENTY | dict.fromkeys([*TWENTY][:3], result(counts=(4, 0))), False),
    ],
)
def test_replay_may_differ_in_revision_verdict_and_slow_drift_only(
    replayed: dict[Any, Any], final: dict[Any, Any], passes: bool
) -> None:
    further = {("alpha", "1m", -1): result()}
    assert check_replay({**replayed, **further}, final, {**replayed, **final}).passed == passes


EXPECTED = ExpectedCounts(
    on_time={KEY: (1, 2), OTHER: (1, 2)},
    all={KEY: (2, 2), OLD: (0, 1), OTHER: (2, 2)},
)
CORRECT = {KEY: (1, 2), OTHER: (1, 2)}
SERIES = {("alpha", "1m"): [2], ("alpha", "5m"): [1]}


@pytest.mark.parametrize(
    ("found", "passes"),
    [
        (CORRECT, True),
        ({**CORRECT, KEY: (2, 2)}, True),
        ({**CORRECT, OLD: (0, 1)}, True),
        ({}, False),
        ({OTHER: (1, 2)}, False),
        ({**CORRECT, KEY: (0, 2)}, False),
        ({**CORRECT, KEY: (3, 2)}, False),
        ({**CORRECT, KEY: (1, 3)}, False),
        ({**CORRECT, KEY: (1, 2, 0)}, False),
        ({**CORRECT, OLD: (1, 0)}, False),
        ({**CORRECT, ("alpha", "1m", 60_000): (0, 1)}, False),
    ],
)
def test_counts_lie_between_events_on_time_and_all(found: dict[Any, Any], passes: bool) -> None:
    assert check_counts(found, EXPECTED).passed == passes


@pytest.mark.parametrize(
    ("found", "late", "passes"),
    [
        (CORRECT, SERIES, True),
        ({**CORRECT, OLD: (0, 1)}, {**SERIES, ("alpha", "1m"): [1]}, True),
        ({**CORRECT, KEY: (2, 2)}, SERIES, False),
        (CORRECT, {**SERIES, ("alpha", "1m"): [3]}, False),
        (CORRECT, {**SERIES, ("alpha", "1m"): [1, 1]}, False),
        (CORRECT, {("alpha", "1m"): [2]}, False),
        (EXPECTED.all, {("alpha", "1m"): [0], ("alpha", "5m"): [0]}, False),
        (CORRECT, {**SERIES, ("beta", "5m"): [1]}, False),
        (CORRECT, {**SERIES, ("beta", "5m"): [0]}, True),
    ],
)
def test_late_check_requires_counted_plus_late_equal_sent(
    found: dict[Any, Any], late: dict[Any, Any], passes: bool
) -> None:
    scrapes = [
        Scrape({(LATE, (("stream", stream), ("window", window))): float(number), ("other", ()): 9.0})
        for (stream, window), numbers in late.items()
        for number in numbers
    ]
    assert check_late(found, late_totals(scrapes), EXPECTED).passed == passes


@pytest.mark.parametrize(
    ("stream", "revision", "written_ms", "passes"),
    [("live", 0, 60_000, True), ("live", 0, 59_999, False), ("live", 1, 59_999, True), ("a", 0, 0, True)],
)
def test_window_published_before_end_fails(stream: str, revision: int, written_ms: int, passes: bool) -> None:
    window = {"start": "1970-01-01T00:00:30Z", "end": "1970-01-01T00:01:00Z"}
    valid = result(90_000, stream="live", **window)
    found = result(written_ms, stream=stream, revision=revision, **window)
    assert check_nothing_closed_early([valid, found], "live").passed == passes


@pytest.mark.parametrize(
    ("written_ms", "passes"),
    [
        # Two rounds, the first of them full.
        ([*range(1_000, 1_000 + FULL_ROUND), 2_500], True),
        ([999, *range(1_000, 1_000 + FULL_ROUND)], False),
        # As many windows, in rounds that are not full.
        ([1_000 + 500 * (number // 100) for number in range(FULL_ROUND)], False),
        ([], False),
    ],
)
def test_burst_must_wait_for_its_release_and_fill_a_round(written_ms: list[int], passes: bool) -> None:
    of_burst = [result(each, stream="minutes") for each in written_ms]
    others = [result(), result(stream="minutes", revision=1)]
    assert check_burst([*of_burst, *others], "minutes", 1_000.0).passed == passes
