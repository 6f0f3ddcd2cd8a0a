"""Offsets that are moved or expire, topics that are damaged, deleted, copied: nothing is counted wrong.

The chain of partials finds and reports what is missing, and the how-tos' remedies work.
"""

import sys
from pathlib import Path

import pytest
import yaml

from driftgauge.core.counting.partial import shard_of
from driftgauge.engine.windows.changelog_reader import DAMAGED_REMEDY
from tests.harness.broker import Broker
from tests.harness.case import (
    HOUR_MS,
    ROOT,
    SHARDS,
    START_MS,
    Case,
    SourceEvent,
    make_events,
)
from tests.harness.service import NO_CHAIN_FAULTS, STOPPED, ReplicaProcess, driftgauge, environment
from tests.processes import run_command

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
    with case.serving() as service:
        service.wait_for("the first half to be counted", lambda: service.counted() == len(events))
        service.wait_for("the first half to be applied", lambda: case.final_counts() != {})


Halfway = tuple[Case, list[SourceEvent], list[SourceEvent]]


@pytest.fixture
def halfway(tmp_path: Path, bootstrap: str) -> Halfway:
    """A case that has counted the first half of its events, and both halves."""
    case, (first, second) = make_case(tmp_path, bootstrap), make_halves()
    count_first_half(case, first)
    return case, first, second


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
    with case.serving() as service:
        stopped = service.wait_for_log(STOPPED)
        assert stopped["shard"] == shard
        assert "put the offset back" in str(stopped["reason"])
        service.wait_for(
            "the windows of the other shard", lambda: case.final_counts("alpha") == case.counts_of(alpha)
        )
        scrape = service.scrape()
        assert scrape.value("driftgauge_blocked_partitions", topic=case.partials_topic, reason="stopped") == 1
        assert service.is_ready(), "a stopped shard has a metric and an alert of its own"
    case.move_offset(case.windows_group, case.partials_topic, shard, proper)
    with case.serving() as service:
        case.wait_for_counts(service, case.counts_of(first + second))
        assert service.chain_faults() == NO_CHAIN_FAULTS


def test_missing_changelog_stops_its_shards_and_the_remedy_works(halfway: Halfway) -> None:
    case, first, second = halfway
    case.delete(case.changelog_topic)
    with case.serving() as service:
        service.wait_for("the shards to stop", lambda: len(service.logged(STOPPED)) == SHARDS)
        assert "its changelog covers the partials up to offset None" in service.log_tail()
    # The service publishes all results again, from revision 0.
    case.delete(case.windows_topic)
    case.delete_group(case.windows_group)
    case.publish_last(second)
    with case.serving() as service:
        case.wait_for_counts(service, case.counts_of(first + second))


def test_deleted_beginning_of_changelog_stops_its_shard_until_loss_is_accepted(halfway: Halfway) -> None:
    case, _, second = halfway
    shard = shard_of("alpha", SHARDS)
    records = [record for record in case.read(case.changelog_topic) if record.partition() == shard]
    end = records[-1].offset() or 0
    # What a retention set by hand does, whose setting is taken back later.
    case.configure(case.changelog_topic, cleanup_policy="compact,delete")
    case.delete_records(case.changelog_topic, shard, end)
    case.configure(case.changelog_topic, cleanup_policy="compact")
    case.publish_last(second)
    with case.serving() as service:
        stopped = service.wait_for_log(STOPPED)
        assert stopped["shard"] == shard
        assert "holds 1 keys, and held" in str(stopped["reason"])
        assert f"accept-loss --shard {shard}" in str(stopped["reason"])
    arguments = ("accept-loss", "--config", case.config, "--shard")
    assert driftgauge(*arguments, str(SHARDS)).returncode == 2
    assert driftgauge(*arguments, str(shard)).returncode == 0
    with case.serving() as service:
        service.wait_for_log("records of a changelog are lost, and an operator has accepted that")
        # The first hour was published before, and stays.
        service.wait_for(
            "the windows to be marked",
            lambda: (
                [each["events_lost"] for _, each in sorted(case.final_results().items())]
                == [False, True, True]
            ),
        )
    with case.serve() as service:
        service.wait_until_ready()
        assert service.logged(STOPPED) == [], "the loss is accepted once, and the shard is whole again"


def test_damaged_partials_stop_their_shard_alone(
    tmp_path: Path, kafka_broker: Broker, bootstrap: str
) -> None:
    case = make_case(tmp_path, bootstrap)
    shard = shard_of("alpha", SHARDS)
    with case.serving(role="count") as service:
        case.publish(make_halves()[0])
        service.wait_for("the events to be counted", lambda: service.counted() == HALF)
    kafka_broker.node.stop()
    (segment,) = kafka_broker.node.data.glob(f"{case.partials_topic}-{shard}/*.log")
    content = bytearray(segment.read_bytes())
    content[100] ^= 1  # in the records of the first batch, after its header
    segment.write_bytes(content)
    kafka_broker.node.restart()
    with case.serving(role="windows") as service:
        stopped = service.wait_for_log(STOPPED)
        assert (stopped["shard"], str(stopped["reason"]).endswith(DAMAGED_REMEDY)) == (shard, True)
        assert service.logged(STOPPED) == [stopped]


