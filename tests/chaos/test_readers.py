"""Tests of the independent checks: recomputed divergences, committed records, reported losses."""

import numpy as np
import pytest
from confluent_kafka import Message

from tests.chaos.committed_reader import check_reads, fingerprint
from tests.chaos.divergence import check_divergences
from tests.chaos.results import PublishedRevision
from tests.chaos.unclean_election import find_loss_metrics, is_marked
from tests.harness.demo import Scrape

BASELINES = {"alpha": np.array([3, 1])}


def result(
    js_divergence: float | None, counts: tuple[int, ...] = (1, 3), verdict: str = "ok"
) -> PublishedRevision:
    window = {"stream": "alpha", "window": "1m", "start": "1970-01-01T00:00:00Z", "revision": 0}
    clusters = [{"count": count} for count in counts]
    document = {**window, "js_divergence": js_divergence, "clusters": clusters, "count": sum(counts)}
    return PublishedRevision("", {**document, "verdict": verdict})


# Of (1/4, 3/4) from (3/4, 1/4): 1 - H(1/4): their mean is even.
DIVERGENCE = 0.18872187554086717


@pytest.mark.parametrize(
    ("published", "passes"),
    [
        (result(DIVERGENCE), True),
        (result(DIVERGENCE + 1e-8), False),
        (result(DIVERGENCE**0.5), False),
        (result(DIVERGENCE, counts=(3, 1)), False),
        (result(0.0, counts=(3, 1)), True),
        (result(None), False),
        (result(None, verdict="insufficient"), True),
        (result(None, verdict="incomplete"), True),
    ],
)
def test_divergence_must_match_counts(published: PublishedRevision, passes: bool) -> None:
    assert check_divergences([published], BASELINES).passed == passes


def test_count_must_match_clusters() -> None:
    published = result(DIVERGENCE)
    wrong = PublishedRevision("", {**published.document, "count": 5})
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
    lost, other = (("driftgauge_records_lost_total", (("topic", "t"),)), ("driftgauge_events_total", ()))
    assert find_loss_metrics([Scrape("", {lost: 0.0, other: 3.0})]) == set()
    assert find_loss_metrics([Scrape("", {lost: 0.0}), Scrape("", {lost: 2.0})]) == {lost[0]}
