"""KAFKA-20734 on two nodes: a transaction hangs, is named, and is ended as it was decided."""

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
from tests.kafka.fixtures import running_cluster
from tests.kafka.hanging.commits import AWAY, TIMEOUT_S, Stage
from tests.kafka.nodes import BROKER, COMBINED

pytestmark = pytest.mark.broker

AFFECTED = "4.3.1"
# On a version that is not affected the markers are there within a second of the restart.
SETTLED_S = 3.0


@pytest.fixture(scope="module")
def affected():
    with running_cluster([COMBINED, BROKER], version=AFFECTED) as cluster:
        yield cluster


def look(stage):
    """How each transaction that hangs would be ended, and why, by partition."""
    with OperatorClient({"bootstrap.servers": stage.cluster.bootstrap}) as client:
        found = survey(client, stage.topics, time.time_ns() // 1_000_000)
        assert not found.unasked
        assert not found.missing
        decisions = decide_all(client, stage.topics, found.hangs)
    assert all(hang.coordinator.transactional_id == stage.name for hang in found.hangs)
    return {
        hang.transaction.partition: (decision.outcome, decision.reason)
        for hang, decision in zip(found.hangs, decisions, strict=True)
    }


def run(stage, monkeypatch, *arguments):
    """The command's exit status and what it printed."""
    settings = SimpleNamespace(
        kafka={"bootstrap.servers": stage.cluster.bootstrap},
        topics=SimpleNamespace(events=stage.topics.events, windows=stage.windows, dead_letters=stage.letters),
        partials_topic=stage.internal.partials,
        changelog_topic=stage.internal.changelog,
        group=stage.internal.group,
        windows_group=stage.internal.windows_group,
    )
    monkeypatch.setattr(transactions, "settings_of", lambda _: settings)
    done = CliRunner().invoke(
        cli, ["kafka", "transactions", *arguments, "--config", "driftgauge.yaml"], catch_exceptions=False
    )
    return done.exit_code, done.output


def resolve(stage, monkeypatch):
    status, output = run(stage, monkeypatch, "resolve", "--apply")
    assert status == 0, output
    assert_none_hangs(stage, monkeypatch)


def assert_none_hangs(stage, monkeypatch):
    status, output = run(stage, monkeypatch, "list")
    assert status == 0
    assert re.fullmatch(r"0 transactions hang in [89] partitions\n", output)


def test_commands_name_commit_and_end_what_hangs(affected, monkeypatch):
    stage = Stage(affected)
    first = stage.count(0, 10)
    stage.producer.commit_transaction(TIMEOUT_S)
    second = stage.count(10, 25)
    stage.end_while_leaderless(stage.internal.partials, commit=True)
    time.sleep(SETTLED_S)
    partials = stage.internal.partials
    assert stage.hangs(partials, 0)
    assert stage.committed(stage.internal.group, stage.events, 0) == 25
    assert stage.values(partials) == {0: first[0], 1: first[1] + second[1]}

    status, output = run(stage, monkeypatch, "list")
    assert status == 1
    assert f"{partials}[0] from offset 2: producer" in output
    assert f"({stage.name})" in output
    assert "node 1: CompleteCommit" in output
    status, output = run(stage, monkeypatch, "resolve")
    assert status == 0
    assert "  would commit: the same transaction is committed in" in output
    assert f"{partials}[1]" in output
    assert "--apply" in output
    assert stage.hangs(partials, 0)

    status, output = run(stage, monkeypatch, "resolve", "--apply")
    assert status == 0
    assert "  commit: the same transaction is committed in" in output
    assert not stage.hangs(partials, 0)
    assert stage.values(partials) == {0: first[0] + second[0], 1: first[1] + second[1]}
    assert_none_hangs(stage, monkeypatch)


def test_aborted_count_is_aborted(affected, monkeypatch):
    stage = Stage(affected)
    first = stage.count(0, 10)
    stage.producer.commit_transaction(TIMEOUT_S)
    stage.count(10, 25)
    stage.end_while_leaderless(stage.internal.partials, commit=False)
    time.sleep(SETTLED_S)
    assert stage.hangs(stage.internal.partials, 0)
    ((place, (outcome, reason)),) = look(stage).items()
    assert place == (stage.internal.partials, 0)
    assert outcome is TransactionOutcome.ABORT
    assert "aborted in __consumer_offsets" in reason

    resolve(stage, monkeypatch)
    assert stage.committed(stage.internal.group, stage.events, 0) == 10
    again = stage.count(10, 30)
    stage.producer.commit_transaction(TIMEOUT_S)
    stage.await_that(lambda: not stage.hangs(stage.internal.partials, 0), "the marker")
    assert stage.values(stage.internal.partials) == {0: first[0] + again[0], 1: first[1] + again[1]}


def test_count_that_others_went_on_from_is_committed_by_offsets_log(affected, monkeypatch):
    """All shards hang; only the log of the group's offsets says what was decided, not the offset of today."""
    stage = Stage(affected, away=(0, 1))
    written = stage.count(0, 10)
    stage.end_while_leaderless(stage.internal.partials, commit=True)
    time.sleep(SETTLED_S)
    other = Stage.make_producer(stage, stage._name("other", "__transaction_state", 1))
    other.begin_transaction()
    stage.producer, hung = other, stage.producer
    stage.send_offset(stage.internal.group, stage.events, 0, 99)
    other.commit_transaction(TIMEOUT_S)
    found = look(stage)
    assert found.keys() == {(stage.internal.partials, 0), (stage.internal.partials, 1)}
    assert {outcome for outcome, _ in found.values()} == {TransactionOutcome.COMMIT}
    assert all("committed in __consumer_offsets" in reason for _, reason in found.values())

    resolve(stage, monkeypatch)
    assert stage.values(stage.internal.partials) == {0: written[0], 1: written[1]}
    del hung


@pytest.mark.parametrize("commit", [True, False])
def test_windows_shard_is_ended_by_its_groups_offset(affected, monkeypatch, commit):
    stage = Stage(affected)
    stage.close(0, 5)
    stage.producer.commit_transaction(TIMEOUT_S)
    second = stage.close(0, 9)
    stage.end_while_leaderless(stage.internal.changelog, commit=commit)
    time.sleep(SETTLED_S)
    ((place, (outcome, reason)),) = look(stage).items()
    assert place == (stage.internal.changelog, 0)
    assert outcome is (TransactionOutcome.COMMIT if commit else TransactionOutcome.ABORT)
    assert "in __consumer_offsets" in reason

    resolve(stage, monkeypatch)
    assert (second in stage.values(stage.internal.changelog)[0]) is commit
    assert stage.committed(stage.internal.windows_group, stage.internal.partials, 0) == (9 if commit else 5)


def test_offsets_that_hang_follow_the_shard_that_was_told(affected, monkeypatch):
    stage = Stage(affected, offsets_on=AWAY)
    first = stage.count(0, 10)
    stage.producer.commit_transaction(TIMEOUT_S)
    second = stage.count(10, 25)
    stage.end_while_leaderless(stage.internal.partials, commit=True)
    time.sleep(SETTLED_S)
    with pytest.raises(KafkaException):
        stage.committed(stage.internal.group, stage.events, 0, within_s=2.0)
    found = look(stage)
    assert {topic for topic, _ in found} == {stage.internal.partials, "__consumer_offsets"}
    assert {outcome for outcome, _ in found.values()} == {TransactionOutcome.COMMIT}

    resolve(stage, monkeypatch)
    assert stage.committed(stage.internal.group, stage.events, 0) == 25
    assert stage.values(stage.internal.partials) == {0: first[0] + second[0], 1: first[1] + second[1]}


def test_transaction_that_hangs_everywhere_is_aborted(affected, monkeypatch):
    """The client was told that it was committed; nobody has seen anything of it, so it is counted again."""
    stage = Stage(affected, away=(0, 1), offsets_on=AWAY)
    first = stage.count(0, 10)
    stage.producer.commit_transaction(TIMEOUT_S)
    stage.count(10, 25)
    stage.end_while_leaderless(stage.internal.partials, commit=True)
    time.sleep(SETTLED_S)
    found = look(stage)
    assert len(found) == 3
    assert {outcome for outcome, _ in found.values()} == {TransactionOutcome.ABORT}
    assert all("nobody has continued from it" in reason for _, reason in found.values())

    resolve(stage, monkeypatch)
    assert stage.committed(stage.internal.group, stage.events, 0) == 10
    assert stage.values(stage.internal.partials) == {0: first[0], 1: first[1]}


def test_outputs_follow_their_transaction_and_events_are_left_alone(affected, monkeypatch):
    stage = Stage(affected, events_on=AWAY)
    stage.count(0, 10)
    for topic in (stage.letters, stage.windows, stage.events):
        stage.producer.produce(topic, json.dumps({"of": topic}).encode())
    assert stage.producer.flush(TIMEOUT_S) == 0
    stage.end_while_leaderless(stage.internal.partials, commit=True)
    time.sleep(SETTLED_S)
    found = look(stage)
    own = {(stage.internal.partials, 0), (stage.letters, 0), (stage.windows, 0)}
    assert found.keys() == {*own, (stage.events, 0)}
    assert {found[place][0] for place in own} == {TransactionOutcome.COMMIT}
    outcome, reason = found[stage.events, 0]
    assert outcome is None
    assert "its producer's owner" in reason

    status, output = run(stage, monkeypatch, "resolve", "--apply")
    assert status == 1
    assert "  left alone: driftgauge did not write it" in output
    assert look(stage).keys() == {(stage.events, 0)}
    assert stage.values(stage.letters) == {0: [json.dumps({"of": stage.letters}).encode()]}


def test_open_transaction_that_its_producer_holds_does_not_hang(affected):
    stage = Stage(affected)
    stage.count(0, 10)
    assert stage.hangs(stage.internal.partials, 0)
    assert look(stage) == {}
    stage.producer.abort_transaction(TIMEOUT_S)


def test_version_that_is_not_affected_ends_it_by_itself():
    with running_cluster([COMBINED, BROKER]) as cluster:
        stage = Stage(cluster)
        first = stage.count(0, 10)
        stage.end_while_leaderless(stage.internal.partials, commit=True)
        stage.await_that(lambda: not stage.hangs(stage.internal.partials, 0), "the marker")
        assert look(stage) == {}
        assert stage.values(stage.internal.partials) == {0: first[0], 1: first[1]}
