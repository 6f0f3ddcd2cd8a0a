"""`driftgauge kafka transactions` on a fake cluster; tests/kafka/hanging runs it on a real one."""

import json
from contextlib import nullcontext

import pytest

from driftgauge.cli import transactions
from driftgauge.kafka.hanging import client
from driftgauge.kafka.hanging.model import TransactionOutcome
from driftgauge.kafka.hanging.survey import Topics
from tests.builders.configs import write_config
from tests.cli.command import run
from tests.kafka.hanging.test_evidence import NOW_MS, SHARD, SIBLING, TOPICS, FakeCluster, part


class _Cluster(FakeCluster):
    """A fake cluster whose transactions can be ended."""

    ended = None

    def end(self, transaction, outcome):
        self.ended = (transaction.partition, outcome)
        self.open.remove(transaction)


@pytest.fixture
def cluster(monkeypatch):
    """A cluster with a hanging transaction that is committed in the sibling shard."""
    cluster = _Cluster()
    cluster.write(SHARD, part(1, 0, 10))
    cluster.write(SIBLING, part(1, 0, 10), ends=TransactionOutcome.COMMIT)
    monkeypatch.setattr(client, "OperatorClient", lambda _: nullcontext(cluster))
    monkeypatch.setattr(Topics, "of", lambda _: TOPICS)
    monkeypatch.setattr(transactions, "_now_ms", lambda: NOW_MS)
    return cluster


def run_transactions(tmp_path, *arguments):
    return run("kafka", "transactions", *arguments, "--config", write_config(tmp_path))


def test_hanging_transactions_are_listed_and_resolved(tmp_path, cluster):
    done = run_transactions(tmp_path, "list", "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    (found,) = document["transactions"]
    assert (found["partition"], found["offset"]) == (f"{SHARD[0]}[{SHARD[1]}]", 0)
    assert found["coordinator"]["state"] == "CompleteCommit"
    assert document["unchecked"] == {}
    assert "1 transaction hangs in" in done.stderr
    text = run_transactions(tmp_path, "list").stdout
    assert text.startswith(f"{found['partition']} from offset 0: producer {found['producer']} ")
    done = run_transactions(tmp_path, "resolve", "--json")
    record = json.loads(done.stdout)
    assert (done.returncode, record["outcome"], record["ended"]) == (0, "commit", False)
    assert f"  would commit: {record['reason']}" in run_transactions(tmp_path, "resolve").stdout
    applied = run_transactions(tmp_path, "resolve", "--apply", "--json")
    assert json.loads(applied.stdout)["ended"] is True
    assert cluster.ended == (SHARD, TransactionOutcome.COMMIT)
    nothing = run_transactions(tmp_path, "list", "--json")
    assert (nothing.returncode, json.loads(nothing.stdout)["transactions"]) == (0, [])


def test_resolve_prints_an_object_for_each_transaction(tmp_path, cluster):
    cluster.write(SHARD, part(2, 10, 20))
    lines = run_transactions(tmp_path, "resolve", "--json").stdout.splitlines()
    assert [json.loads(line)["offset"] for line in lines] == [0, 1]
