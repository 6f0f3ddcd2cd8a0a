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
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from driftgauge.errors import AuthorizationError, BrokerError, StateError
from driftgauge.kafka import client, topics
from driftgauge.kafka.embedded import EmbeddedBroker
from tests.kafka.broker import Broker

TIMEOUT_S = 30.0
# A record of state as one transaction writes it, and the keys that it goes round.
VALUE_BYTES = 3_000
KEYS = 50


class Cluster:
    """A cluster with a topic of three partitions to read, the name of its state topic, and a group."""

    def __init__(self, bootstrap, source_partitions=3):
        name = uuid.uuid4().hex
        self.source, self.state, self.group = f"source-{name}", f"state-{name}", f"group-{name}"
        self.properties = {"bootstrap.servers": bootstrap, "group.id": self.group}
        self.admin = client.admin(self.properties)
        self.consumer = client.consumer(self.properties)
        self.create(self.source, source_partitions)

    def create(self, topic, partitions, **settings):
        config = {name.replace("_", "."): value for name, value in settings.items()}
        self.admin.create_topics([NewTopic(topic, partitions, config=config)])[topic].result(TIMEOUT_S)
        self.await_partitions(topic, partitions)

    def grow(self, topic, partitions):
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(TIMEOUT_S)
        self.await_partitions(topic, partitions)

    def delete(self, topic):
        self.admin.delete_topics([topic])[topic].result(TIMEOUT_S)
        self.await_partitions(topic, 0)

    def await_partitions(self, topic, partitions):
        await_that(lambda: self.partitions(topic) == partitions)

    def partitions(self, topic):
        return topics.count_partitions(self.admin, [topic]).get(topic, 0)

    def settings(self, topic):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        entries = self.admin.describe_configs([resource])[resource].result(TIMEOUT_S)
        return {name: entry.value for name, entry in entries.items()}

    def commit(self, topic, offset=7):
        self.consumer.commit(offsets=[TopicPartition(topic, 1, offset)], asynchronous=False)

    def producer(self):
        producer = client.transactional_producer(self.properties, self.group)
        producer.init_transactions(TIMEOUT_S)
        return producer

    def prepare(self, admin=None):
        return topics.prepare_state_topics(admin or self.admin, self.consumer, {self.source: self.state})

    def read(self, topic):
        """Return all records of partition 0 that stand, key and value, in order."""
        reader = client.table_consumer(self.properties)
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

    def __init__(self, admin, shown):
        self._admin = admin
        self._shown = [shown]

    def list_topics(self, timeout):
        return self._shown.pop() if self._shown else self._admin.list_topics(timeout=timeout)

    def __getattr__(self, name):
        return getattr(self._admin, name)


def await_that(holds, bound_s=TIMEOUT_S):
    deadline_s = time.monotonic() + bound_s
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {bound_s:.0f} s"
        time.sleep(0.02)


def three_at_once(cluster):
    """Let three replicas prepare the state topic at the same moment; return what each got."""
    barrier = threading.Barrier(3)

    def prepare():
        admin, consumer = client.admin(cluster.properties), client.consumer(cluster.properties)
        barrier.wait(TIMEOUT_S)
        try:
            return topics.prepare_state_topics(admin, consumer, {cluster.source: cluster.state})
        finally:
            consumer.close()

    with ThreadPoolExecutor(3) as pool:
        return [future.result(TIMEOUT_S) for future in [pool.submit(prepare) for _ in range(3)]]


@pytest.fixture
def cluster(bootstrap):
    cluster = Cluster(bootstrap)
    yield cluster
    cluster.consumer.close()


