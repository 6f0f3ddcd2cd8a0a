"""Preparation of the internal topics: created, checked, refused where lost or unsafe."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import TopicPartition

from driftgauge.errors import BrokerError, StateError
from driftgauge.kafka import client, lost_topics
from driftgauge.kafka.internal_topics import CHANGELOG_SETTINGS, PARTIALS_SETTINGS
from tests.harness.closing import close
from tests.harness.internal_topics import SHARDS, StaleAdmin
from tests.harness.topics import TIMEOUT_S

pytestmark = pytest.mark.broker


def test_replicas_create_internal_topics_at_once_and_keep_their_settings(internal):
    barrier = threading.Barrier(3)

    def prepare():
        admin = client.admin(internal.properties)
        count, windows = (client.consumer(internal.properties, group) for group in ("a", "b"))
        barrier.wait(TIMEOUT_S)
        try:
            internal.prepare(admin, count=count, windows=windows)
        finally:
            close(count, "a member of COUNT")
            close(windows, "a member of WINDOWS")

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(prepare) for _ in range(3)]:
            future.result(TIMEOUT_S)
    topics = ((internal.partials, PARTIALS_SETTINGS), (internal.changelog, CHANGELOG_SETTINGS))
    before = {topic: internal.settings(topic) for topic, _ in topics}
    for topic, wanted in topics:
        assert internal.count_partitions(topic) == SHARDS
        assert before[topic].items() >= wanted.items()
    internal.commit_events()
    internal.commit_partials()
    internal.prepare()
    assert {topic: internal.settings(topic) for topic, _ in topics} == before


def test_topics_created_and_used_by_another_replica_are_not_lost(internal):
    stale = StaleAdmin(internal.admin)
    internal.prepare()
    internal.commit_events()
    internal.commit_partials()
    internal.prepare(stale)


@pytest.mark.parametrize("which", ["partials", "changelog"])
def test_internal_topic_with_other_partition_count_is_refused(internal, which):
    topic = getattr(internal, which)
    internal.create(topic, SHARDS + 1, cleanup_policy="compact")
    with pytest.raises(StateError, match=rf"{topic} has 3 partitions and must have 2, one a shard"):
        internal.prepare()


def test_lost_changelog_is_refused_and_not_created(internal):
    internal.prepare()
    internal.commit_partials()
    internal.delete(internal.changelog)
    with pytest.raises(StateError, match=rf"{internal.changelog} is missing, yet .* --delete-offsets"):
        internal.prepare()
    assert internal.count_partitions(internal.changelog) == 0


def test_changelog_is_created_again_before_first_commit(internal):
    internal.prepare()
    internal.commit_events()
    internal.delete(internal.changelog)
    internal.prepare()
    assert internal.count_partitions(internal.changelog) == SHARDS


@pytest.mark.parametrize("changelog_too", [False, True])
def test_lost_partials_are_refused_and_not_created(internal, changelog_too):
    internal.prepare()
    internal.commit_events()
    internal.delete(internal.partials)
    known = f"its changelog {internal.changelog} is there"
    if changelog_too:
        internal.delete(internal.changelog)
        known = "the group has read events"
    with pytest.raises(StateError, match=rf"{internal.partials} is missing, yet {known}: .*kafka reshard"):
        internal.prepare()
    assert internal.count_partitions(internal.partials) == 0


def test_offsets_of_another_group_do_not_matter(internal):
    non_member = client.consumer(internal.properties, f"{internal.group}-2")
    non_member.commit(offsets=[TopicPartition(internal.events, 1, 7)], asynchronous=False)
    non_member.close()
    internal.prepare()


@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_prepare_fails_until_open_transaction_on_offsets_ends(internal, ending, monkeypatch):
    monkeypatch.setattr(lost_topics, "_TIMEOUT_S", 0.2)
    producer = internal.producer()
    producer.begin_transaction()
    producer.send_offsets_to_transaction(
        [TopicPartition(internal.events, 1, 7)], internal.count.consumer_group_metadata(), TIMEOUT_S
    )
    with pytest.raises(BrokerError, match=f"offsets of topic {internal.events} are unknown"):
        internal.prepare()
    assert internal.count_partitions(internal.partials) == 0
    if ending == "commit":
        producer.commit_transaction(TIMEOUT_S)
        with pytest.raises(StateError, match="is missing, yet the group has read events"):
            internal.prepare()
    else:
        producer.abort_transaction(TIMEOUT_S)
        internal.prepare()


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
