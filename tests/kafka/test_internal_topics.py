"""Preparation of the internal topics: created, checked, refused where lost or unsafe."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from driftgauge.errors import StateError
from driftgauge.kafka import client
from driftgauge.kafka.topics import CHANGELOG_SETTINGS, PARTIALS_SETTINGS
from tests.harness.internal_topics import SHARDS, StaleAdmin
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
