"""An owner that stands still in the midst of a transaction, loses what it holds, and wakes.

All that is in the transaction that it was stopped in has come to the broker. What becomes of it is
decided by when it wakes.
"""

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.case import HOUR_MS, SHARDS, START_MS, Case, SourceEvent, make_events
from tests.integration.gauges import gauges_of, window_gauges, without_wall_time
from tests.integration.service import NO_CHAIN_FAULTS, ServiceProcess, wait_for
from tests.integration.traffic import publishing, rejected_sources, with_rejected

pytestmark = pytest.mark.broker

PAUSING_PROGRAM = Path(__file__).with_name("pausing.py")
PARTITIONS = 4
GOOD, BAD = 900, 30
RATE = 300
# Far longer than it takes until the zombie is woken, and hardly longer than its session.
LONG_MS, SHORT_MS = 60_000, 6_000


def make_traffic() -> list[SourceEvent]:
    """Events in turn over the partitions, some of which are refused."""
    good = make_events("alpha", GOOD, start_ms=START_MS, span_ms=9 * HOUR_MS, seed=50)
    return [
        replace(event, partition=number % PARTITIONS)
        for number, event in enumerate(with_rejected(good, every=GOOD // BAD))
    ]


def restored(service: ServiceProcess, role: str) -> bool:
    return any(entry["role"] == role for entry in service.logged("restored"))


@pytest.mark.parametrize(
    ("role", "stopped_before", "wakes_early"),
    [
        pytest.param("count", "commit_transaction", True, id="COUNT about to commit, wakes in time"),
        pytest.param("count", "commit_transaction", False, id="COUNT about to commit, wakes too late"),
        pytest.param("count", "send_offsets_to_transaction", True, id="COUNT without offsets, wakes in time"),
        pytest.param("windows", "commit_transaction", True, id="WINDOWS about to commit, wakes in time"),
        pytest.param("windows", "commit_transaction", False, id="WINDOWS about to commit, wakes too late"),
    ],
)
def test_an_owner_paused_in_mid_transaction_beyond_its_session_counts_nothing_twice(
    tmp_path: Path, bootstrap: str, role: str, stopped_before: str, wakes_early: bool
) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=PARTITIONS,
        stream_settings={"allowed_lateness": "1d"},
        kafka={"transaction.timeout.ms": LONG_MS if wakes_early else SHORT_MS},
    )
    order = tmp_path / "order"
    topic = case.partials_topic if role == "count" else case.windows_topic
    events = make_traffic()

    def positions() -> dict[int, int]:
        return case.positions() if role == "count" else case.shard_positions()

    with ExitStack() as running:
        zombie = running.enter_context(
            case.serve(program=("-P", str(PAUSING_PROGRAM), str(order)), role=role)
        )
        other_role = "windows" if role == "count" else "count"
        other = running.enter_context(case.serve(role=other_role))
        for service in (zombie, other):
            service.wait_until_ready()
        running.enter_context(publishing(case, events, rate=RATE))
        wait_for("something to be published", lambda: case.final_counts() != {})
        order.write_text(f"{stopped_before} {topic}")
        zombie.wait_for("it to stop", lambda: not order.exists())
        before = positions()
        successor = running.enter_context(case.serve(role=role))
        successor.wait_for(
            "it to take over", lambda: successor.assigned_partitions() + successor.assigned_shards() >= SHARDS
        )
        waits_for_it = stopped_before == "commit_transaction"
        if wakes_early:
            if waits_for_it:
                # It must not begin before it is known what becomes of the transaction.
                time.sleep(1.5)
                assert not restored(successor, role)
                assert positions() == before
            zombie.resume()
        successor.wait_for("it to go on", lambda: restored(successor, role))
        if not wakes_early:
            successor.wait_for("it to commit", lambda: positions() != before)
            zombie.resume()
        half = PARTITIONS / 2 if role == "count" else SHARDS / 2
        zombie.wait_for(
            "both to share",
            lambda: (
                zombie.assigned_partitions() + zombie.assigned_shards()
                == successor.assigned_partitions() + successor.assigned_shards()
                == half
            ),
        )

        case.wait_for_counts(successor, case.truth(event for event in events if event.stream == "alpha"))
        asked = gauges_of(case.final_results())
        windows = [other] if role == "count" else [zombie, successor]
        counting = [zombie, successor] if role == "count" else [other]
        wait_for("all to be shown", lambda: shown(windows) == asked)
        for service in (zombie, successor, other):
            service.wait_until_ready()
        assert sum(service.counted() for service in counting) == GOOD
        for service in windows:
            assert service.chain_faults() == NO_CHAIN_FAULTS
    assert len(rejected_sources(case)) == len(set(rejected_sources(case))) == BAD
    if not (wakes_early and waits_for_it):
        written = case.read(topic, "read_uncommitted")
        assert len(written) > len(case.read(topic)), "the transaction was not stopped where it was to be"


def shown(services: list[ServiceProcess]) -> dict[object, float]:
    return {
        series: value
        for service in services
        for series, value in without_wall_time(window_gauges(service.scrape())).items()
    }