def wait_for_last_counts(case: Case, service: ReplicaProcess, events: list[SourceEvent]) -> None:
    """Wait for the count of each window, whose results may be there from before, and come again."""
    expected = case.counts_of(events).items()

    def are_last() -> bool:
        results = case.results()
        last = {(each["stream"], each["window"], each["start"]): each["count"] for each in results}
        return expected <= last.items()

    service.wait_for("the windows of all events", are_last)
    assert service.chain_faults() == NO_CHAIN_FAULTS


def run_topic_copy(action: str, case: Case, topic: str, records: str = "") -> str:
    """Run the documented script as `kubectl exec` does, without its file, and return what it prints."""
    program = (ROOT / "deploy/examples/topic_copy.py").read_text()
    command = [sys.executable, "-c", program, action, str(case.config), topic]
    done = run_command(*command, input=records, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_copy_of_changelog_is_restored_by_its_own_offsets(halfway: Halfway) -> None:
    case, first, second = halfway
    changelog, covered = run_topic_copy("read", case, case.changelog_topic), case.shard_positions()
    # The service goes on after the copy, before its state is lost.
    case.publish(second)
    with case.serving() as service:
        service.wait_for("the second half to be counted", lambda: service.counted() == len(second))
        service.wait_for("its first hour", lambda: len(case.final_counts()) > 1)
    assert case.shard_positions() != covered
    case.delete(case.changelog_topic)
    case.create(
        case.changelog_topic, SHARDS, cleanup_policy="compact", message_timestamp_type="LogAppendTime"
    )
    run_topic_copy("write", case, case.changelog_topic, changelog)
    with case.serving() as service:
        stopped = service.wait_for_log(STOPPED)
        # The offset to set is in the reason.
        assert f"up to offset {covered[int(str(stopped['shard']))]}," in str(stopped["reason"])
    for shard, offset in covered.items():
        case.move_offset(case.windows_group, case.partials_topic, shard, offset)
    case.close_windows()
    with case.serving() as service:
        wait_for_last_counts(case, service, first + second)


def test_other_number_of_shards_counts_again_what_events_topic_holds(halfway: Halfway) -> None:
    case, first, second = halfway
    tree = yaml.safe_load(case.config.read_text())
    tree["shards"] = SHARDS + 1
    tree["topics"]["internal"] = f"{case.name}.resized"
    case.config.write_text(yaml.safe_dump(tree))
    for group in (case.name, case.windows_group):
        case.delete_group(group)
    case.publish_last(second)
    with case.serving() as service:
        wait_for_last_counts(case, service, first + second)


def test_service_moves_to_another_cluster_with_copies_of_events_and_results(
    halfway: Halfway, tmp_path: Path
) -> None:
    former, first, second = halfway
    (tmp_path / "new").mkdir()
    with Broker() as broker:
        case = make_case(tmp_path / "new", broker.bootstrap)
        case.create(case.windows_topic, former.count_partitions(former.windows_topic))
        for topic, new in (
            (former.events_topic, case.events_topic),
            (former.windows_topic, case.windows_topic),
        ):
            run_topic_copy("write", case, new, run_topic_copy("read", former, topic))
        published = former.final_counts()
        assert published
        assert case.final_counts() == published
        case.publish_last(second)
        with case.serving() as service:
            wait_for_last_counts(case, service, first + second)


def test_topic_recreated_while_read_affects_no_other(tmp_path: Path, bootstrap: str) -> None:
    # Windows may close before the recreated topic has the rest of their events.
    case = Case(
        tmp_path,
        bootstrap,
        streams=("alpha", "beta"),
        partitions=2,
        kafka={"topic.metadata.refresh.interval.ms": 500},
        stream_settings={"allowed_lateness": "1d"},
        further_topics=[other := f"{tmp_path.name}.other"],
    )
    case.create(other, 2)
    alpha = make_events("alpha", 600, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=32)
    beta = make_events("beta", 600, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=33)
    with case.serving() as service:
        service.wait_until_ready()
        case.publish(alpha[:300])
        case.publish(beta[:300], topic=other)
        service.wait_for("the first halves to be counted", lambda: service.counted() == 600)

        case.delete(other)
        service.wait_for("the topic to be revoked", lambda: service.assigned_partitions() == 2)
        case.publish(alpha[300:])
        service.wait_for("the rest of the other", lambda: service.counted("alpha") == 600)

        case.create(other, 2)
        case.publish(beta[300:], topic=other)
        case.wait_for_counts(service, case.counts_of(alpha + beta))
        assert service.counted() == 1_200
        assert service.chain_faults() == NO_CHAIN_FAULTS
        assert not service.logged("session lost; the Kafka clients are replaced")
