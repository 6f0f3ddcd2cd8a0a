import logging
import os
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from deploy.demo.embedded_broker import EmbeddedBroker

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import AuthorizationError, BrokerError, StateError
from driftgauge.kafka import client, lost_topics, metadata, topics
from driftgauge.kafka.internal_topics import CHANGELOG_SETTINGS, PARTIALS_SETTINGS, InternalTopics
from tests.kafka.broker import Broker

TIMEOUT_S = 30.0
LONG_S = 120.0
# A record of state as one transaction writes it, and the keys that it goes round.
VALUE_BYTES = 3_000
KEYS = 50
SHARDS = 2


class Cluster:
    """A cluster with an events topic of three partitions, the names of the internal topics, two groups."""

    def __init__(self, bootstrap, shards=SHARDS):
        name = uuid.uuid4().hex
        self.events, self.group = f"events-{name}", f"group-{name}"
        self.partials, self.changelog = f"partials-{name}", f"changelog-{name}"
        self.shards = shards
        self.properties = {"bootstrap.servers": bootstrap, "group.id": self.group}
        self.admin = client.admin(self.properties)
        self.count = client.consumer(self.properties, self.group)
        self.windows = client.consumer(self.properties, f"{self.group}.windows")
        self.create(self.events, 3)

    def close(self):
        self.count.close()
        self.windows.close()

    def create(self, topic, partitions, **settings):
        config = {name.replace("_", "."): value for name, value in settings.items()}
        self.admin.create_topics([NewTopic(topic, partitions, config=config)])[topic].result(TIMEOUT_S)
        self.await_partitions(topic, partitions)

    def delete(self, topic):
        self.admin.delete_topics([topic])[topic].result(TIMEOUT_S)
        self.await_partitions(topic, 0)

    def await_partitions(self, topic, partitions):
        await_that(lambda: self.partitions(topic) == partitions)

    def partitions(self, topic):
        return metadata.count_partitions(self.admin, [topic]).get(topic, 0)

    def settings(self, topic):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        entries = self.admin.describe_configs([resource])[resource].result(TIMEOUT_S)
        return {name: entry.value for name, entry in entries.items()}

    def read_events(self):
        self.count.commit(offsets=[TopicPartition(self.events, 1, 7)], asynchronous=False)

    def apply_partials(self):
        self.windows.commit(offsets=[TopicPartition(self.partials, 1, 7)], asynchronous=False)

    def producer(self):
        producer = client.transactional_producer(self.properties, self.group, lambda _: None)
        producer.init_transactions(TIMEOUT_S)
        return producer

    def prepare(self, admin=None, replication=1, count=None, windows=None):
        topics.prepare_internal_topics(
            admin or self.admin,
            InternalTopics(self.partials, self.changelog, self.shards),
            replication=replication,
            events={self.events: 3},
            count=count or self.count,
            windows=windows or self.windows,
            clock=SYSTEM_CLOCK,
        )

    def read(self, topic):
        """Return all records of partition 0 that stand, key and value, in order."""
        reader = client.changelog_consumer(self.properties)
        reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        records = []
        while True:
            messages = reader.consume(1_000, 0.1)
            records += [(message.key(), message.value()) for message in messages if message.error() is None]
            errors = [message.error().code() for message in messages if message.error() is not None]
            if errors:
                assert errors == [KafkaError._PARTITION_EOF]
                reader.close()
                return records


class Behind:
    """An administration client whose broker shows the topics as they were, the first time it is asked."""

    def __init__(self, admin):
        self._admin = admin
        self._shown = [admin.list_topics(timeout=TIMEOUT_S)]

    def list_topics(self, timeout):
        return self._shown.pop() if self._shown else self._admin.list_topics(timeout=timeout)

    def __getattr__(self, name):
        return getattr(self._admin, name)


class Told:
    """An administration client of a cluster of several brokers."""

    def __init__(self, admin, brokers):
        self._known = admin.list_topics(timeout=TIMEOUT_S)
        self._known.brokers = dict.fromkeys(range(brokers))

    def list_topics(self, timeout):
        return self._known


def await_that(holds, bound_s=TIMEOUT_S):
    deadline_s = time.monotonic() + bound_s
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {bound_s:.0f} s"
        time.sleep(0.02)


