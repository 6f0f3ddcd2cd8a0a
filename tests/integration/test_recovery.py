"""Recovery times after kills and stops, with the service's default timeouts."""

import logging
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.case import START_MS, Case
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

_log = logging.getLogger(__name__)

PAUSING_PROGRAM = Path(__file__).with_name("pausing.py")
PARTITIONS = 4
OWN_TIMEOUTS = {"session.timeout.ms": None, "heartbeat.interval.ms": None}
# The service's session and transaction timeouts, and the interval at which the tests' broker aborts
# expired transactions.
SESSION_S, TRANSACTION_S, SCAN_S = 13.0, 13.0, 5.0


class Crash:
    """A replica with all partitions that is killed before the commit of its transaction.

    Call the methods in their order.
    """

    def __init__(self, case: Case, replica: str | None, running: ExitStack) -> None:
        self._case, self._replica, self._running = case, replica, running
        self._order = case.folder / "order"
        program = ("-P", str(PAUSING_PROGRAM), str(self._order))
        self._victim = running.enter_context(case.serve(replica, program=program))

    def prepare(self) -> None:
        self._victim.wait_until_ready()
        self._case.publish(self._case.on_every_partition(START_MS))
        self._victim.wait_for("the first to be counted", lambda: self._victim.counted() == PARTITIONS)

    def order_pause(self) -> None:
        self._order.write_text(f"commit_transaction {self._case.partials_topic}")
        self._case.publish(self._case.on_every_partition(START_MS + 1))

    def kill(self) -> None:
        """Kill the replica and start a successor, with the same name if there is one."""
        self._victim.wait_for("the pause before the commit", lambda: not self._order.exists())
        self._victim.kill()
        self._killed_s = time.monotonic()
        self.successor = self._running.enter_context(self._case.serve(self._replica))
        self._case.publish(self._case.on_every_partition(START_MS + 2))
        self._ends = self._case.ends()

    def wait_until_recovered(self) -> float:
        """Wait until all events are counted; return the time since the kill, s."""
        self.successor.wait_for("all to be counted", lambda: self._case.positions() == self._ends)
        took_s = time.monotonic() - self._killed_s
        # The open transaction is aborted, so the successor counts its events.
        self.successor.wait_for(
            "the last two of three rounds", lambda: self.successor.counted() == 2 * PARTITIONS
        )
        return took_s


def test_successor_of_killed_replica_recovers_within_bounds(tmp_path: Path, bootstrap: str) -> None:
    cases = {}
    for name in ("named", "unnamed"):
        folder = tmp_path / name
        folder.mkdir()
        cases[name] = Case(folder, bootstrap, partitions=PARTITIONS, kafka=OWN_TIMEOUTS)
    with ExitStack() as running:
        named = Crash(cases["named"], "driftgauge-0", running)
        unnamed = Crash(cases["unnamed"], None, running)
        for step in (Crash.prepare, Crash.order_pause, Crash.kill):
            for crash in (named, unnamed):
                step(crash)
        # The unnamed replica recovers last.
        named_s, unnamed_s = named.wait_until_recovered(), unnamed.wait_until_recovered()
    _log.info("counted again after kill -9: named %.1f s, unnamed %.1f s", named_s, unnamed_s)
    # Both wait for the session timeout; the named successor aborts the open transaction at its start.
    assert named_s < SESSION_S + 7
    assert unnamed_s < SESSION_S + TRANSACTION_S + SCAN_S


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
        waited_s = [float(str(entry["waited_s"])) for entry in staying.logged("restored")]
        assert case.members() == 2
    _log.info("ended %.1f s after SIGTERM; all counted by another after %.1f s", stopped_s, took_s)
    _log.info("began %s s after assignments", waited_s)
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
