"""How the service comes, goes and lives through what happens to a cluster."""

from pathlib import Path

import pytest

from tests.integration.case import DAY_MS, HOUR_MS, START_MS, Case, make_events

pytestmark = pytest.mark.integration


def test_sigterm_ends_it_within_two_seconds_and_leaves_the_group(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, kafka={"session.timeout.ms": 45_000})
    events = make_events("alpha", 2_000, start_ms=START_MS, span_ms=6 * HOUR_MS, seed=1)
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(events)
        service.wait_for("the events to be counted", lambda: service.counted() == 2_000)
        assert case.members() == 1

        elapsed = service.stop()

        assert case.members() == 0
        assert elapsed < 2.0
        print("stop took", elapsed)
        print(service.log_tail())
