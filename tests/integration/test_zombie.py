"""An owner that stands still in the midst of a transaction, loses its partitions, and wakes.

The transaction that it was stopped in holds state, results and dead letters, and all of that has
come to the broker. What becomes of it is decided by when it wakes.
"""

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.case import HOUR_MS, START_MS, Case, Event, make_events
from tests.integration.gauges import Samples, gauges_of, window_gauges, without_wall_time
from tests.integration.service import Service
from tests.integration.traffic import among_refused, publishing, refused

pytestmark = pytest.mark.integration

STOPS = Path(__file__).with_name("stops.py")
PARTITIONS = 4
GOOD, BAD = 900, 30
RATE = 300
# Far longer than it takes until the zombie is woken, and hardly longer than its session.
LONG_MS, SHORT_MS = 60_000, 3_000


def make_traffic() -> list[Event]:
    """Events in turn over the partitions, some of which are refused."""
    good = make_events("alpha", GOOD, start_ms=START_MS, span_ms=9 * HOUR_MS, seed=50)
    return [
        replace(event, partition=number % PARTITIONS)
        for number, event in enumerate(among_refused(good, every=GOOD // BAD))
    ]


@pytest.mark.parametrize(
    ("stopped_before", "wakes_early", "stands"),
    [
        pytest.param("commit_transaction", True, True, id="about to commit, wakes in time"),
        pytest.param("commit_transaction", False, False, id="about to commit, wakes too late"),
        pytest.param("send_offsets_to_transaction", True, False, id="without offsets, wakes in time"),
        pytest.param("send_offsets_to_transaction", False, False, id="without offsets, wakes too late"),
    ],
)
def test_an_owner_paused_in_mid_transaction_beyond_its_session_counts_nothing_twice(
    tmp_path: Path, bootstrap: str, stopped_before: str, wakes_early: bool, stands: bool
) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=PARTITIONS,
        stream_settings={"idle_timeout": "5s"},
        kafka={"transaction.timeout.ms": LONG_MS if wakes_early else SHORT_MS},
    )
    order = tmp_path / "order"
    events = make_traffic()
    with ExitStack() as running:
        zombie = running.enter_context(case.serve(program=("-P", str(STOPS), str(order))))
        zombie.wait_until_ready()
        running.enter_context(publishing(case, events, rate=RATE))
        zombie.wait_for("something to be counted", lambda: zombie.counted() > 0)
        order.write_text(f"{stopped_before} {case.windows_topic}")
        zombie.wait_for("it to stop", lambda: not order.exists())
        before = case.positions()
        successor = running.enter_context(case.serve())
        successor.wait_for("it to take over", lambda: successor.held() == PARTITIONS)
        if wakes_early:
            # It must not begin before it is known what becomes of the transaction.
            time.sleep(1.5)
            assert not successor.logged("restored")
            assert case.positions() == before
            zombie.resume()
        successor.wait_for("it to go on", lambda: bool(successor.logged("restored")))
        if not wakes_early:
            successor.wait_for("it to count", lambda: successor.counted() > 0)
            zombie.resume()
        zombie.wait_for("both to share", lambda: zombie.held() == successor.held() == PARTITIONS / 2)

        case.wait_for_counts(successor, case.truth(event for event in events if event.stream == "alpha"))
        asked = gauges_of(case.final_results())
        for service in (zombie, successor):
            service.wait_until_ready()
            service.wait_for("all to be shown", lambda it=service: shown(it) == asked)
        assert zombie.counted() + successor.counted() == GOOD
        lost = zombie.scrape().value("driftgauge_sessions_lost_total")
        assert lost == (0 if wakes_early else 1), "only a producer that was fenced is made anew"
    assert len(refused(case)) == len(set(refused(case))) == BAD
    written = case.read(case.windows_topic, "read_uncommitted")
    assert (len(written) == len(case.results())) == stands, (
        "the transaction was not stopped where it was to be"
    )


def shown(service: Service) -> Samples:
    return without_wall_time(window_gauges(service.scrape()))
