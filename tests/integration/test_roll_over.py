"""Two versions replace each other one replica at a time, there and back, while events flow."""

from pathlib import Path

import pytest

from tests.harness.case import HOUR_MS, START_MS, Case, make_events
from tests.harness.roll_over import LATER, MUTANT, NAMES, WITHOUT_NUMBERS, make_case, roll_over
from tests.harness.service import DRIFTGAUGE, STOPPED

pytestmark = pytest.mark.broker


@pytest.fixture
def case(tmp_path: Path, bootstrap: str) -> Case:
    return make_case(tmp_path, bootstrap)


def test_versions_replace_each_other_there_and_back(case: Case) -> None:
    roll_over(case, dict.fromkeys(NAMES, DRIFTGAUGE), dict.fromkeys(NAMES, LATER))


def test_window_that_a_version_without_numbers_held_is_partial_for_them(case: Case) -> None:
    later = dict.fromkeys(NAMES, WITHOUT_NUMBERS)
    roll_over(case, dict.fromkeys(NAMES, DRIFTGAUGE), later, forgets_numbers=True)


def test_version_that_must_understand_a_field_stops_by_its_name(case: Case) -> None:
    events = make_events("alpha", 100, start_ms=START_MS, span_ms=2 * HOUR_MS, seed=3)
    later = (MUTANT, "field_to_understand", "none")
    with case.serving(program=later, role="count") as counting:
        sent = case.publish_last(events)
        counting.wait_for("the events to be counted", lambda: counting.counted() == sent)
    with case.serving(role="windows") as earlier:
        stopped = earlier.wait_for_log(STOPPED)
        assert "event_weight, which a reader must understand" in str(stopped["reason"])
    assert case.results() == []
    with case.serving(program=later, role="windows") as windows:
        case.wait_for_counts(windows, case.counts_of(events))