@pytest.fixture
def impatient(monkeypatch):
    """What is waited for in vain is given up sooner."""
    monkeypatch.setattr(topics, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(topics, "REQUEST_TIMEOUT_S", 0.5)


@pytest.mark.integration
def test_missing_topics_are_told_from_those_that_are_there(cluster):
    missing = topics.missing_topics(cluster.admin, [cluster.state, cluster.source, "no-such-topic"])
    assert missing == [cluster.state, "no-such-topic"]
    assert topics.missing_topics(cluster.admin, []) == []
    assert cluster.partitions(cluster.state) == 0, "asking has created nothing"


@pytest.mark.integration
def test_missing_topics_are_created_as_the_cluster_sees_fit_and_the_others_left_alone(cluster):
    topics.create_missing_topics(cluster.admin, [cluster.source, cluster.state])
    await_that(lambda: topics.missing_topics(cluster.admin, [cluster.state]) == [])
    settings = cluster.settings(cluster.state)
    assert settings == cluster.settings(cluster.source), "which was created without settings of its own"
    topics.create_missing_topics(cluster.admin, [cluster.source, cluster.state])
    assert cluster.partitions(cluster.source) == 3


@pytest.mark.integration
def test_a_topic_that_somebody_else_has_just_created_is_no_error(cluster):
    behind = Behind(cluster.admin, cluster.admin.list_topics(timeout=TIMEOUT_S))
    cluster.create(cluster.state, 5)
    topics.create_missing_topics(behind, [cluster.state])
    assert cluster.partitions(cluster.state) == 5


@pytest.mark.integration
def test_a_topic_that_the_cluster_refuses_is_a_broker_error_with_the_remedy(cluster):
    with pytest.raises(BrokerError, match=r"topic no/topic is missing and cannot be created .*; create it"):
        topics.create_missing_topics(cluster.admin, ["no/topic"])


@pytest.mark.integration
def test_a_state_topic_is_created_with_its_sources_partitions_and_the_settings_that_keep_it_small(cluster):
    assert cluster.prepare() == {cluster.source: 3}
    assert cluster.partitions(cluster.state) == 3
    settings = cluster.settings(cluster.state)
    assert {name: settings[name] for name in topics.STATE_SETTINGS} == topics.STATE_SETTINGS
    assert settings["cleanup.policy"] == "compact"


@pytest.mark.integration
def test_preparing_again_changes_nothing_even_when_the_group_has_read(cluster):
    cluster.prepare()
    before = cluster.settings(cluster.state)
    cluster.commit(cluster.source)
    assert cluster.prepare() == {cluster.source: 3}
    assert (cluster.partitions(cluster.state), cluster.settings(cluster.state)) == (3, before)


@pytest.mark.integration
def test_each_source_has_its_own_state_topic(cluster):
    other, state = f"{cluster.source}-2", f"{cluster.state}-2"
    cluster.create(other, 1)
    wanted = {cluster.source: cluster.state, other: state}
    counts = topics.prepare_state_topics(cluster.admin, cluster.consumer, wanted)
    assert counts == {cluster.source: 3, other: 1}
    assert topics.count_partitions(cluster.admin, [cluster.state, state, "no-such-topic"]) == {
        cluster.state: 3,
        state: 1,
    }


@pytest.mark.integration
def test_a_state_topic_grows_with_its_source(cluster):
    cluster.prepare()
    cluster.grow(cluster.source, 5)
    cluster.commit(cluster.source)
    assert cluster.prepare() == {cluster.source: 5}
    assert cluster.partitions(cluster.state) == 5


@pytest.mark.integration
def test_three_replicas_create_and_grow_it_at_once(cluster):
    assert three_at_once(cluster) == [{cluster.source: 3}] * 3
    cluster.grow(cluster.source, 6)
    assert three_at_once(cluster) == [{cluster.source: 6}] * 3
    assert cluster.partitions(cluster.state) == 6
    assert cluster.settings(cluster.state)["cleanup.policy"] == "compact"


@pytest.mark.integration
def test_a_state_topic_that_another_replica_has_created_and_used_meanwhile_is_not_taken_for_lost(cluster):
    behind = Behind(cluster.admin, cluster.admin.list_topics(timeout=TIMEOUT_S))
    cluster.prepare()
    cluster.commit(cluster.source)
    assert cluster.prepare(behind) == {cluster.source: 3}


@pytest.mark.integration
def test_a_state_topic_that_another_replica_has_grown_meanwhile_is_as_good(cluster):
    cluster.prepare()
    cluster.grow(cluster.source, 4)
    behind = Behind(cluster.admin, cluster.admin.list_topics(timeout=TIMEOUT_S))
    cluster.prepare()
    assert cluster.prepare(behind) == {cluster.source: 4}


@pytest.mark.integration
def test_a_state_topic_that_was_lost_is_refused_and_not_created_anew(cluster):
    cluster.prepare()
    cluster.commit(cluster.source)
    cluster.delete(cluster.state)
    with pytest.raises(StateError, match=rf"{cluster.state} is missing, yet .* --delete-offsets"):
        cluster.prepare()
    assert cluster.partitions(cluster.state) == 0


@pytest.mark.integration
def test_offsets_of_another_topic_or_another_group_are_no_reason_to_refuse(cluster):
    other = f"{cluster.source}-2"
    cluster.create(other, 2)
    cluster.commit(other)
    stranger = client.consumer({**cluster.properties, "group.id": f"{cluster.group}-2"})
    stranger.commit(offsets=[TopicPartition(cluster.source, 1, 7)], asynchronous=False)
    stranger.close()
    assert cluster.prepare() == {cluster.source: 3}


@pytest.mark.integration
@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_whether_the_group_has_read_is_known_once_an_open_transaction_has_ended(cluster, ending, impatient):
    producer = cluster.producer()
    producer.begin_transaction()
    producer.send_offsets_to_transaction(
        [TopicPartition(cluster.source, 1, 7)], cluster.consumer.consumer_group_metadata(), TIMEOUT_S
    )
    with pytest.raises(BrokerError, match=f"offsets of topic {cluster.source} are unknown"):
        cluster.prepare()
    assert cluster.partitions(cluster.state) == 0
    if ending == "commit":
        producer.commit_transaction(TIMEOUT_S)
        with pytest.raises(StateError, match="is missing"):
            cluster.prepare()
    else:
        producer.abort_transaction(TIMEOUT_S)
        assert cluster.prepare() == {cluster.source: 3}


@pytest.mark.integration
def test_a_transaction_that_ends_soon_is_waited_for(cluster):
    producer = cluster.producer()
    producer.begin_transaction()
    producer.send_offsets_to_transaction(
        [TopicPartition(cluster.source, 1, 7)], cluster.consumer.consumer_group_metadata(), TIMEOUT_S
    )
    ending = threading.Timer(0.5, producer.abort_transaction, [TIMEOUT_S])
    ending.start()
    assert cluster.prepare() == {cluster.source: 3}
    ending.join()


@pytest.mark.integration
@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_state_topic_whose_records_expire_is_refused(cluster, policy):
    cluster.create(cluster.state, 3, cleanup_policy=policy)
    with pytest.raises(
        StateError, match=rf"{cluster.state} has cleanup.policy={policy}: .* Set it to compact"
    ):
        cluster.prepare()


@pytest.mark.integration
def test_a_state_topic_made_by_hand_is_taken_with_its_own_settings(cluster):
    cluster.create(cluster.state, 3, cleanup_policy="compact", segment_bytes="2000000")
    assert cluster.prepare() == {cluster.source: 3}
    assert cluster.settings(cluster.state)["segment.bytes"] == "2000000"


@pytest.mark.integration
def test_a_source_with_fewer_partitions_than_its_state_was_made_anew(cluster):
    cluster.prepare()
    cluster.delete(cluster.source)
    cluster.create(cluster.source, 2)
    with pytest.raises(
        StateError, match=rf"{cluster.state} has 3 partitions and {cluster.source} only 2: .*"
    ):
        cluster.prepare()


@pytest.mark.integration
def test_a_missing_source_is_a_broker_error(cluster):
    cluster.delete(cluster.source)
    with pytest.raises(BrokerError, match=f"topic {cluster.source} is missing; create it"):
        cluster.prepare()
    assert cluster.partitions(cluster.state) == 0


@pytest.mark.integration
def test_the_message_limit_is_the_smallest_of_the_topics(cluster):
    cluster.create(cluster.state, 1, max_message_bytes="12345")
    assert topics.message_limit(cluster.admin, [cluster.source, cluster.state]) == 12_345
    limit = int(cluster.settings(cluster.source)["max.message.bytes"])
    assert topics.message_limit(cluster.admin, [cluster.source]) == limit
    with pytest.raises(BrokerError, match=r"max\.message\.bytes of topic no-such-topic is unknown"):
        topics.message_limit(cluster.admin, [cluster.source, "no-such-topic"])


@pytest.mark.integration
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
        producer.produce(cluster.state, newest[key], key, partition=0)
        if number % 20 == 19:
            producer.commit_transaction(TIMEOUT_S)
    standing = []

    def is_small():
        # What stands of each key, and at most a segment that is still written to.
        standing[:] = cluster.read(cluster.state)
        return sum(len(value) for _, value in standing) < (1024 * 1024 + KEYS * VALUE_BYTES)

    await_that(is_small)
    assert written > 12_000_000
    assert dict(standing) == newest


@pytest.mark.integration
def test_what_is_hardly_written_to_is_compacted_all_the_same(cluster):
    """The segment that is written to is never compacted, and this one never fills."""
    lag_ms = 500
    settings = {**topics.STATE_SETTINGS, "max.compaction.lag.ms": str(lag_ms)}
    cluster.create(cluster.state, 1, **settings)
    producer = client.producer(cluster.properties)
    for number in range(100):
        producer.produce(cluster.state, b"%d" % number, b"key", partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    assert len(cluster.read(cluster.state)) == 100

    def is_compacted():
        producer.produce(cluster.state, b"newest", b"key", partition=0)
        assert producer.flush(TIMEOUT_S) == 0
        return b"99" not in dict(map(reversed, cluster.read(cluster.state)))

    await_that(is_compacted)


@pytest.mark.integration
def test_a_replicas_clock_does_not_matter_to_its_state(cluster):
    cluster.prepare()
    refusals = {}
    producer = client.producer(cluster.properties)
    for topic in (cluster.source, cluster.state):
        ahead_ms = int(time.time() * 1_000) + 2 * 3_600_000
        producer.produce(
            topic,
            b"value",
            b"key",
            timestamp=ahead_ms,
            on_delivery=lambda error, message: refusals.update({message.topic(): error and error.code()}),
        )
    assert producer.flush(TIMEOUT_S) == 0
    assert refusals == {cluster.source: KafkaError.INVALID_TIMESTAMP, cluster.state: None}


@pytest.mark.integration
def test_the_first_start_on_a_new_cluster_waits_for_its_coordinator(kafka_broker):
    with Broker() as broker:
        cluster = Cluster(broker.bootstrap)
        assert cluster.prepare() == {cluster.source: 3}
        cluster.consumer.close()


class Guarded(Cluster):
    """A cluster where rules can be laid down; a thing that one is about is closed to all the rest."""

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
    cluster.consumer.close()


@pytest.mark.integration
def test_a_topic_that_is_hidden_from_us_is_not_waited_for_as_if_it_were_missing(guarded_cluster):
    at = guarded_cluster
    at.rule(ResourceType.TOPIC, at.source, deny=[AclOperation.DESCRIBE])
    with pytest.raises(AuthorizationError, match=rf"topic {at.source} is hidden .*; grant Describe on it"):
        topics.missing_topics(at.admin, [at.source])
    with pytest.raises(AuthorizationError, match=f"topic {at.source} is hidden"):
        topics.create_missing_topics(at.admin, [at.source])
    at.rule(ResourceType.TOPIC, at.state, deny=[AclOperation.DESCRIBE])
    other = f"{at.source}-2"
    at.create(other, 1)
    with pytest.raises(AuthorizationError, match=f"topic {at.state} is hidden"):
        topics.prepare_state_topics(at.admin, at.consumer, {other: at.state})


@pytest.mark.integration
def test_a_topic_that_we_may_not_create_is_named_with_the_right_to_grant(guarded_cluster):
    at = guarded_cluster
    everything, create = [AclOperation.ALL], [AclOperation.CREATE]
    at.rule(ResourceType.BROKER, "kafka-cluster", allow=everything, deny=create)
    at.rule(ResourceType.TOPIC, at.state, allow=everything, deny=create)
    remedy = "grant Create on it, or create it with 3 partitions and cleanup.policy=compact"
    with pytest.raises(
        AuthorizationError, match=rf"{at.state} is missing and cannot be created .*; {remedy}"
    ):
        at.prepare()
    with pytest.raises(AuthorizationError, match=r"grant Create on it, or create it$"):
        topics.create_missing_topics(at.admin, [at.state])
    at.commit(at.source)
    with pytest.raises(StateError, match=f"{at.state} is missing, yet the group has read {at.source}"):
        at.prepare()


@pytest.mark.integration
def test_a_state_topic_that_we_may_not_grow_is_named_with_the_right_to_grant(guarded_cluster):
    at = guarded_cluster
    at.prepare()
    at.grow(at.source, 5)
    at.rule(ResourceType.TOPIC, at.state, allow=[AclOperation.ALL], deny=[AclOperation.ALTER])
    remedy = "grant Alter on it, or give it 5 partitions"
    with pytest.raises(AuthorizationError, match=rf"state topic {at.state} cannot grow .*; {remedy}"):
        at.prepare()


@pytest.mark.integration
def test_settings_that_we_may_not_see_count_where_state_could_be_lost_and_only_there(guarded_cluster):
    at = guarded_cluster
    at.prepare()
    at.rule(ResourceType.TOPIC, at.state, allow=[AclOperation.ALL], deny=[AclOperation.DESCRIBE_CONFIGS])
    with pytest.raises(AuthorizationError, match=rf"cleanup.policy of topic {at.state} .*; grant DescribeC"):
        at.prepare()
    assert topics.message_limit(at.admin, [at.source, at.state]) is None


@pytest.mark.integration
def test_a_group_that_is_closed_to_us_is_named_with_the_right_to_grant(guarded_cluster, impatient):
    at = guarded_cluster
    at.rule(ResourceType.GROUP, at.group, deny=[AclOperation.ALL])
    with pytest.raises(AuthorizationError, match=r"Group authorization failed.*; grant Read on the group"):
        at.prepare()
    assert at.partitions(at.state) == 0


@pytest.fixture
def embedded():
    """The demo's broker, which answers no more than a test of librdkafka's own asks."""
    with EmbeddedBroker(["events", "state"]) as broker:
        properties = {"bootstrap.servers": broker.bootstrap, "group.id": "g"}
        consumer = client.consumer(properties)
        yield client.admin(properties), consumer
        consumer.close()


def test_on_the_embedded_broker_what_is_there_is_taken_as_it_is_without_delay(embedded):
    admin, consumer = embedded
    began_s = time.monotonic()
    assert topics.missing_topics(admin, ["events", "nowhere"]) == ["nowhere"]
    assert topics.prepare_state_topics(admin, consumer, {"events": "state"}) == {"events": 4}
    assert topics.message_limit(admin, ["events"]) is None
    # What is not answered there would be waited for as long as a request may take.
    assert time.monotonic() - began_s < client.REQUEST_TIMEOUT_S


def test_what_the_embedded_broker_cannot_create_is_a_broker_error_that_names_it(embedded, impatient):
    admin, consumer = embedded
    with pytest.raises(BrokerError, match=r"topic nowhere is missing and cannot be created .*; create it$"):
        topics.create_missing_topics(admin, ["events", "nowhere"])
    with pytest.raises(BrokerError, match="topic nowhere is missing and cannot be created"):
        topics.prepare_state_topics(admin, consumer, {"events": "nowhere"})


def test_a_cluster_that_does_not_answer_is_a_broker_error_that_says_what_to_check(impatient):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        properties = {"bootstrap.servers": f"127.0.0.1:{taken.getsockname()[1]}", "group.id": "g"}
        admin, consumer = client.admin(properties), client.consumer(properties)
        for ask in (
            lambda: topics.count_partitions(admin, ["events"]),
            lambda: topics.missing_topics(admin, ["events"]),
            lambda: topics.create_missing_topics(admin, ["events"]),
            lambda: topics.prepare_state_topics(admin, consumer, {"events": "state"}),
            lambda: topics.message_limit(admin, ["events"]),
        ):
            with pytest.raises(BrokerError, match=r"does not answer .*; check kafka\.bootstrap\.servers"):
                ask()
        consumer.close()
