"""What the how-tos promise: the state restored, other shards, another cluster; and no lag at rest."""

import sys
from pathlib import Path

import pytest
import yaml

from tests.harness.broker import Broker
from tests.harness.case import ROOT, SHARDS, Case, SourceEvent, WindowKey
from tests.harness.service import NO_CHAIN_FAULTS, STOPPED, ReplicaProcess, environment
from tests.harness.topics import TIMEOUT_S
from tests.integration.test_chain import count_first_half, make_case, make_halves
from tests.processes import run_command

pytestmark = pytest.mark.broker


def wait_for_last_counts(case: Case, service: ReplicaProcess, events: list[SourceEvent]) -> None:
    """Wait for the count of each window, whose results may be there from before, and come again."""
    expected = case.counts_of(events).items()

    def last() -> dict[WindowKey, int]:
        return {
            (record["stream"], record["window"], record["start"]): record["count"]
            for record in case.results()
        }

    service.wait_for("the windows of all events", lambda: expected <= last().items())


def run_topic_copy(action: str, case: Case, topic: str, records: str = "") -> str:
    """Run the documented script as `kubectl exec` does, without its file, and return what it prints."""
    program = (ROOT / "deploy/examples/topic_copy.py").read_text()
    command = [sys.executable, "-c", program, action, str(case.config), topic]
    done = run_command(*command, input=records, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_copy_of_changelog_is_restored_by_its_own_offsets(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap)
    first, second = make_halves()
    count_first_half(case, first)
    changelog, covered = run_topic_copy("read", case, case.changelog_topic), case.shard_positions()
    # The service goes on after the copy, before its state is lost.
    case.publish(second)
    with case.serve() as service:
        service.wait_for("the second half to be counted", lambda: service.counted() == len(second))
        service.wait_for("its first hour", lambda: len(case.final_counts()) > 1)
        service.stop()
    assert case.shard_positions() != covered
    case.delete(case.changelog_topic)
    case.create(
        case.changelog_topic, SHARDS, cleanup_policy="compact", message_timestamp_type="LogAppendTime"
    )
    run_topic_copy("write", case, case.changelog_topic, changelog)
    with case.serve() as service:
        stopped = service.wait_for_log(STOPPED)
        # The offset to set is in the reason.
        assert f"up to offset {covered[int(str(stopped['shard']))]}," in str(stopped["reason"])
        service.stop()
    for shard, offset in covered.items():
        case.move_offset(case.windows_group, case.partials_topic, shard, offset)
    case.close_windows()
    with case.serve() as service:
        wait_for_last_counts(case, service, first + second)
        assert service.chain_faults() == NO_CHAIN_FAULTS
        service.stop()


def test_other_number_of_shards_counts_again_what_events_topic_holds(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap)
    first, second = make_halves()
    count_first_half(case, first)
    tree = yaml.safe_load(case.config.read_text())
    tree["shards"] = SHARDS + 1
    tree["topics"]["internal"] = f"{case.name}.resized"
    case.config.write_text(yaml.safe_dump(tree))
    for group in (case.name, case.windows_group):
        case.delete_group(group)
    case.publish_last(second)
    with case.serve() as service:
        wait_for_last_counts(case, service, first + second)
        assert service.chain_faults() == NO_CHAIN_FAULTS
        service.stop()


def test_service_moves_to_another_cluster_with_copies_of_events_and_results(
    tmp_path: Path, bootstrap: str
) -> None:
    former = make_case(tmp_path, bootstrap)
    first, second = make_halves()
    count_first_half(former, first)
    with Broker() as broker:
        (tmp_path / "new").mkdir()
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
        with case.serve() as service:
            wait_for_last_counts(case, service, first + second)
            assert service.chain_faults() == NO_CHAIN_FAULTS
            service.stop()


def test_lag_reads_zero_at_rest_behind_marks_of_transactions(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap)
    events, _ = make_halves()
    producer = case.producer(**{"transactional.id": f"{case.name}.producer"})
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    for event in events:
        producer.produce(case.events_topic, event.value, partition=event.partition)
    producer.commit_transaction(TIMEOUT_S)
    with case.serve() as service:
        service.wait_for("the events to be counted", lambda: service.counted() == len(events))
        service.wait_for("no lag", lambda: lags(case, service) == {0})
        service.stop()


def lags(case: Case, service: ReplicaProcess) -> set[float | None]:
    """The lags of the partitions of the events topic, as exported."""
    scrape = service.scrape()
    partitions = range(case.partitions or 0)
    return {
        scrape.value("driftgauge_consumer_lag_records", topic=case.events_topic, partition=str(partition))
        for partition in partitions
    }
