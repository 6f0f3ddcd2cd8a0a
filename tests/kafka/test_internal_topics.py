"""The internal topics: created, checked, refused where lost, unsafe or forbidden; and their compaction."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AclOperation, ResourceType

from driftgauge.errors import AuthorizationError, StateError
from driftgauge.kafka import client, topics
from driftgauge.kafka import cluster as metadata
from driftgauge.kafka.topics import CHANGELOG_SETTINGS, PARTIALS_SETTINGS
from tests.harness.internal_topics import SHARDS, AclCluster, StaleAdmin
from tests.harness.topics import TIMEOUT_S

pytestmark = pytest.mark.broker


def test_replicas_create_internal_topics_at_once_and_keep_their_settings(internal):
    barrier = threading.Barrier(3)

    def prepare():
        admin = client.admin(internal.properties)
        barrier.wait(TIMEOUT_S)
        internal.prepare(admin)

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(prepare) for _ in range(3)]:
            future.result(TIMEOUT_S)
    topics = ((internal.partials, PARTIALS_SETTINGS), (internal.changelog, CHANGELOG_SETTINGS))
    before = {topic: internal.settings(topic) for topic, _ in topics}
    for topic, wanted in topics:
        assert internal.count_partitions(topic) == SHARDS
        assert before[topic].items() >= wanted.items()
    internal.prepare()
    assert {topic: internal.settings(topic) for topic, _ in topics} == before


def test_topics_created_and_used_by_another_replica_are_not_lost(internal):
    stale = StaleAdmin(internal.admin)
    internal.prepare()
    internal.prepare(stale)


@pytest.mark.parametrize("which", ["partials", "changelog"])
def test_internal_topic_with_other_partition_count_is_refused(internal, which):
    topic = getattr(internal, which)
    internal.create(topic, SHARDS + 1, cleanup_policy="compact")
    with pytest.raises(StateError, match=rf"{topic} has 3 partitions and must have 2, one a shard"):
        internal.prepare()


def test_other_number_of_shards_is_refused_before_it_loses_counts(internal):
    former, internal.partials = f"{internal.partials}.16", f"{internal.partials}.{SHARDS}"
    internal.create(former, 16)
    with pytest.raises(StateError, match=rf"{former} holds the counts of 16 shards, and 2 are configured: "):
        internal.prepare()
    # Whoever begins again deletes it.
    internal.delete(former)
    internal.prepare()
    assert internal.count_partitions(internal.partials) == SHARDS


def test_lost_internal_topics_are_created_empty(internal):
    """Each shard then finds that changelog, offset and partials do not fit together."""
    internal.prepare()
    internal.delete(internal.changelog)
    internal.delete(internal.partials)
    internal.prepare()
    assert (
        internal.count_partitions(internal.changelog)
        == internal.count_partitions(internal.partials)
        == SHARDS
    )


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_changelog_with_deleting_policy_is_refused(internal, policy):
    internal.create(internal.partials, SHARDS, **PARTIALS_SETTINGS)
    internal.create(internal.changelog, SHARDS, cleanup_policy=policy)
    with pytest.raises(StateError, match=rf"has cleanup.policy={policy}: .* Set it to compact"):
        internal.prepare()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cleanup.policy", "compact"),
        ("retention.ms", "604799999"),
        ("retention.bytes", "1000000"),
        ("message.timestamp.type", "CreateTime"),
    ],
)
def test_partials_with_unsafe_settings_are_refused(internal, setting, value):
    internal.create(internal.partials, SHARDS, **{**PARTIALS_SETTINGS, setting: value})
    with pytest.raises(StateError, match=rf"{internal.partials} has {setting}={value} \(must be .*\): "):
        internal.prepare()


def test_partials_with_longer_retention_keep_their_settings(internal):
    internal.create(internal.partials, SHARDS, **{**PARTIALS_SETTINGS, "retention.ms": "-1"})
    internal.prepare()
    assert internal.settings(internal.partials)["retention.ms"] == "-1"


# The size of a changelog record, and the number of keys written in turn.
VALUE_BYTES = 3_000
KEYS = 50


def test_compaction_keeps_rewritten_state_small_and_complete(internal):
    internal.prepare()
    producer = internal.producer()
    written, newest = 0, {}
    for number in range(4_000):
        if number % 20 == 0:
            producer.begin_transaction()
        key = b"pane-%d" % (number % KEYS)
        newest[key] = b"%d" % number + os.urandom(VALUE_BYTES)
        written += len(newest[key])
        producer.produce(internal.changelog, newest[key], key, partition=0)
        if number % 20 == 19:
            producer.commit_transaction(TIMEOUT_S)
    records = []

    def is_small():
        # The last record of each key, and the active segment at most.
        records[:] = internal.pairs(internal.changelog)
        return sum(len(value) for _, value in records) < (1024 * 1024 + KEYS * VALUE_BYTES)

    internal.await_that(is_small, "a small changelog")
    assert written > 12_000_000
    assert dict(records) == newest


def test_active_segment_with_few_writes_is_compacted(internal):
    """Compaction skips the active segment, and this one never fills."""
    lag_ms = 500
    settings = {**CHANGELOG_SETTINGS, "max.compaction.lag.ms": str(lag_ms)}
    internal.create(internal.changelog, 1, **settings)
    producer = client.producer(internal.properties)
    for number in range(100):
        producer.produce(internal.changelog, b"%d" % number, b"key", partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    assert len(internal.pairs(internal.changelog)) == 100

    def is_compacted():
        producer.produce(internal.changelog, b"newest", b"key", partition=0)
        assert producer.flush(TIMEOUT_S) == 0
        return b"99" not in dict(map(reversed, internal.pairs(internal.changelog)))

    internal.await_that(is_compacted, "the compaction")


def test_changelog_accepts_records_stamped_in_the_future(internal):
    internal.prepare()
    refusals = {}
    producer = client.producer(internal.properties)
    for topic in (internal.events, internal.changelog):
        ahead_ms = int(time.time() * 1_000) + 2 * 3_600_000
        producer.produce(
            topic,
            b"value",
            b"key",
            timestamp=ahead_ms,
            on_delivery=lambda error, message: refusals.update({message.topic(): error and error.code()}),
        )
    assert producer.flush(TIMEOUT_S) == 0
    assert refusals == {internal.events: KafkaError.INVALID_TIMESTAMP, internal.changelog: None}


@pytest.fixture
def cluster(guarded):
    return AclCluster(guarded)


def test_hidden_topic_is_not_reported_missing(cluster):
    cluster.set_rules(ResourceType.TOPIC, cluster.events, deny=[AclOperation.DESCRIBE])
    with pytest.raises(
        AuthorizationError, match=rf"topic {cluster.events} is hidden .*; grant Describe on it"
    ):
        topics.create_missing_topics(cluster.admin, [cluster.events], 1)
    cluster.set_rules(ResourceType.TOPIC, cluster.partials, deny=[AclOperation.DESCRIBE])
    with pytest.raises(AuthorizationError, match=f"topic {cluster.partials} is hidden"):
        cluster.prepare()


def test_create_without_right_names_topic_and_right(cluster):
    everything, create = [AclOperation.ALL], [AclOperation.CREATE]
    cluster.set_rules(ResourceType.BROKER, "kafka-cluster", allow=everything, deny=create)
    cluster.set_rules(ResourceType.TOPIC, cluster.partials, allow=everything, deny=create)
    remedy = (
        "grant Create on it, or create it with 2 partitions and cleanup.policy=delete, retention.ms=604800000"
    )
    with pytest.raises(
        AuthorizationError, match=rf"{cluster.partials} is missing and cannot be created .*; {remedy}"
    ):
        cluster.prepare()
    with pytest.raises(AuthorizationError, match=r"grant Create on it, or create it$"):
        topics.create_missing_topics(cluster.admin, [cluster.partials], 1)


def test_describe_configs_without_right_names_topic_and_right(cluster):
    cluster.prepare()
    cluster.set_rules(
        ResourceType.TOPIC, cluster.partials, allow=[AclOperation.ALL], deny=[AclOperation.DESCRIBE_CONFIGS]
    )
    with pytest.raises(
        AuthorizationError, match=rf"settings of topic {cluster.partials} .*; grant DescribeC"
    ):
        cluster.prepare()
    assert metadata.message_limit(cluster.admin, [cluster.partials]) is None
