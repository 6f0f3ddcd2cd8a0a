"""COUNT and WINDOWS in separate processes."""

import logging
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.case import (
    HOUR_MS,
    SHARDS,
    START_MS,
    Case,
    make_events,
)
from tests.harness.gauges import wait_until_shown, window_gauges
from tests.harness.service import NO_CHAIN_FAULTS, ReplicaProcess
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

_log = logging.getLogger(__name__)

PARTITIONS = 4


def assert_role(service: ReplicaProcess, own: str, other: str) -> None:
    ready = {
        dict(labels)["condition"] for name, labels in service.scrape().samples if name == "driftgauge_ready"
    }
    assert own in ready
    assert other not in ready


def test_each_role_runs_and_scales_alone(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, stream_settings={"idle_timeout": "1h", "allowed_lateness": "1d"})
    parts = [
        make_events("alpha", 400, start_ms=START_MS + part * 2 * HOUR_MS, span_ms=2 * HOUR_MS, seed=part)
        for part in range(2)
    ]
    with ExitStack() as running:
        counters = [running.enter_context(case.serve(name, role="count")) for name in "ab"]
        windows = running.enter_context(case.serve("c", role="windows"))
        for counter in counters:
            counter.wait_for("its share", lambda replica=counter: replica.assigned_partitions() == 2)
            counter.wait_until_ready()
        windows.wait_for("all shards", lambda: windows.assigned_shards() == SHARDS)
        windows.wait_until_ready()
        case.publish(parts[0])
        wait_for(
            "the first part to be counted", lambda: sum(counter.counted() for counter in counters) == 400
        )
        windows.wait_for("windows to be published", lambda: case.final_counts() != {})
        for counter in counters:
            assert_role(counter, "count", "windows")
            assert counter.counted() > 0
            assert counter.assigned_shards() == 0
            assert window_gauges(counter.scrape()) == {}
        assert_role(windows, "windows", "count")
        assert windows.assigned_partitions() == 0

        # COUNT continues without WINDOWS, which catches up later.
        windows.stop()
        published = 400 + case.publish_last(parts[1])
        wait_for("all to be counted", lambda: sum(counter.counted() for counter in counters) == published)
        windows = running.enter_context(case.serve("c", role="windows"))
        case.wait_for_counts(windows, case.counts_of(parts[0] + parts[1]))
        wait_until_shown([windows], case.final_results())
        assert windows.chain_faults() == NO_CHAIN_FAULTS
