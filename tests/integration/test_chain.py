"""Moved or expired offsets and damaged internal topics: the chain of partials finds and reports them."""

from pathlib import Path

import pytest

from driftgauge.core.counting.partial import shard_of
from driftgauge.engine.windows.changelog_reader import DAMAGED_REMEDY
from tests.harness.broker import Broker
from tests.harness.case import (
    HOUR_MS,
    SHARDS,
    START_MS,
    Case,
    SourceEvent,
    make_events,
)
from tests.harness.service import NO_CHAIN_FAULTS, STOPPED, driftgauge

pytestmark = pytest.mark.broker

PARTITIONS = 3
HALF = 300
# One stream of each shard, by the hash of its name.
STREAMS = ("alpha", "delta")


def make_case(folder: Path, bootstrap: str, streams: tuple[str, ...] = ("alpha",)) -> Case:
    return Case(
        folder,
        bootstrap,
        partitions=PARTITIONS,
        streams=streams,
        stream_settings={"allowed_lateness": "1d", "idle_timeout": "1h"},
    )


def make_halves(stream: str = "alpha") -> tuple[list[SourceEvent], list[SourceEvent]]:
    """Return three hours of events, in turn over the partitions, split within the second hour."""
    events = [
        SourceEvent(event.stream, event.time_ms, event.vector, partition=number % PARTITIONS)
        for number, event in enumerate(
            make_events(stream, 2 * HALF, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=60)
        )
    ]
    return events[:HALF], events[HALF:]


def count_first_half(case: Case, events: list[SourceEvent]) -> None:
    """Publish the events, wait until both stages have them, and stop within a window."""
    case.publish(events)
    with case.serve() as service:
        service.wait_for("the first half to be counted", lambda: service.counted() == len(events))
        service.wait_for("the first half to be applied", lambda: case.final_counts() != {})
        service.stop()


def test_shard_with_reset_offset_stops_alone_until_put_back(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap, STREAMS)
    halves = [make_halves(stream) for stream in STREAMS]
    first, second = ([event for half in halves for event in half[number]] for number in range(2))
    count_first_half(case, first)
    shard = shard_of("delta", SHARDS)
    assert shard != shard_of("alpha", SHARDS)
    proper = case.shard_positions()[shard]
    case.move_offset(case.windows_group, case.partials_topic, shard, 1)
    case.publish_last(second)
    alpha = [event for event in first + second if event.stream == "alpha"]
    with case.serve() as service:
        stopped = service.wait_for_log(STOPPED)
        assert stopped["shard"] == shard
        assert "put the offset back" in str(stopped["reason"])
        service.wait_for(
            "the windows of the other shard", lambda: case.final_counts("alpha") == case.counts_of(alpha)
        )
        scrape = service.scrape()
        assert scrape.value("driftgauge_blocked_partitions", topic=case.partials_topic, reason="stopped") == 1
        assert service.is_ready(), "a stopped shard has a metric and an alert of its own"
        service.stop()
    case.move_offset(case.windows_group, case.partials_topic, shard, proper)
    with case.serve() as service:
        case.wait_for_counts(service, case.counts_of(first + second))
        assert service.chain_faults() == NO_CHAIN_FAULTS
        service.stop()


def test_missing_changelog_stops_its_shards_and_the_remedy_works(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap)
    first, second = make_halves()
    count_first_half(case, first)
    case.delete(case.changelog_topic)
    with case.serve() as service:
        service.wait_for("the shards to stop", lambda: len(service.logged(STOPPED)) == SHARDS)
        assert "its changelog covers the partials up to offset None" in service.log_tail()
        service.stop()
    # The service publishes all results again, from revision 0.
    case.delete(case.windows_topic)
    case.delete_group(case.windows_group)
    case.publish_last(second)
    with case.serve() as service:
        case.wait_for_counts(service, case.counts_of(first + second))
        service.stop()


def test_deleted_beginning_of_changelog_stops_its_shard_until_loss_is_accepted(
    tmp_path: Path, bootstrap: str
) -> None:
    case = make_case(tmp_path, bootstrap)
    first, second = make_halves()
    count_first_half(case, first)
    shard = shard_of("alpha", SHARDS)
    records = [record for record in case.read(case.changelog_topic) if record.partition() == shard]
    end = records[-1].offset() or 0
    # What a retention set by hand does, whose setting is taken back later.
    case.configure(case.changelog_topic, cleanup_policy="compact,delete")
    case.delete_records(case.changelog_topic, shard, end)
    case.configure(case.changelog_topic, cleanup_policy="compact")
    case.publish_last(second)
    with case.serve() as service:
        stopped = service.wait_for_log(STOPPED)
        assert stopped["shard"] == shard
        assert "holds 1 keys, and held" in str(stopped["reason"])
        assert f"accept-loss --shard {shard}" in str(stopped["reason"])
        service.stop()
    arguments = ("accept-loss", "--config", case.config, "--shard")
    assert driftgauge(*arguments, str(SHARDS)).returncode == 2
    assert driftgauge(*arguments, str(shard)).returncode == 0
    with case.serve() as service:
        service.wait_for_log("records of a changelog are lost, and an operator has accepted that")
        # The first hour was published before, and stays.
        service.wait_for(
            "the windows to be marked",
            lambda: (
                [each["events_lost"] for _, each in sorted(case.final_results().items())]
                == [False, True, True]
            ),
        )
        service.stop()
    with case.serve() as service:
        service.wait_until_ready()
        assert service.logged(STOPPED) == [], "the loss is accepted once, and the shard is whole again"


def test_damaged_partials_stop_their_shard_alone(
    tmp_path: Path, kafka_broker: Broker, bootstrap: str
) -> None:
    case = make_case(tmp_path, bootstrap)
    shard = shard_of("alpha", SHARDS)
    with case.serve(role="count") as service:
        case.publish(make_halves()[0])
        service.wait_for("the events to be counted", lambda: service.counted() == HALF)
        service.stop()
    kafka_broker.stop()
    (segment,) = kafka_broker.data.glob(f"{case.partials_topic}-{shard}/*.log")
    content = bytearray(segment.read_bytes())
    content[100] ^= 1  # in the records of the first batch, after its header
    segment.write_bytes(content)
    kafka_broker.restart()
    with case.serve(role="windows") as service:
        stopped = service.wait_for_log(STOPPED)
        assert (stopped["shard"], str(stopped["reason"]).endswith(DAMAGED_REMEDY)) == (shard, True)
        assert service.logged(STOPPED) == [stopped]
        service.stop()
