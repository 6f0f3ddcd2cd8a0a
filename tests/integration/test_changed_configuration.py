"""Replicas are replaced one by one by replicas with another configuration, on a real broker."""

from pathlib import Path

import pytest

from driftgauge.records.dead_letter import read_letter
from tests.harness.case import HOUR_MS, START_MS, Case, SourceEvent, make_events
from tests.harness.service import NO_CHAIN_FAULTS
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

PER_HOUR = 60


def events_of(stream: str, first: int, last: int) -> list[SourceEvent]:
    """Return a stream's events from one hour to another."""
    start_ms, hours = START_MS + first * HOUR_MS, last - first
    return make_events(stream, PER_HOUR * hours, start_ms=start_ms, span_ms=hours * HOUR_MS, seed=first)


def test_no_event_is_lost_while_old_and_new_configuration_run_together(
    tmp_path: Path, bootstrap: str
) -> None:
    """A window size, an events topic and a stream are added; windows counted under both are incomplete."""
    case = Case(tmp_path, bootstrap)
    more = f"{case.name}.more"
    case.create(more, 2)
    alpha = [events_of("alpha", 0, 2), events_of("alpha", 2, 4), events_of("alpha", 4, 6)]
    # Its producers begin too early.
    beta = [events_of("beta", 2, 4), events_of("beta", 4, 6)]
    with case.serve("a") as first, case.serve("b") as second:
        for replica in (first, second):
            replica.wait_until_ready()
            replica.wait_for("half", lambda each=replica: each.assigned_partitions() == 2)
        case.publish(alpha[0])
        wait_for("the first hours to be read", lambda: case.positions() == case.ends())

        case.windows, case.streams, case.further_topics = ("30m", "1h"), ("alpha", "beta"), (more,)
        case.fit("beta")
        case.write_config()
        first.stop()
        with case.serve("a") as newer:
            newer.wait_until_ready()
            # One or two of the former topic, and both of the topic that only it knows.
            newer.wait_for("a share of both topics", lambda: newer.assigned_partitions() > 2)
            second.wait_for("the others", lambda: 0 < second.assigned_partitions() < 4)
            case.publish([*alpha[1], *beta[0]])
            wait_for("the hours of both to be read", lambda: case.positions() == case.ends())
            second.stop()
            with case.serve("b") as newest:
                newest.wait_until_ready()
                case.publish(alpha[2])
                case.publish(beta[1], topic=more)
                sent = sum(map(len, (*alpha, *beta))) + case.close_windows()
                refused = [read_letter(letter).reason for letter in case.dead_letters()]

                def applied() -> int:
                    scrapes = (newer.scrape(), newest.scrape())
                    return sum(int(each.total("driftgauge_applied_events_total")) for each in scrapes)

                newest.wait_for(
                    lambda: f"{sent} events but {len(refused)} to be applied, not {applied()}",
                    lambda: applied() == sent - len(refused),
                )
                # Those that were counted by the new configuration alone.
                settled = case.counts_of([*alpha[2], *beta[1]])
                newest.wait_for("the last windows", lambda: case.final_counts().keys() >= settled.keys())
                assert newer.chain_faults() == newest.chain_faults() == NO_CHAIN_FAULTS
    assert set(refused) == {"unknown_stream"}
    results = case.final_results()
    assert {key: results[key]["count"] for key in settled} == settled
    assert {results[key]["verdict"] for key in settled}.isdisjoint({"incomplete"})
    expected = case.counts_of([event for part in (*alpha, *beta) for event in part])
    complete = {key: each["count"] for key, each in results.items() if each["verdict"] != "incomplete"}
    former = {key: number for key, number in complete.items() if key in expected and key[0] == "alpha"}
    assert former == {key: expected[key] for key in former}
    assert {each["incomplete_reason"] for each in results.values()} <= {
        None,
        "counted_otherwise",
        "panes_purged",
    }
