"""Preparation of the internal topics: created, checked, refused where lost or unsafe."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import TopicPartition

from driftgauge.errors import BrokerError, StateError
from driftgauge.kafka import client, lost_topics
from driftgauge.kafka.internal_topics import CHANGELOG_SETTINGS, PARTIALS_SETTINGS
from tests.kafka.broker import Broker
from tests.kafka.internal_topics import SHARDS, InternalTopicsCluster, StaleAdmin
from tests.kafka.topic_owner import TIMEOUT_S

pytestmark = pytest.mark.broker


@pytest.fixture
def cluster(bootstrap):
    with InternalTopicsCluster(bootstrap) as cluster:
        yield cluster


def test_internal_topics_are_created_with_partitions_and_settings(cluster):
    cluster.prepare()
    for topic, wanted in ((cluster.partials, PARTIALS_SETTINGS), (cluster.changelog, CHANGELOG_SETTINGS)):
        assert cluster.count_partitions(topic) == SHARDS
        settings = cluster.settings(topic)
        assert {name: settings[name] for name in wanted} == wanted


def test_prepare_again_changes_no_settings(cluster):
    cluster.prepare()
    before = cluster.settings(cluster.partials), cluster.settings(cluster.changelog)
    cluster.commit_events()
    cluster.commit_partials()
    cluster.prepare()
    assert (cluster.settings(cluster.partials), cluster.settings(cluster.changelog)) == before


def test_three_replicas_create_internal_topics_at_once(cluster):
    barrier = threading.Barrier(3)

    def prepare():
        admin = client.admin(cluster.properties)
        count, windows = (client.consumer(cluster.properties, group) for group in ("a", "b"))
        barrier.wait(TIMEOUT_S)
        try:
            cluster.prepare(admin, count=count, windows=windows)
        finally:
            count.close()
            windows.close()

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(prepare) for _ in range(3)]:
            future.result(TIMEOUT_S)
    assert cluster.count_partitions(cluster.partials) == cluster.count_partitions(cluster.changelog) == SHARDS


def test_topics_created_and_used_by_another_replica_are_not_lost(cluster):
    stale = StaleAdmin(cluster.admin)
    cluster.prepare()
    cluster.commit_events()
    cluster.commit_partials()
    cluster.prepare(stale)


@pytest.mark.parametrize("which", ["partials", "changelog"])
def test_internal_topic_with_other_partition_count_is_refused(cluster, which):
    topic = getattr(cluster, which)
    cluster.create(topic, SHARDS + 1, cleanup_policy="compact")
    with pytest.raises(StateError, match=rf"{topic} has 3 partitions and must have 2, one a shard"):
        cluster.prepare()


def test_lost_changelog_is_refused_and_not_created(cluster):
    cluster.prepare()
    cluster.commit_partials()
    cluster.delete(cluster.changelog)
    with pytest.raises(StateError, match=rf"{cluster.changelog} is missing, yet .* --delete-offsets"):
        cluster.prepare()
    assert cluster.count_partitions(cluster.changelog) == 0


def test_changelog_is_created_again_before_first_commit(cluster):
    cluster.prepare()
    cluster.commit_events()
    cluster.delete(cluster.changelog)
    cluster.prepare()
    assert cluster.count_partitions(cluster.changelog) == SHARDS


@pytest.mark.parametrize("changelog_too", [False, True])
def test_lost_partials_are_refused_and_not_created(cluster, changelog_too):
    cluster.prepare()
    cluster.commit_events()
    cluster.delete(cluster.partials)
    known = f"its changelog {cluster.changelog} is there"
    if changelog_too:
        cluster.delete(cluster.changelog)
        known = "the group has read events"
    with pytest.raises(StateError, match=rf"{cluster.partials} is missing, yet {known}: .*kafka reshard"):
        cluster.prepare()
    assert cluster.count_partitions(cluster.partials) == 0


def test_offsets_of_another_group_do_not_matter(cluster):
    non_member = client.consumer(cluster.properties, f"{cluster.group}-2")
    non_member.commit(offsets=[TopicPartition(cluster.events, 1, 7)], asynchronous=False)
    non_member.close()
    cluster.prepare()


@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_prepare_fails_until_open_transaction_on_offsets_ends(cluster, ending, monkeypatch):
    monkeypatch.setattr(lost_topics, "_TIMEOUT_S", 0.2)
    producer = cluster.producer()
    producer.begin_transaction()
    producer.send_offsets_to_transaction(
        [TopicPartition(cluster.events, 1, 7)], cluster.count.consumer_group_metadata(), TIMEOUT_S
    )
    with pytest.raises(BrokerError, match=f"offsets of topic {cluster.events} are unknown"):
        cluster.prepare()
    assert cluster.count_partitions(cluster.partials) == 0
    if ending == "commit":
        producer.commit_transaction(TIMEOUT_S)
        with pytest.raises(StateError, match="is missing, yet the group has read events"):
            cluster.prepare()
    else:
        producer.abort_transaction(TIMEOUT_S)
        cluster.prepare()


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_changelog_with_deleting_policy_is_refused(cluster, policy):
    cluster.create(cluster.partials, SHARDS, **PARTIALS_SETTINGS)
    cluster.create(cluster.changelog, SHARDS, cleanup_policy=policy)
    with pytest.raises(StateError, match=rf"has cleanup.policy={policy}: .* Set it to compact"):
        cluster.prepare()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cleanup.policy", "compact"),
        ("retention.ms", "604799999"),
        ("retention.bytes", "1000000"),
        ("message.timestamp.type", "CreateTime"),
    ],
)
def test_partials_with_unsafe_settings_are_refused(cluster, setting, value):
    cluster.create(cluster.partials, SHARDS, **{**PARTIALS_SETTINGS, setting: value})
    with pytest.raises(StateError, match=rf"{cluster.partials} has {setting}={value} \(must be .*\): "):
        cluster.prepare()


@pytest.mark.parametrize("retention_ms", ["-1", "700000000"])
def test_partials_with_longer_retention_keep_their_settings(cluster, retention_ms):
    cluster.create(cluster.partials, SHARDS, **{**PARTIALS_SETTINGS, "retention.ms": retention_ms})
    cluster.prepare()
    assert cluster.settings(cluster.partials)["retention.ms"] == retention_ms


def test_first_start_on_new_cluster_waits_for_coordinator(kafka_broker):
    with Broker() as broker, InternalTopicsCluster(broker.bootstrap) as cluster:
        cluster.prepare()
