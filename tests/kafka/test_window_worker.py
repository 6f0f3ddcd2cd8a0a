"""WINDOWS on a real broker: restores, and stopped shards beside running ones."""

import orjson
import pytest
from confluent_kafka import TopicPartition

from driftgauge.core.counting.partial import CommitId, PartitionProgress, shard_of
from driftgauge.core.windows.changelog import PositionKey
from driftgauge.records.changelog import encode_key
from driftgauge.records.partials import encode_commit
from driftgauge.telemetry.health import Role
from tests.builders.clocks import MONDAY_MS
from tests.builders.events import build_event
from tests.harness.cluster import Cluster
from tests.harness.running_service import OTHER, SHARDS, STREAM, RunningService
from tests.harness.topics import TIMEOUT_S, non_member, read

pytestmark = pytest.mark.broker

SHARD, OTHER_SHARD = shard_of(STREAM, SHARDS), shard_of(OTHER, SHARDS)


@pytest.fixture
def cluster(bootstrap):
    assert SHARD != OTHER_SHARD
    with Cluster(bootstrap, 1) as cluster:
        yield cluster


def publish(cluster, number, time_ms=0):
    """Publish `number` events of one second of each stream."""
    for stream in (STREAM, OTHER):
        cluster.publish(*(build_event(MONDAY_MS + time_ms + index, stream=stream) for index in range(number)))


def publish_partials(running, shard, *parts):
    """Append records to a shard's partials by another producer."""
    writer = running.cluster.writer()
    writer.begin_transaction()
    for part in parts:
        writer.produce(running.settings.partials_topic, part, partition=shard)
    writer.commit_transaction(TIMEOUT_S)


def commit(running, number=0, *, shards=SHARDS, at=("other-topic", 0), start=0):
    """Return the single part of a commit without events, of another producer."""
    progress = PartitionProgress("", 1, start == 0, 0, 0, None, at, start, start)
    return encode_commit(CommitId("somebody", 1, number), shards, [], [progress], 10**6, written_ms=MONDAY_MS)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        pytest.param(lambda running: [b"no partial"], "", id="damaged"),
        pytest.param(
            lambda running: commit(running, shards=3),
            "written for 3 shards",
            id="of another number of shards",
        ),
    ],
)
def test_invalid_partial_stops_only_its_shard(cluster, caplog, parts, reason):
    caplog.set_level("ERROR")
    with RunningService(cluster) as running:
        cluster.await_that(lambda: running.restored() == SHARDS, "both shards")
        publish_partials(running, OTHER_SHARD, *parts(running))
        stopped = {"topic": running.settings.partials_topic, "reason": "stopped"}
        cluster.await_that(lambda: running.value("blocked_partitions", **stopped) == 1, "one shard to stop")
        publish(cluster, 10)
        publish(cluster, 1, time_ms=50_000)
        running.await_counts({(STREAM, 0): 10})
        assigned = running.value("consumer_assigned_partitions", topic=stopped["topic"])
        assert assigned == SHARDS
    (line,) = [record for record in caplog.records if record.getMessage().startswith("shard stopped")]
    assert line.shard == OTHER_SHARD
    assert f"{running.settings.partials_topic}[{OTHER_SHARD}]@" in line.reason
    assert reason in line.reason


def test_incomplete_commit_is_orphaned_and_not_applied(cluster):
    with RunningService(cluster) as running:
        cluster.await_that(lambda: running.restored() == SHARDS, "both shards")
        partitions = [
            PartitionProgress("", 900, True, 0, 0, None, ("other-topic", index), 0, 0) for index in range(900)
        ]
        parts = encode_commit(CommitId("somebody", 1, 0), SHARDS, [], partitions, 8_000, written_ms=MONDAY_MS)
        assert len(parts) > 2
        publish_partials(running, SHARD, *parts[:2])
        publish_partials(running, SHARD, *commit(running, 1))
        cluster.await_that(lambda: running.chain() == (0, 0, 2), "the orphans to be counted")
        publish(cluster, 10)
        publish(cluster, 1, time_ms=50_000)
        running.await_counts({(STREAM, 0): 10, (OTHER, 0): 10})


