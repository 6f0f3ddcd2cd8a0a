"""COUNT and WINDOWS on a real broker: counts after aborts, deletions and open transactions."""

import threading

import pytest

from driftgauge.errors import TransactionAborted
from driftgauge.kafka import service
from driftgauge.kafka.transaction import Transaction
from driftgauge.telemetry.health import Role
from tests.builders.clocks import MONDAY_MS
from tests.builders.events import build_event
from tests.harness.running_service import SHARDS, STREAM, RunningService
from tests.harness.topics import TIMEOUT_S, non_member

pytestmark = pytest.mark.broker

ABORTED = {2, 3, 6}


def publish(cluster, number, time_ms=0, stream=STREAM):
    """Publish a number of events within one second to each partition."""
    for partition in range(cluster.partitions):
        values = [build_event(MONDAY_MS + time_ms + index, stream=stream) for index in range(number)]
        cluster.publish(*values, partition=partition)


def close_windows(cluster):
    """Publish an event far ahead to every partition, which closes the open windows."""
    publish(cluster, 1, time_ms=50_000)


def abort_some(monkeypatch, role):
    """Abort some of a role's commits after the broker has the whole transaction."""
    commits = []

    class RefusingTransaction(Transaction):
        def commit(self, offsets, bound_s):
            if self.producer.endswith(f".{role.value}"):
                commits.append(self.epoch)
                if len(commits) in ABORTED:
                    self._deliver(self._clock.monotonic_s() + bound_s)
                    self.abort(bound_s)
                    message = "refused by the test"
                    raise TransactionAborted(message)
            super().commit(offsets, bound_s)

    monkeypatch.setattr(service, "Transaction", RefusingTransaction)


@pytest.mark.parametrize("role", list(Role))
def test_abort_counts_each_event_once(cluster, monkeypatch, role):
    abort_some(monkeypatch, role)
    with RunningService(cluster) as running:
        for part in range(8):
            publish(cluster, 10, time_ms=100 * part)
            cluster.publish(b"junk")
            cluster.await_that(
                lambda so_far=part + 1: running.counted() == 20 * so_far, "the part to be counted"
            )
        cluster.await_that(
            lambda: running.value("commits_total", role=role, outcome="aborted") == len(ABORTED), "all aborts"
        )
        close_windows(cluster)
        running.await_counts({(STREAM, 0): 160})
        assert running.chain() == (0, 0, 0)
        labels = {"topic": cluster.events, "stream": "", "reason": "undecodable"}
        assert running.value("records_rejected_total", **labels) == 8
    assert [value for _, value in cluster.pairs(cluster.letters)] == [b"junk"] * 8


@pytest.mark.parametrize("refusing", ["letters", "partials"])
def test_role_waits_for_topic_that_takes_none_of_its_records(cluster, refusing):
    with RunningService(cluster) as running:
        publish(cluster, 10)
        cluster.await_that(lambda: running.counted() == 20, "the first to be counted")
        topic = cluster.letters if refusing == "letters" else running.settings.partials_topic
        cluster.configure(topic, max_message_bytes="100")
        publish(cluster, 10, time_ms=100)
        cluster.publish(b"junk")
        waiting = {"role": Role.COUNT, "reason": "MSG_SIZE_TOO_LARGE"}
        cluster.await_that(lambda: running.value("waiting", **waiting) == 1, "the role to wait")
        # A new session gets partitions, and is not ready before a commit.
        lost = running.value("sessions_lost_total", role=Role.COUNT)
        cluster.await_that(
            lambda: running.value("sessions_lost_total", role=Role.COUNT) > lost, "another session"
        )
        assert f"raise max.message.bytes of {topic}" in running.telemetry.health.reasons()[Role.COUNT]
        assert running.value("ready", condition=Role.COUNT) == 0
        cluster.configure(topic, max_message_bytes="1000000")
        cluster.await_that(lambda: running.counted() == 40, "the others as well")
        close_windows(cluster)
        running.await_counts({(STREAM, 0): 40})
        assert running.chain() == (0, 0, 0)
        cluster.await_that(lambda: running.value("ready", condition=Role.COUNT) == 1, "the role to be ready")
    assert len(cluster.pairs(cluster.letters)) == 1


def test_roles_wait_for_threads(cluster, monkeypatch):
    start, is_full = threading.Thread.start, threading.Event()

    def start_or_refuse(thread):
        if is_full.is_set() and thread.name in {"call", "probe"}:
            message = "can't start new thread"
            raise RuntimeError(message)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_refuse)
    with RunningService(cluster) as running:
        publish(cluster, 10)
        cluster.await_that(lambda: running.counted() == 20, "the first to be counted")
        publish(cluster, 10, time_ms=100)
        is_full.set()
        reasons = running.telemetry.health.reasons
        cluster.await_that(
            lambda: all("podPidsLimit" in reasons().get(role, "") for role in Role), "both roles to wait"
        )
        is_full.clear()
        cluster.await_that(lambda: running.counted() == 40, "the others as well")
        close_windows(cluster)
        running.await_counts({(STREAM, 0): 40})
        assert running.chain() == (0, 0, 0)


def test_partials_deleted_before_applied_are_a_gap(cluster):
    with RunningService(cluster) as running:
        publish(cluster, 10)
        cluster.await_that(lambda: running.counted() == 20, "the first to be counted")
        close_windows(cluster)
        running.await_counts({(STREAM, 0): 20})
    partials = running.settings.partials_topic
    with RunningService(cluster, [Role.COUNT]) as running:
        publish(cluster, 10, time_ms=2_000)
        cluster.await_that(lambda: running.counted() == 20, "the second to be counted")
    ends = cluster.offsets([(partials, shard) for shard in range(SHARDS)])
    for (topic, shard), end in ends.items():
        cluster.delete_records(topic, shard, before=end)
    with RunningService(cluster) as running:
        publish(cluster, 10, time_ms=60_000)
        cluster.await_that(lambda: running.chain()[0] > 0, "the gap to be found")
        assert running.chain()[1:] == (0, 0)


def test_pending_offset_does_not_delay_other_partition(cluster):
    with RunningService(cluster) as running:
        publish(cluster, 10)
        cluster.await_that(lambda: running.counted() == 20, "the first to be counted")
    publish(cluster, 10, time_ms=10)
    writer = cluster.writer(**{"transaction.timeout.ms": 120_000})
    writer.begin_transaction()
    with non_member(cluster.bootstrap, cluster.group) as consumer:
        metadata = consumer.consumer_group_metadata()
        writer.send_offsets_to_transaction(cluster.at({0: 10}), metadata, TIMEOUT_S)
    with RunningService(cluster) as running:
        cluster.await_that(lambda: running.counted() == 10, "the other partition to be counted")
        assert running.value("consumer_assigned_partitions", topic=cluster.events) == 2
        writer.abort_transaction(TIMEOUT_S)
        cluster.await_that(lambda: running.counted() == 20, "that one as well")
        close_windows(cluster)
        running.await_counts({(STREAM, 0): 40})
        assert running.chain() == (0, 0, 0)
