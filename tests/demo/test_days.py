"""Tests of `deploy.demo.days`."""

import pytest
from deploy.demo.days import TABLE_HEAD, check, table_row, week_rows
from deploy.demo.digits import ImageQuality
from deploy.demo.errors import DemoError

from tests.builders.days import build_day, build_days

OUTCOMES = {"accepted": 21_000, "late": 0}
NO_MISHAPS = {"records lost": 0}


def problems(days, outcomes, mishaps=NO_MISHAPS):
    with pytest.raises(DemoError) as raised:
        check(days, outcomes, mishaps)
    head, *lines = str(raised.value).split("\n")
    assert head == "the demo's results are not as expected:"
    return [line.removeprefix("  - ") for line in lines]


def changed(number, **changes):
    days = build_days()
    day = days[number]
    fields = {name: getattr(day, name) for name in ("quality", "published", "accuracy", "events")}
    days[number] = build_day(number, **{**fields, "divergence": day.js_divergence, **changes})
    return days


def test_expected_results_pass():
    check(build_days(), OUTCOMES, NO_MISHAPS)


def test_day_with_uncounted_events_is_reported():
    (problem,) = problems(changed(8, events=999), OUTCOMES)
    assert problem == "2025-11-11: 999 events were counted, 1,000 were published"


def test_day_with_events_counted_twice_is_reported():
    (problem,) = problems(changed(0, events=2_000), OUTCOMES)
    assert "2,000 events were counted" in problem


@pytest.mark.parametrize("accepted", [20_999, 21_001, 0])
def test_accepted_events_other_than_published_are_reported(accepted):
    (problem,) = problems(build_days(), {"accepted": accepted})
    assert problem == f"21,000 events were published, and the service accepted {accepted:,}"


def test_missing_accepted_outcome_counts_as_zero():
    (problem,) = problems(build_days(), {})
    assert "accepted 0" in problem


def test_rejected_events_are_reported_by_reason():
    assert problems(build_days(), {**OUTCOMES, "late": 2, "invalid": 1_000}) == [
        "the service rejected 2 events as late",
        "the service rejected 1,000 events as invalid",
    ]


def test_day_with_possible_loss_and_right_count_is_reported():
    assert problems(changed(20, events_lost=True), OUTCOMES) == ["2025-11-23: events may be lost"]


def test_mishap_with_right_counts_is_reported():
    assert problems(build_days(), OUTCOMES, {"records lost": 1_200, "aborted": 0, "sessions lost": 1}) == [
        "records lost: 1,200",
        "sessions lost: 1",
    ]


@pytest.mark.parametrize(
    ("number", "divergence", "weeks"),
    [(3, 0.1, "clean week"), (3, 0.3, "clean week"), (12, 0.6, "blurred week"), (20, 0.05, "blurred week")],
)
def test_single_day_in_range_of_next_week_is_reported(number, divergence, weeks):
    (problem,) = problems(changed(number, divergence=divergence), OUTCOMES)
    assert problem.startswith(f"the highest divergence of the {weeks}, ")


def test_comparison_uses_highest_and_lowest_day():
    (problem,) = problems(changed(9, divergence=0.001), OUTCOMES)
    clean, blurred = "the highest divergence of the clean week", "the lowest of the blurred week"
    assert problem == f"{clean}, 0.0020, is not below {blurred}, 0.0010"


def test_all_problems_are_reported_together():
    days = build_days((0.6, 0.1, 0.002))
    days[0] = build_day(0, divergence=0.6, events=1)
    listed = problems(days, {"accepted": 7, "wrong_model": 3}, {"records lost": 2})
    assert len(listed) == 6
    for part in (
        "2025-11-03",
        "accepted 7",
        "wrong_model",
        "records lost: 2",
        "of the clean week",
        "of the blurred week",
    ):
        assert sum(part in problem for problem in listed) >= 1


def test_table_row_aligns_with_head():
    row = table_row(build_day(7, ImageQuality.BLURRED, 0.10784, accuracy=0.638))
    assert row.split() == ["2025-11-10", "blurred", "1,000", "0.1078", "0.0020", "63.8%", "ok"]
    assert row.index("ok") == TABLE_HEAD.index("verdict")
    for heading in ("events", "divergence", "noise floor", "accuracy"):
        end = TABLE_HEAD.index(heading) + len(heading)
        assert row[end - 1] != " ", heading
        assert (row + " ")[end] == " ", heading


def test_week_row_shows_means():
    days = build_days((0.004, 0.1, 0.6), per_week=2)
    days[1] = build_day(1, ImageQuality.CLEAN, 0.006, accuracy=0.94)
    rows = week_rows(days)
    assert [row.split()[0] for row in rows] == ["clean", "blurred", "darkened"]
    assert "mean divergence 0.0050, 2.5 times the noise floor; mean accuracy 95.0%" in rows[0]
    assert "300.0 times" in rows[2]