@pytest.fixture
def cluster(bootstrap):
    cluster = Cluster(bootstrap)
    yield cluster
    cluster.close()


@pytest.fixture
def impatient(monkeypatch):
    """What is waited for in vain is given up sooner."""
    for module in (topics, lost_topics):
        monkeypatch.setattr(module, "_TIMEOUT_S", 0.2)
    for module in (topics, lost_topics, metadata):
        monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 0.5)


@pytest.mark.broker
def test_missing_topics_are_created_with_the_clusters_partitions_and_others_left_alone(cluster):
    names = [cluster.events, cluster.partials]
    topics.create_missing_topics(cluster.admin, names, 1)
    await_that(lambda: metadata.missing_topics(cluster.admin, names) == [])
    assert cluster.partitions(cluster.partials) == 4, "as the broker is configured"
    topics.create_missing_topics(cluster.admin, names, 1)
    assert cluster.partitions(cluster.events) == 3


@pytest.mark.broker
def test_topic_created_by_somebody_else_meanwhile_is_no_error(cluster):
    behind = Behind(cluster.admin)
    cluster.create(cluster.partials, 5)
    topics.create_missing_topics(behind, [cluster.partials], 1)
    assert cluster.partitions(cluster.partials) == 5


@pytest.mark.broker
def test_refused_topic_is_a_broker_error_with_the_remedy(cluster):
    with pytest.raises(BrokerError, match=r"topic no/topic is missing and cannot be created .*; create it"):
        topics.create_missing_topics(cluster.admin, ["no/topic"], 1)
    with pytest.raises(BrokerError, match=r"cannot be created \(.*replication factor"):
        topics.create_missing_topics(cluster.admin, [cluster.partials], 9)


@pytest.mark.broker
def test_replication_is_the_events_own_unless_configured(cluster, caplog):
    assert topics.replication_factor(cluster.admin, [cluster.events], None) == 1
    assert topics.replication_factor(cluster.admin, [cluster.events], 3) == 3
    with pytest.raises(BrokerError, match="topic nowhere is missing; create it"):
        topics.replication_factor(cluster.admin, ["nowhere"], None)
    assert caplog.records == []


@pytest.mark.broker
def test_one_replica_on_several_brokers_is_warned_of(cluster, caplog):
    told = Told(cluster.admin, brokers=3)
    assert topics.replication_factor(told, [cluster.events], 2) == 2
    assert caplog.records == []
    assert topics.replication_factor(told, [cluster.events], None) == 1
    assert [(line.levelno, line.getMessage()) for line in caplog.records] == [
        (logging.WARNING, "topics have one replica: a broker that is away stops what depends on it")
    ]


@pytest.mark.parametrize(("replication", "safe"), [(1, None), (2, None), (3, "2"), (5, "2")])
def test_two_of_three_replicas_must_take_a_write(replication, safe):
    new = topics._new_topic("t", 4, replication, {"cleanup.policy": "compact"})
    assert (new.num_partitions, new.replication_factor) == (4, replication)
    assert new.config.get("min.insync.replicas") == safe
    assert new.config["cleanup.policy"] == "compact"


@pytest.mark.broker
def test_internal_topics_are_created_with_a_partition_a_shard_and_their_settings(cluster):
    cluster.prepare()
    for topic, wanted in ((cluster.partials, PARTIALS_SETTINGS), (cluster.changelog, CHANGELOG_SETTINGS)):
        assert cluster.partitions(topic) == SHARDS
        settings = cluster.settings(topic)
        assert {name: settings[name] for name in wanted} == wanted


@pytest.mark.broker
def test_preparing_again_changes_nothing_though_both_groups_have_read(cluster):
    cluster.prepare()
    before = cluster.settings(cluster.partials), cluster.settings(cluster.changelog)
    cluster.read_events()
    cluster.apply_partials()
    cluster.prepare()
    assert (cluster.settings(cluster.partials), cluster.settings(cluster.changelog)) == before


@pytest.mark.broker
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
    assert cluster.partitions(cluster.partials) == cluster.partitions(cluster.changelog) == SHARDS


@pytest.mark.broker
def test_internal_topics_that_another_replica_created_and_used_meanwhile_are_not_lost(cluster):
    behind = Behind(cluster.admin)
    cluster.prepare()
    cluster.read_events()
    cluster.apply_partials()
    cluster.prepare(behind)


