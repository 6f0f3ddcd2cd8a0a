"""KAFKA-20734 on two nodes: a hanging transaction is found, and ended as its coordinator decided."""

import json
import re
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaException

from driftgauge.cli import cli, transactions
from driftgauge.kafka.hanging.client import OperatorClient
from driftgauge.kafka.hanging.evidence import decide_all
from driftgauge.kafka.hanging.model import TransactionOutcome
from driftgauge.kafka.hanging.survey import survey
from tests.harness.fixtures import running_cluster
from tests.harness.nodes import BROKER, COMBINED
from tests.kafka.hanging.commits import AWAY, TIMEOUT_S, Installation

pytestmark = pytest.mark.broker

AFFECTED = "4.3.1"
# Unaffected versions write the markers within a second of the restart.
SETTLED_S = 3.0


@pytest.fixture(scope="module")
def affected():
    with running_cluster([COMBINED, BROKER], version=AFFECTED) as cluster:
        yield cluster


def look(installation):
    """Return the decision about each hanging transaction, outcome and reason, by partition."""
    with OperatorClient({"bootstrap.servers": installation.cluster.bootstrap}) as client:
        found = survey(client, installation.topics, time.time_ns() // 1_000_000)
        assert not found.unasked
        assert not found.missing
        decisions = decide_all(client, installation.topics, found.hangs)
    assert all(hang.coordinator.transactional_id == installation.name for hang in found.hangs)
    return {
        hang.transaction.partition: (decision.outcome, decision.reason)
        for hang, decision in zip(found.hangs, decisions, strict=True)
    }


def run(installation, monkeypatch, *arguments):
    """Run the command; return its exit status and its output."""
    settings = SimpleNamespace(
        kafka={"bootstrap.servers": installation.cluster.bootstrap},
        topics=SimpleNamespace(
            events=installation.topics.events, windows=installation.windows, dead_letters=installation.letters
        ),
        partials_topic=installation.internal.partials,
        changelog_topic=installation.internal.changelog,
        group=installation.internal.group,
        windows_group=installation.internal.windows_group,
    )
    monkeypatch.setattr(transactions, "read_settings", lambda _: settings)
    done = CliRunner().invoke(
        cli, ["kafka", "transactions", *arguments, "--config", "driftgauge.yaml"], catch_exceptions=False
    )
    return done.exit_code, done.output


def resolve(installation, monkeypatch):
    status, output = run(installation, monkeypatch, "resolve", "--apply")
    assert status == 0, output
    assert_none_hangs(installation, monkeypatch)


def assert_none_hangs(installation, monkeypatch):
    status, output = run(installation, monkeypatch, "list")
    assert status == 0
    assert re.fullmatch(r"0 transactions hang in [89] partitions\n", output)


def test_commands_list_decide_and_end_hanging_commit(affected, monkeypatch):
    installation = Installation(affected)
    first = installation.count(0, 10)
    installation.producer.commit_transaction(TIMEOUT_S)
    second = installation.count(10, 25)
    installation.end_while_leaderless(installation.internal.partials, commit=True)
    time.sleep(SETTLED_S)
    partials = installation.internal.partials
    assert installation.hangs(partials, 0)
    assert installation.committed(installation.internal.group, installation.events, 0) == 25
    assert installation.values(partials) == {0: first[0], 1: first[1] + second[1]}

    status, output = run(installation, monkeypatch, "list")
    assert status == 1
    assert f"{partials}[0] from offset 2: producer" in output
    assert f"({installation.name})" in output
    assert "node 1: CompleteCommit" in output
    status, output = run(installation, monkeypatch, "resolve")
    assert status == 0
    assert "  would commit: the same transaction is committed in" in output
    assert f"{partials}[1]" in output
    assert "--apply" in output
    assert installation.hangs(partials, 0)

    status, output = run(installation, monkeypatch, "resolve", "--apply")
    assert status == 0
    assert "  commit: the same transaction is committed in" in output
    assert not installation.hangs(partials, 0)
    assert installation.values(partials) == {0: first[0] + second[0], 1: first[1] + second[1]}
    assert_none_hangs(installation, monkeypatch)


def test_aborted_count_transaction_is_aborted(affected, monkeypatch):
    installation = Installation(affected)
    first = installation.count(0, 10)
    installation.producer.commit_transaction(TIMEOUT_S)
    installation.count(10, 25)
    installation.end_while_leaderless(installation.internal.partials, commit=False)
    time.sleep(SETTLED_S)
    assert installation.hangs(installation.internal.partials, 0)
    ((partition, (outcome, reason)),) = look(installation).items()
    assert partition == (installation.internal.partials, 0)
    assert outcome is TransactionOutcome.ABORT
    assert "aborted in __consumer_offsets" in reason

    resolve(installation, monkeypatch)
    assert installation.committed(installation.internal.group, installation.events, 0) == 10
    again = installation.count(10, 30)
    installation.producer.commit_transaction(TIMEOUT_S)
    installation.await_that(lambda: not installation.hangs(installation.internal.partials, 0), "the marker")
    assert installation.values(installation.internal.partials) == {
        0: first[0] + again[0],
        1: first[1] + again[1],
    }


def test_count_transaction_is_committed_by_log_of_offsets(affected, monkeypatch):
    """All shards hang; only the log of the group's offsets shows the outcome, not the current offset."""
    installation = Installation(affected, away=(0, 1))
    written = installation.count(0, 10)
    installation.end_while_leaderless(installation.internal.partials, commit=True)
    time.sleep(SETTLED_S)
    other = Installation.make_producer(installation, installation._name("other", "__transaction_state", 1))
    other.begin_transaction()
    installation.producer, hung = other, installation.producer
    installation.send_offset(installation.internal.group, installation.events, 0, 99)
    other.commit_transaction(TIMEOUT_S)
    found = look(installation)
    assert found.keys() == {(installation.internal.partials, 0), (installation.internal.partials, 1)}
    assert {outcome for outcome, _ in found.values()} == {TransactionOutcome.COMMIT}
    assert all("committed in __consumer_offsets" in reason for _, reason in found.values())

    resolve(installation, monkeypatch)
    assert installation.values(installation.internal.partials) == {0: written[0], 1: written[1]}
    del hung


@pytest.mark.parametrize("commit", [True, False])
def test_windows_transaction_ends_by_its_group_offset(affected, monkeypatch, commit):
    installation = Installation(affected)
    installation.close(0, 5)
    installation.producer.commit_transaction(TIMEOUT_S)
    second = installation.close(0, 9)
    installation.end_while_leaderless(installation.internal.changelog, commit=commit)
    time.sleep(SETTLED_S)
    ((partition, (outcome, reason)),) = look(installation).items()
    assert partition == (installation.internal.changelog, 0)
    assert outcome is (TransactionOutcome.COMMIT if commit else TransactionOutcome.ABORT)
    assert "in __consumer_offsets" in reason

    resolve(installation, monkeypatch)
    assert (second in installation.values(installation.internal.changelog)[0]) is commit
    assert installation.committed(installation.internal.windows_group, installation.internal.partials, 0) == (
        9 if commit else 5
    )


def test_hanging_offsets_follow_ended_shard(affected, monkeypatch):
    installation = Installation(affected, offsets_on=AWAY)
    first = installation.count(0, 10)
    installation.producer.commit_transaction(TIMEOUT_S)
    second = installation.count(10, 25)
    installation.end_while_leaderless(installation.internal.partials, commit=True)
    time.sleep(SETTLED_S)
    with pytest.raises(KafkaException):
        installation.committed(installation.internal.group, installation.events, 0, within_s=2.0)
    found = look(installation)
    assert {topic for topic, _ in found} == {installation.internal.partials, "__consumer_offsets"}
    assert {outcome for outcome, _ in found.values()} == {TransactionOutcome.COMMIT}

    resolve(installation, monkeypatch)
    assert installation.committed(installation.internal.group, installation.events, 0) == 25
    assert installation.values(installation.internal.partials) == {
        0: first[0] + second[0],
        1: first[1] + second[1],
    }


def test_transaction_hanging_in_all_partitions_is_aborted(affected, monkeypatch):
    """The client saw a commit, but no reader saw the transaction, so its events are counted again."""
    installation = Installation(affected, away=(0, 1), offsets_on=AWAY)
    first = installation.count(0, 10)
    installation.producer.commit_transaction(TIMEOUT_S)
    installation.count(10, 25)
    installation.end_while_leaderless(installation.internal.partials, commit=True)
    time.sleep(SETTLED_S)
    found = look(installation)
    assert len(found) == 3
    assert {outcome for outcome, _ in found.values()} == {TransactionOutcome.ABORT}
    assert all("nobody has continued from it" in reason for _, reason in found.values())

    resolve(installation, monkeypatch)
    assert installation.committed(installation.internal.group, installation.events, 0) == 10
    assert installation.values(installation.internal.partials) == {0: first[0], 1: first[1]}


def test_outputs_follow_transaction_and_events_are_left_alone(affected, monkeypatch):
    installation = Installation(affected, events_on=AWAY)
    installation.count(0, 10)
    for topic in (installation.letters, installation.windows, installation.events):
        installation.producer.produce(topic, json.dumps({"of": topic}).encode())
    assert installation.producer.flush(TIMEOUT_S) == 0
    installation.end_while_leaderless(installation.internal.partials, commit=True)
    time.sleep(SETTLED_S)
    found = look(installation)
    own = {(installation.internal.partials, 0), (installation.letters, 0), (installation.windows, 0)}
    assert found.keys() == {*own, (installation.events, 0)}
    assert {found[partition][0] for partition in own} == {TransactionOutcome.COMMIT}
    outcome, reason = found[installation.events, 0]
    assert outcome is None
    assert "its producer's owner" in reason

    status, output = run(installation, monkeypatch, "resolve", "--apply")
    assert status == 1
    assert "  left alone: driftgauge did not write it" in output
    assert look(installation).keys() == {(installation.events, 0)}
    assert installation.values(installation.letters) == {
        0: [json.dumps({"of": installation.letters}).encode()]
    }


def test_ongoing_transaction_does_not_hang(affected):
    installation = Installation(affected)
    installation.count(0, 10)
    assert installation.hangs(installation.internal.partials, 0)
    assert look(installation) == {}
    installation.producer.abort_transaction(TIMEOUT_S)


def test_unaffected_version_ends_transaction_by_itself():
    with running_cluster([COMBINED, BROKER]) as cluster:
        installation = Installation(cluster)
        first = installation.count(0, 10)
        installation.end_while_leaderless(installation.internal.partials, commit=True)
        installation.await_that(
            lambda: not installation.hangs(installation.internal.partials, 0), "the marker"
        )
        assert look(installation) == {}
        assert installation.values(installation.internal.partials) == {0: first[0], 1: first[1]}
