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
from tests.harness.internal_topics import SHARDS, AclCluster, stale_admin
from tests.harness.topics import TIMEOUT_S

pytestmark = pytest.mark.broker

SETTINGS = {"partials": PARTIALS_SETTINGS, "changelog": CHANGELOG_SETTINGS}


def test_replicas_create_internal_topics_at_once_and_keep_their_settings(internal):
    barrier, stale = threading.Barrier(3), stale_admin(internal.admin)

    def prepare():
        admin = client.admin(internal.properties)
        barrier.wait(TIMEOUT_S)
        internal.prepare(admin)

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(prepare) for _ in range(3)]:
            future.result(TIMEOUT_S)
    before = {topic: internal.settings(topic) for topic in (internal.partials, internal.changelog)}
    for topic, wanted in zip(before, SETTINGS.values(), strict=True):
        assert internal.count_partitions(topic) == SHARDS
        assert before[topic].items() >= wanted.items()
    internal.prepare(stale)
    assert {topic: internal.settings(topic) for topic in before} == before


@pytest.mark.parametrize(
    ("which", "shards", "settings", "problem"),
    [
        *((which, SHARDS + 1, {}, "has 3 partitions and must have 2, one a shard") for which in SETTINGS),
        *(
            (
                "changelog",
                SHARDS,
                {"cleanup.policy": policy},
                f"has cleanup.policy={policy}: .* Set it to c",
            )
            for policy in ("delete", "compact,delete")
        ),
        *(
            ("partials", SHARDS, {setting: value}, rf"has {setting}={value} \(must be .*\): ")
            for setting, value in (
                ("cleanup.policy", "compact"),
                ("retention.ms", "604799999"),
                ("retention.bytes", "1000000"),
                ("message.timestamp.type", "CreateTime"),
            )
        ),
    ],
)
def test_unsafe_internal_topic_is_refused(internal, which, shards, settings, problem):
    topic = getattr(internal, which)
    internal.create(topic, shards, **SETTINGS[which] | settings)
    with pytest.raises(StateError, match=f"{topic} {problem}"):
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


def test_partials_with_longer_retention_keep_their_settings(internal):
    internal.create(internal.partials, SHARDS, **PARTIALS_SETTINGS | {"retention.ms": "-1"})
    internal.prepare()
    assert internal.settings(internal.partials)["retention.ms"] == "-1"


# The size of a changelog record, and the number of keys written in turn.
VALUE_BYTES = 3_000
KEYS = 50


def test_compaction_keeps_rewritten_state_small_and_complete(internal):
    internal.prepare()
    producer = internal.writer()
    newest = {}
    for first in range(0, 4_000, 20):
        batch = {
            b"pane-%d" % (number % KEYS): b"%d" % number + os.urandom(VALUE_BYTES)
            for number in range(first, first + 20)
        }
        producer.begin_transaction()
        for key, value in batch.items():
            producer.produce(internal.changelog, value, key, partition=0)
        producer.commit_transaction(TIMEOUT_S)
        newest |= batch
    records = []

    def is_small():
        # The last record of each key, and the active segment at most.
        records[:] = internal.pairs(internal.changelog)
        return sum(len(value) for _, value in records) < (1024 * 1024 + KEYS * VALUE_BYTES)

    internal.await_that(is_small, "a small changelog")
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


@pytest.mark.parametrize(
    ("denied", "text", "text_without_settings"),
    [
        (AclOperation.DESCRIBE, r"topic {} is hidden .*; grant Describe on it", r"grant Describe on it"),
        (
            AclOperation.CREATE,
            r"{} is missing and cannot be created .*; grant Create on it, or create it with 2 partitions and "
            "cleanup.policy=delete, retention.ms=604800000",
            r"grant Create on it, or create it$",
        ),
        (AclOperation.DESCRIBE_CONFIGS, r"settings of topic {} .*; grant DescribeC", None),
    ],
)
def test_missing_right_names_topic_and_right(cluster, denied, text, text_without_settings):
    if text_without_settings is None:
        cluster.prepare()
    for kind, name in ((ResourceType.BROKER, "kafka-cluster"), (ResourceType.TOPIC, cluster.partials)):
        cluster.deny(kind, name, denied)
    with pytest.raises(AuthorizationError, match=text.format(cluster.partials)):
        cluster.prepare()
    if text_without_settings is None:
        assert metadata.message_limit(cluster.admin, [cluster.partials]) is None
    else:
        with pytest.raises(AuthorizationError, match=text_without_settings):
            topics.create_missing_topics(cluster.admin, [cluster.partials], 1)