@pytest.mark.broker
@pytest.mark.parametrize("which", ["partials", "changelog"])
def test_internal_topic_with_another_number_of_partitions_is_refused(cluster, which):
    topic = getattr(cluster, which)
    cluster.create(topic, SHARDS + 1, cleanup_policy="compact")
    with pytest.raises(StateError, match=rf"{topic} has 3 partitions and must have 2, one a shard"):
        cluster.prepare()


@pytest.mark.broker
def test_lost_changelog_is_refused_and_not_created_again(cluster):
    cluster.prepare()
    cluster.apply_partials()
    cluster.delete(cluster.changelog)
    with pytest.raises(StateError, match=rf"{cluster.changelog} is missing, yet .* --delete-offsets"):
        cluster.prepare()
    assert cluster.partitions(cluster.changelog) == 0


@pytest.mark.broker
def test_changelog_is_created_again_where_nothing_was_applied(cluster):
    cluster.prepare()
    cluster.read_events()
    cluster.delete(cluster.changelog)
    cluster.prepare()
    assert cluster.partitions(cluster.changelog) == SHARDS


@pytest.mark.broker
@pytest.mark.parametrize("changelog_too", [False, True])
def test_lost_partials_are_refused_and_not_created_again(cluster, changelog_too):
    cluster.prepare()
    cluster.read_events()
    cluster.delete(cluster.partials)
    known = f"its changelog {cluster.changelog} is there"
    if changelog_too:
        cluster.delete(cluster.changelog)
        known = "the group has read events"
    with pytest.raises(StateError, match=rf"{cluster.partials} is missing, yet {known}: .*kafka reshard"):
        cluster.prepare()
    assert cluster.partitions(cluster.partials) == 0


@pytest.mark.broker
def test_offsets_of_another_group_are_no_reason_to_refuse(cluster):
    stranger = client.consumer(cluster.properties, f"{cluster.group}-2")
    stranger.commit(offsets=[TopicPartition(cluster.events, 1, 7)], asynchronous=False)
    stranger.close()
    cluster.prepare()


@pytest.mark.broker
@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_whether_a_group_has_read_is_known_once_an_open_transaction_has_ended(cluster, ending, monkeypatch):
    monkeypatch.setattr(lost_topics, "_TIMEOUT_S", 0.2)
    producer = cluster.producer()
    producer.begin_transaction()
    producer.send_offsets_to_transaction(
        [TopicPartition(cluster.events, 1, 7)], cluster.count.consumer_group_metadata(), TIMEOUT_S
    )
    with pytest.raises(BrokerError, match=f"offsets of topic {cluster.events} are unknown"):
        cluster.prepare()
    assert cluster.partitions(cluster.partials) == 0
    if ending == "commit":
        producer.commit_transaction(TIMEOUT_S)
        with pytest.raises(StateError, match="is missing, yet the group has read events"):
            cluster.prepare()
    else:
        producer.abort_transaction(TIMEOUT_S)
        cluster.prepare()


@pytest.mark.broker
@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_changelog_whose_records_expire_is_refused(cluster, policy):
    cluster.create(cluster.partials, SHARDS, **PARTIALS_SETTINGS)
    cluster.create(cluster.changelog, SHARDS, cleanup_policy=policy)
    with pytest.raises(StateError, match=rf"has cleanup.policy={policy}: .* Set it to compact"):
        cluster.prepare()


@pytest.mark.broker
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cleanup.policy", "compact"),
        ("retention.ms", "604799999"),
        ("retention.bytes", "1000000"),
        ("message.timestamp.type", "CreateTime"),
    ],
)
def test_partials_that_could_be_lost_or_have_no_time_are_refused(cluster, setting, value):
    cluster.create(cluster.partials, SHARDS, **{**PARTIALS_SETTINGS, setting: value})
    with pytest.raises(StateError, match=rf"{cluster.partials} has {setting}={value} \(must be .*\): "):
        cluster.prepare()


