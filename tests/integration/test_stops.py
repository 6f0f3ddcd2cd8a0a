"""Replicas that are stopped leave their groups and hand over at once."""

import time
from pathlib import Path

import pytest

from tests.harness.case import START_MS, Case
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

PARTITIONS = 4


def test_sigterm_leaves_the_groups_and_hands_over_at_once(tmp_path: Path, bootstrap: str) -> None:
    # The group would keep a member that does not leave for 30 s.
    case = Case(tmp_path, bootstrap, partitions=PARTITIONS, kafka={"session.timeout.ms": 30_000})
    with case.serve() as leaving, case.serve() as staying:
        for replica in (leaving, staying):
            replica.wait_for("half", lambda each=replica: each.assigned_partitions() == PARTITIONS / 2)
            replica.wait_until_ready()
        assert case.members() == 4, "two of each group"
        case.publish(case.on_every_partition(START_MS))
        wait_for("both to count", lambda: leaving.counted() == staying.counted() == PARTITIONS / 2)

        terminated_s = time.monotonic()
        stopped_s = leaving.stop()
        case.publish(case.on_every_partition(START_MS + 1))
        ends = case.ends()
        wait_for("all to be counted", lambda: case.positions() == ends)
        took_s = time.monotonic() - terminated_s
        staying.wait_for("the rest", lambda: staying.counted() == PARTITIONS / 2 + PARTITIONS)
        assert case.members() == 2
    # Supervisors wait 30 s.
    assert stopped_s < 25
    assert took_s < 25


def test_replica_without_partitions_leaves_its_groups(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=1, shards=1, kafka={"session.timeout.ms": 30_000})
    with case.serve() as first, case.serve() as second:
        for replica in (first, second):
            replica.wait_until_ready()
        wait_for("two of each group", lambda: case.members() == 4)
        # At least one of its two consumers has nothing.
        min(first, second, key=lambda each: each.assigned_partitions() + each.assigned_shards()).stop()
        assert case.members() == 2
