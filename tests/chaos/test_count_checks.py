"""Tests of the count checks: counts between the events on time and all events, and late counters."""

from typing import Any

import pytest

from tests.chaos.count_checks import (
    FULL_ROUND,
    LATE,
    check_burst,
    check_counts,
    check_late,
    check_nothing_closed_early,
    late_totals,
)
from tests.chaos.expected_counts import ExpectedCounts
from tests.chaos.results import PublishedRevision
from tests.harness.scrape import Scrape

KEY, OLD, OTHER = ("alpha", "1m", 600_000), ("alpha", "1m", 0), ("alpha", "5m", 600_000)
EXPECTED = ExpectedCounts(
    on_time={KEY: (1, 2), OTHER: (1, 2)},
    all={KEY: (2, 2), OLD: (0, 1), OTHER: (2, 2)},
)
CORRECT = {KEY: (1, 2), OTHER: (1, 2)}
SERIES = {("alpha", "1m"): [2], ("alpha", "5m"): [1]}


@pytest.mark.parametrize("found", [CORRECT, {**CORRECT, KEY: (2, 2)}, {**CORRECT, OLD: (0, 1)}])
def test_counts_with_late_events_pass(found: dict[Any, Any]) -> None:
    assert check_counts(found, EXPECTED).passed


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {OTHER: (1, 2)},
        {**CORRECT, KEY: (0, 2)},
        {**CORRECT, KEY: (3, 2)},
        {**CORRECT, KEY: (1, 3)},
        {**CORRECT, KEY: (1, 2, 0)},
        {**CORRECT, OLD: (1, 0)},
        {**CORRECT, ("alpha", "1m", 60_000): (0, 1)},
    ],
)
def test_counts_outside_bounds_fail(wrong: dict[Any, Any]) -> None:
    assert not check_counts(wrong, EXPECTED).passed


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
    assert check_late(found, late, EXPECTED).passed == passes


def test_late_totals_list_each_replica() -> None:
    labels = (("stream", "alpha"), ("window", "1m"))
    scrapes = [Scrape("", {(LATE, labels): value, ("other", ()): 9.0}) for value in (2.0, 0.0)]
    assert late_totals(scrapes) == {("alpha", "1m"): [2, 0]}


@pytest.mark.parametrize(
    ("stream", "revision", "written_ms", "passes"),
    [("live", 0, 60_000, True), ("live", 0, 59_999, False), ("live", 1, 59_999, True), ("a", 0, 0, True)],
)
def test_window_published_before_end_fails(stream: str, revision: int, written_ms: int, passes: bool) -> None:
    window = {"window": "30s", "start": "1970-01-01T00:00:30Z", "end": "1970-01-01T00:01:00Z"}
    result = PublishedRevision("", {"stream": stream, "revision": revision, **window}, written_ms)
    valid = PublishedRevision("", {"stream": "live", "revision": 0, **window}, 90_000)
    assert check_nothing_closed_early([valid, result], "live").passed == passes


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
    window = {"stream": "minutes", "window": "1m", "revision": 0, "start": "1970-01-01T00:00:00Z"}
    results = [PublishedRevision("", window, each) for each in written_ms]
    others = [
        PublishedRevision("", {**window, "stream": "alpha"}, 0),
        PublishedRevision("", {**window, "revision": 1}, 0),
    ]
    assert check_burst([*results, *others], "minutes", 1_000.0).passed == passes
