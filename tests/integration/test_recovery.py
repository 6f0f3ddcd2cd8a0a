"""How soon events are counted again, with the service's own timeouts."""

import logging
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.integration.case import DIMENSION, MINUTE_MS, START_MS, Case, SourceEvent
from tests.integration.service import ServiceProcess, wait_for

pytestmark = pytest.mark.broker

_log = logging.getLogger(__name__)

PAUSING_PROGRAM = Path(__file__).with_name("pausing.py")
PARTITIONS = 4
OWN_TIMEOUTS = {"session.timeout.ms": None, "heartbeat.interval.ms": None}
# The service's session and transaction timeouts, and how often the tests' broker looks for dead transactions.
SESSION_S, TRANSACTION_S, SCAN_S = 13.0, 13.0, 5.0
VECTOR = np.zeros(DIMENSION, dtype=np.float32)


def on_every_partition(time_ms: int) -> list[SourceEvent]:
    return [SourceEvent("alpha", time_ms, VECTOR, partition) for partition in range(PARTITIONS)]


class Crash:
    """A replica that holds every partition, and is killed when its transaction lacks only the commit.

    The steps are called one after the other.
    """

    def __init__(self, case: Case, replica: str | None, running: ExitStack) -> None:
        self._case, self._replica, self._running = case, replica, running
        self._order = case.folder / "order"
        program = ("-P", str(PAUSING_PROGRAM), str(self._order))
        self._victim = running.enter_context(case.serve(replica, program=program))

    def prepare(self) -> None:
        self._victim.wait_until_ready()
        self._case.publish(on_every_partition(START_MS))
        self._victim.wait_for("the first to be counted", lambda: self._victim.counted() == PARTITIONS)

    def order_stop(self) -> None:
        self._order.write_text(f"commit_transaction {self._case.partials_topic}")
        self._case.publish(on_every_partition(START_MS + 1))

    def happen(self) -> None:
        """Kill it, and start another, which bears its name if it had one."""
        self._victim.wait_for("it to stop before its commit", lambda: not self._order.exists())
        self._victim.kill()
        self._killed_s = time.monotonic()
        self.successor = self._running.enter_context(self._case.serve(self._replica))
        self._case.publish(on_every_partition(START_MS + 2))
        self._ends = self._case.ends()

    def wait_until_made_good(self) -> float:
        """Return how long it took until all that had come was counted, in seconds."""
        self.successor.wait_for("all to be counted", lambda: self._case.positions() == self._ends)
        took_s = time.monotonic() - self._killed_s
        # The transaction that was left open does not stand, so its events are counted here.
        self.successor.wait_for("two thirds", lambda: self.successor.counted() == 2 * PARTITIONS)
        return took_s


def test_a_killed_replica_is_made_good_within_the_bounds(tmp_path: Path, bootstrap: str) -> None:
    cases = {}
    for name in ("named", "unnamed"):
        folder = tmp_path / name
        folder.mkdir()
        cases[name] = Case(folder, bootstrap, partitions=PARTITIONS, kafka=OWN_TIMEOUTS)
    with ExitStack() as running:
        named = Crash(cases["named"], "driftgauge-0", running)
        unnamed = Crash(cases["unnamed"], None, running)
        for step in (Crash.prepare, Crash.order_stop, Crash.happen):
            for crash in (named, unnamed):
                step(crash)
        # The one that takes longer is waited for last.
        named_s, unnamed_s = named.wait_until_made_good(), unnamed.wait_until_made_good()
    _log.info("counted again after kill -9: named %.1f s, unnamed %.1f s", named_s, unnamed_s)
    # The group waits for the dead member in either case; the transaction ends with the successor's name.
    assert named_s < SESSION_S + 7
    assert unnamed_s < SESSION_S + TRANSACTION_S + SCAN_S


def test_sigterm_hands_over_at_once(tmp_path: Path, bootstrap: str) -> None:
    # Who does not leave the group is not missed for 30 s.
    case = Case(tmp_path, bootstrap, partitions=PARTITIONS, kafka={"session.timeout.ms": 30_000})
    with case.serve() as leaving, case.serve() as staying:
        wait_for(
            "both to share",
            lambda: leaving.assigned_partitions() == staying.assigned_partitions() == PARTITIONS / 2,
        )
        case.publish(on_every_partition(START_MS))
        wait_for("both to count", lambda: leaving.counted() == staying.counted() == PARTITIONS / 2)

        asked_s = time.monotonic()
        leaving.stop()
        case.publish(on_every_partition(START_MS + 1))
        ends = case.ends()
        wait_for("all to be counted", lambda: case.positions() == ends)
        took_s = time.monotonic() - asked_s
        staying.wait_for("the rest", lambda: staying.counted() == PARTITIONS / 2 + PARTITIONS)
    _log.info("counted by another after SIGTERM: %.1f s", took_s)
    assert took_s < 6


def test_a_thousand_open_panes_are_restored_within_five_seconds(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        windows=("1m",),
        partitions=PARTITIONS,
        stream_settings={"allowed_lateness": "1d"},
    )
    minutes = 1_000 // PARTITIONS
    events = [
        event for minute in range(minutes) for event in on_every_partition(START_MS + minute * MINUTE_MS)
    ]
    with case.serve() as service:
        case.publish(events)
        service.wait_for("all to be counted", lambda: service.counted() == len(events))
        service.wait_for("all to be applied", lambda: open_windows(service) == minutes)
        service.kill()

    started_s = time.monotonic()
    with case.serve() as service:
        service.wait_for("all panes to be there", lambda: open_windows(service) == minutes)
        shown_s = time.monotonic() - started_s
        case.wait_for_counts(service, case.truth(events))
        assert service.counted() == 0
    restored = [entry["waited_s"] for entry in service.logged("restored") if entry["role"] == "windows"]
    _log.info("restored in %s s; shown %.1f s after the start", restored, shown_s)
    assert max(float(str(waited_s)) for waited_s in restored) < 5
    assert shown_s < 15


def open_windows(service: ServiceProcess) -> float | None:
    return service.scrape().samples.get(("driftgauge_windows_open", (("stream", "alpha"), ("window", "1m"))))