@pytest.mark.broker
@pytest.mark.parametrize("retention_ms", ["-1", "700000000"])
def test_partials_kept_for_longer_are_taken_with_their_own_settings(cluster, retention_ms):
    cluster.create(cluster.partials, SHARDS, **{**PARTIALS_SETTINGS, "retention.ms": retention_ms})
    cluster.prepare()
    assert cluster.settings(cluster.partials)["retention.ms"] == retention_ms


@pytest.mark.broker
def test_rewritten_state_stays_small_and_whole(cluster):
    cluster.prepare()
    producer = cluster.producer()
    written, newest = 0, {}
    for number in range(4_000):
        if number % 20 == 0:
            producer.begin_transaction()
        key = b"pane-%d" % (number % KEYS)
        newest[key] = b"%d" % number + os.urandom(VALUE_BYTES)
        written += len(newest[key])
        producer.produce(cluster.changelog, newest[key], key, partition=0)
        if number % 20 == 19:
            producer.commit_transaction(TIMEOUT_S)
    standing = []

    def is_small():
        # What stands of each key, and at most a segment that is still written to.
        standing[:] = cluster.read(cluster.changelog)
        return sum(len(value) for _, value in standing) < (1024 * 1024 + KEYS * VALUE_BYTES)

    await_that(is_small)
    assert written > 12_000_000
    assert dict(standing) == newest