def test_repeated_commit_is_applied_once(cluster):
    with RunningService(cluster) as running:
        publish(cluster, 10)
        cluster.await_that(lambda: running.counted() == 20, "all to be counted")
        partials = running.settings.partials_topic
        records = [
            each
            for each in read(cluster.bootstrap, partials, within_s=TIMEOUT_S)
            if each.partition() == SHARD
        ]
        publish_partials(running, SHARD, *(each.value() for each in records))
        publish(cluster, 1, time_ms=50_000)
        running.await_counts({(STREAM, 0): 10, (OTHER, 0): 10})
        assert running.chain() == (0, 0, 0)
    records = [orjson.loads(value) for _, value in cluster.pairs(cluster.windows)]
    assert {record["baseline_created"] for record in records} == {"2025-11-03T00:00:00Z"}
    assert {each["name"] for record in records for each in record["clusters"]} == {"a", "b", None, "d"}


def test_too_large_result_stops_only_its_shard(cluster, caplog):
    caplog.set_level("ERROR")
    cluster.windows = f"{cluster.windows}-small"
    cluster.create(cluster.windows, 1, max_message_bytes="500")
    with RunningService(cluster) as running:
        cluster.await_that(lambda: running.restored() == SHARDS, "both shards")
        events = (build_event(MONDAY_MS + time_ms, stream=STREAM) for time_ms in (0, 1, 2, 50_000))
        cluster.publish(*events)
        stopped = {"topic": running.settings.partials_topic, "reason": "stopped"}
        cluster.await_that(lambda: running.value("blocked_partitions", **stopped) == 1, "one shard to stop")
        commits = running.value("commits_total", role="windows", outcome="ok")
        cluster.await_that(
            lambda: running.value("commits_total", role="windows", outcome="ok") > commits, "a commit"
        )
        assert running.value("blocked_partitions", **stopped) == 1
    (line,) = [record for record in caplog.records if record.getMessage().startswith("shard stopped")]
    assert line.shard == SHARD
    assert f"raise max.message.bytes of {cluster.windows}" in line.reason


def changelog_records(cluster, running, shard):
    topic = running.settings.changelog_topic
    return [each for each in read(cluster.bootstrap, topic, within_s=TIMEOUT_S) if each.partition() == shard]


def test_restore_waits_for_open_transaction_in_changelog(cluster):
    """Such a transaction may still commit, although the group's offsets are already known."""
    with RunningService(cluster) as running:
        publish(cluster, 10)
        cluster.await_that(lambda: running.counted() == 20, "all to be counted")
        cluster.await_that(lambda: bool(changelog_records(cluster, running, SHARD)), "a changelog")
    position = [
        each for each in changelog_records(cluster, running, SHARD) if each.key() == encode_key(PositionKey())
    ][-1]
    writer = cluster.writer(**{"transaction.timeout.ms": 120_000})
    writer.begin_transaction()
    writer.produce(running.settings.changelog_topic, position.value(), position.key(), partition=SHARD)
    assert writer.flush(TIMEOUT_S) == 0
    with RunningService(cluster, [Role.WINDOWS]) as running:
        cluster.await_that(lambda: running.restored() == SHARDS - 1, "the other shard")
        # The shard had as long as the other one, and several polls more.
        polled = running.polled()
        cluster.await_that(lambda: running.polled() > polled + 10, "some polls")
        assert running.restored() == SHARDS - 1
        writer.commit_transaction(TIMEOUT_S)
        cluster.await_that(lambda: running.restored() == SHARDS, "that one as well")


def test_restore_waits_for_open_transaction_in_group_offsets(cluster):
    with RunningService(cluster) as running:
        publish(cluster, 10)
        cluster.await_that(lambda: running.counted() == 20, "all to be counted")
        cluster.await_that(lambda: running.restored() == SHARDS, "the shards")
        commits = running.value("commits_total", role="windows", outcome="ok")
        cluster.await_that(
            lambda: running.value("commits_total", role="windows", outcome="ok") > commits + 1,
            "their offsets",
        )
    group, topic = running.settings.windows_group, running.settings.partials_topic
    writer = cluster.writer(**{"transaction.timeout.ms": 120_000})
    writer.begin_transaction()
    with non_member(cluster.bootstrap, group) as consumer:
        (at,) = consumer.committed([TopicPartition(topic, SHARD)], timeout=TIMEOUT_S)
        writer.send_offsets_to_transaction([at], consumer.consumer_group_metadata(), TIMEOUT_S)
    with RunningService(cluster, [Role.WINDOWS]) as running:
        cluster.await_that(lambda: running.restored() == SHARDS - 1, "the other shard")
        writer.commit_transaction(TIMEOUT_S)
        cluster.await_that(lambda: running.restored() == SHARDS, "that one as well")
