"""Tests of `driftgauge.report.advice`."""

import pytest

from driftgauge.page.story import Run
from driftgauge.report.advice import next_steps
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.page import build_record

RUN = Run("drift", 3, MONDAY_MS, before=True)


def steps(verdict="drift", **changes):
    return next_steps(build_record(0, verdict, **changes), RUN, HOUR_MS, None)


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("mix", "clusters that gained"),
        ("shift", "preprocessing"),
        ("novelty", "far from every cluster"),
        ("spread", "normalised otherwise"),
        ("duplicates", "a stuck camera"),
    ],
)
def test_drift_is_looked_into_by_its_kind(kind, part):
    first, second, *_, last = steps(kind=kind)
    assert first.startswith("Find what else changed at 3 Nov 2025, 00:00 UTC: ")
    assert part in second
    assert last == "More in the runbook DriftgaugeDrift."


def test_slow_drift_has_a_runbook_of_its_own():
    slow = {"kind": None, "slow_drift": {"statistic": 7.0, "limit": 6.5}}
    first, *_, last = steps("warning", **slow)
    assert "small evidence" in first
    assert last == "More in the runbook DriftgaugeSlowDrift."
    sudden = steps("warning", **slow | {"kind": "mix"})
    assert "DriftgaugeDrift." in sudden[-1]


def test_uncalibrated_drift_is_measured_first():
    (advice,) = set(steps(calibrated=False)) - set(steps())
    assert advice.startswith("Measure the overdispersion")


def test_few_events_lead_to_the_plan_for_their_rate():
    assert steps("insufficient", count=40)[0].endswith("driftgauge plan --events-per-hour 40.")
    assert next_steps(build_record(0, "insufficient", count=0), RUN, HOUR_MS, None)[0].endswith(" 1.")
    assert next_steps(build_record(0, "insufficient", count=48), RUN, 24 * HOUR_MS, None)[0].endswith(" 2.")


def test_incomplete_window_is_waited_for():
    assert steps("incomplete")[0].startswith("Wait")


def test_sound_window_needs_nothing():
    assert steps("ok")[0].startswith("Nothing needs to be done.")