@pytest.mark.broker
def test_what_is_hardly_written_to_is_compacted_all_the_same(cluster):
    """The segment that is written to is never compacted, and this one never fills."""
    lag_ms = 500
    settings = {**CHANGELOG_SETTINGS, "max.compaction.lag.ms": str(lag_ms)}
    cluster.create(cluster.changelog, 1, **settings)
    producer = client.producer(cluster.properties)
    for number in range(100):
        producer.produce(cluster.changelog, b"%d" % number, b"key", partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    assert len(cluster.read(cluster.changelog)) == 100

    def is_compacted():
        producer.produce(cluster.changelog, b"newest", b"key", partition=0)
        assert producer.flush(TIMEOUT_S) == 0
        return b"99" not in dict(map(reversed, cluster.read(cluster.changelog)))

    await_that(is_compacted)


@pytest.mark.broker
def test_a_replicas_clock_does_not_matter_to_its_state(cluster):
    cluster.prepare()
    refusals = {}
    producer = client.producer(cluster.properties)
    for topic in (cluster.events, cluster.changelog):
        ahead_ms = int(time.time() * 1_000) + 2 * 3_600_000
        producer.produce(
            topic,
            b"value",
            b"key",
            timestamp=ahead_ms,
            on_delivery=lambda error, message: refusals.update({message.topic(): error and error.code()}),
        )
    assert producer.flush(TIMEOUT_S) == 0
    assert refusals == {cluster.events: KafkaError.INVALID_TIMESTAMP, cluster.changelog: None}


@pytest.mark.broker
def test_the_first_start_on_a_new_cluster_waits_for_its_coordinator(kafka_broker):
    with Broker() as broker:
        cluster = Cluster(broker.bootstrap)
        cluster.prepare()
        cluster.close()


class Guarded(Cluster):
    """A cluster where rules can be laid down; a thing that one is about is closed to all the rest."""

    marker: str

    def rule(self, kind, name, *, allow=(), deny=()):
        rules = {
            **dict.fromkeys(allow, AclPermissionType.ALLOW),
            **dict.fromkeys(deny, AclPermissionType.DENY),
        }
        bindings = [
            AclBinding(kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", operation, permission)
            for operation, permission in rules.items()
        ]
        for future in self.admin.create_acls(bindings).values():
            future.result(TIMEOUT_S)
        # Rules come into force in the order they were laid down in.
        if kind is not ResourceType.TOPIC or name != self.marker:
            self.rule(ResourceType.TOPIC, self.marker, deny=[AclOperation.DESCRIBE])
            self.await_partitions(self.marker, 0)


@pytest.fixture
def guarded_cluster(guarded):
    cluster = Guarded(guarded)
    cluster.marker = f"marker-{uuid.uuid4().hex}"
    cluster.create(cluster.marker, 1)
    yield cluster
    cluster.close()


@pytest.mark.broker
def test_hidden_topic_is_not_taken_for_missing(guarded_cluster):
    at = guarded_cluster
    at.rule(ResourceType.TOPIC, at.events, deny=[AclOperation.DESCRIBE])
    with pytest.raises(AuthorizationError, match=rf"topic {at.events} is hidden .*; grant Describe on it"):
        topics.create_missing_topics(at.admin, [at.events], 1)
    at.rule(ResourceType.TOPIC, at.partials, deny=[AclOperation.DESCRIBE])
    with pytest.raises(AuthorizationError, match=f"topic {at.partials} is hidden"):
        at.prepare()


@pytest.mark.broker
def test_topic_that_we_may_not_create_is_named_with_the_right_to_grant(guarded_cluster):
    at = guarded_cluster
    everything, create = [AclOperation.ALL], [AclOperation.CREATE]
    at.rule(ResourceType.BROKER, "kafka-cluster", allow=everything, deny=create)
    at.rule(ResourceType.TOPIC, at.partials, allow=everything, deny=create)
    remedy = (
        "grant Create on it, or create it with 2 partitions and cleanup.policy=delete, retention.ms=604800000"
    )
    with pytest.raises(
        AuthorizationError, match=rf"{at.partials} is missing and cannot be created .*; {remedy}"
    ):
        at.prepare()
    with pytest.raises(AuthorizationError, match=r"grant Create on it, or create it$"):
        topics.create_missing_topics(at.admin, [at.partials], 1)
    at.read_events()
    with pytest.raises(StateError, match=f"{at.partials} is missing, yet the group has read events"):
        at.prepare()


@pytest.mark.broker
def test_settings_that_we_may_not_see_are_named_with_the_right_to_grant(guarded_cluster):
    at = guarded_cluster
    at.prepare()
    at.rule(ResourceType.TOPIC, at.partials, allow=[AclOperation.ALL], deny=[AclOperation.DESCRIBE_CONFIGS])
    with pytest.raises(AuthorizationError, match=rf"settings of topic {at.partials} .*; grant DescribeC"):
        at.prepare()
    assert metadata.message_limit(at.admin, [at.partials]) is None


@pytest.mark.broker
def test_group_that_is_closed_to_us_is_named_with_the_right_to_grant(guarded_cluster, monkeypatch):
    monkeypatch.setattr(lost_topics, "_TIMEOUT_S", 0.2)
    at = guarded_cluster
    at.rule(ResourceType.GROUP, at.group, deny=[AclOperation.ALL])
    with pytest.raises(AuthorizationError, match=r"Group authorization failed.*; grant Read on the group"):
        at.prepare()
    assert at.partitions(at.partials) == 0


@pytest.fixture
def embedded():
    """librdkafka's own broker, which answers only what librdkafka's own tests ask."""
    with EmbeddedBroker(["events", "partials", "changelog"]) as broker:
        yield client.admin({"bootstrap.servers": broker.bootstrap})


def prepare_embedded(admin, partials="partials"):
    topics.prepare_internal_topics(
        admin,
        InternalTopics(partials, "changelog", shards=4),
        replication=1,
        events={"events": 4},
        count=None,
        windows=None,
        clock=SYSTEM_CLOCK,
    )


def test_on_the_embedded_broker_what_is_there_is_taken_as_it_is_without_delay(embedded, monkeypatch):
    # A request without an answer takes this long, and nothing else does on a busy machine.
    for module in (topics, lost_topics, metadata):
        monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", LONG_S)
    began_s = time.monotonic()
    prepare_embedded(embedded)
    assert topics.replication_factor(embedded, ["events"], None) == 1
    assert time.monotonic() - began_s < LONG_S


def test_what_the_embedded_broker_cannot_create_is_a_broker_error_that_names_it(embedded, impatient):
    with pytest.raises(BrokerError, match=r"topic nowhere is missing and cannot be created .*; create it$"):
        topics.create_missing_topics(embedded, ["events", "nowhere"], 1)


def test_cluster_that_does_not_answer_is_a_broker_error_that_says_what_to_check(impatient):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        admin = client.admin({"bootstrap.servers": f"127.0.0.1:{taken.getsockname()[1]}"})
        for ask in (
            lambda: topics.replication_factor(admin, ["events"], None),
            lambda: topics.create_missing_topics(admin, ["events"], 1),
            lambda: prepare_embedded(admin),
        ):
            with pytest.raises(BrokerError, match=r"does not answer .*; check kafka\.bootstrap\.servers"):
                ask()
