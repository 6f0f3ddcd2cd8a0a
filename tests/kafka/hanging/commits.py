"""Transactions of a plain producer like those of the service, on a cluster of two nodes."""

import uuid
from contextlib import suppress

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from driftgauge.core.counting.partial import CommitId, PartitionProgress
from driftgauge.core.windows.changelog import PositionKey, ShardPosition
from driftgauge.kafka.hanging.survey import Topics
from driftgauge.kafka.hanging.traces import StageTopics, offsets_partition
from driftgauge.records import changelog
from driftgauge.records.partials import encode_commit
from tests.harness.topics import read
from tests.waiting import wait_for

TIMEOUT_S = 30.0
KEPT, AWAY = 1, 2  # the node that keeps running, and the node that is stopped
SHARDS = 2
# The number in the brokers' settings, in nodes.py.
INTERNAL_PARTITIONS = 4


class Installation:
    """One installation: its topics, its groups, one transactional producer, whose coordinator keeps running.

    Shards in `away` of the internal topics are on the node that is stopped, the others on the other node.
    """

    def __init__(self, cluster, *, away=(0,), offsets_on=KEPT, events_on=KEPT):
        self.cluster = cluster
        self.admin = AdminClient({"bootstrap.servers": cluster.nodes[KEPT].bootstrap})
        name = uuid.uuid4().hex[:8]
        self.events, self.windows, self.letters = f"events-{name}", f"windows-{name}", f"letters-{name}"
        partials, log = f"partials-{name}", f"changelog-{name}"
        nodes = [[AWAY if shard in away else KEPT] for shard in range(SHARDS)]
        stamped = {"message.timestamp.type": "LogAppendTime"}
        self.create(self.events, [[events_on]])
        self.create(self.windows, [[AWAY]])
        self.create(self.letters, [[AWAY]])
        self.create(partials, nodes, **stamped)
        self.create(log, nodes, **stamped)
        self._touch_internal_topics(name)
        group = self._name(f"{name}-group", "__consumer_offsets", offsets_on)
        windows_group = self._name(f"{name}-windows", "__consumer_offsets", offsets_on)
        self.internal = StageTopics(partials, log, group, windows_group)
        self.topics = Topics((self.events,), (self.windows, self.letters), self.internal)
        self.number = 0
        self.name = self._name(f"{name}-producer", "__transaction_state", KEPT)
        self.producer = self.make_producer(self.name)

    def make_producer(self, name, **properties):
        producer = Producer(
            {
                "bootstrap.servers": self.cluster.bootstrap,
                "transactional.id": name,
                "transaction.timeout.ms": 60_000,
                "compression.type": "lz4",
                "log_level": 0,
                **properties,
            }
        )
        producer.init_transactions(TIMEOUT_S)
        return producer

    def create(self, topic, assignment, **settings):
        new = NewTopic(topic, len(assignment), replica_assignment=assignment, config=settings)
        self.admin.create_topics([new])[topic].result(TIMEOUT_S)

    def count(self, start, end):
        """Begin a transaction and write a commit of COUNT into it; return its records by shard."""
        commit = CommitId(self.name, 0, self.number)
        self.number += 1
        source = PartitionProgress((self.events, 0), "", 1, start, end, start == 0, 0, 0, None)
        written = [encode_commit(commit, SHARDS, (), (), (source,), 1_000_000) for _ in range(SHARDS)]
        self.producer.begin_transaction()
        for shard, parts in enumerate(written):
            for part in parts:
                self.producer.produce(self.internal.partials, part, partition=shard)
        self.send_offset(self.internal.group, self.events, 0, end)
        assert self.producer.flush(TIMEOUT_S) == 0
        return written

    def close(self, shard, offset):
        """Begin a transaction and write a commit of WINDOWS for a shard; return the position record."""
        position = changelog.encode_value(ShardPosition(SHARDS, offset, 0, self.name))
        key = changelog.encode_key(PositionKey())
        self.producer.begin_transaction()
        self.producer.produce(self.internal.changelog, position, key, partition=shard)
        self.send_offset(self.internal.windows_group, self.internal.partials, shard, offset)
        assert self.producer.flush(TIMEOUT_S) == 0
        return position

    def send_offset(self, group, topic, partition, offset):
        outsider = Consumer({"bootstrap.servers": self.cluster.bootstrap, "group.id": group, "log_level": 0})
        try:
            metadata = outsider.consumer_group_metadata()
            self.producer.send_offsets_to_transaction(
                [TopicPartition(topic, partition, offset)], metadata, TIMEOUT_S
            )
        finally:
            outsider.close()

    def end_while_leaderless(self, topic, *, commit):
        """End the open transaction while the other node is stopped, then start that node again."""
        away = self.cluster.nodes[AWAY]
        away.stop()
        self.await_that(lambda: self.leader(topic) == -1, f"{topic} to have no leader")
        if commit:
            self.producer.commit_transaction(TIMEOUT_S)
        else:
            self.producer.abort_transaction(TIMEOUT_S)
        away.start()
        self.await_that(lambda: self.leader(topic) == AWAY, f"{topic} to have its leader back")

    def leader(self, topic, partition=0):
        return self.admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions[partition].leader

    def offset(self, topic, partition, isolation):
        at = TopicPartition(topic, partition)

        def listed():
            asked = self.admin.list_offsets({at: OffsetSpec.latest()}, isolation_level=isolation)
            # A node that has just started may not know yet that it is the leader.
            with suppress(KafkaException):
                return asked[at].result(TIMEOUT_S)
            return None

        return wait_for(f"the offset of {topic}[{partition}]", listed, within_s=TIMEOUT_S).offset

    def hangs(self, topic, partition=0):
        """Whether the stable offset is below the high watermark."""
        stable = self.offset(topic, partition, IsolationLevel.READ_COMMITTED)
        return stable < self.offset(topic, partition, IsolationLevel.READ_UNCOMMITTED)

    def values(self, topic):
        """The committed values of a topic, by partition."""
        found = {}
        for message in read(self.cluster.bootstrap, topic, within_s=TIMEOUT_S):
            found.setdefault(message.partition(), []).append(message.value())
        return found

    def committed(self, group, topic, partition, within_s=TIMEOUT_S):
        outsider = Consumer({"bootstrap.servers": self.cluster.bootstrap, "group.id": group, "log_level": 0})
        try:
            (answer,) = outsider.committed([TopicPartition(topic, partition)], timeout=within_s)
        finally:
            outsider.close()
        return answer.offset

    def await_that(self, is_met, condition):
        wait_for(condition, is_met, within_s=TIMEOUT_S)

    def _touch_internal_topics(self, name):
        producer = self.producer = self.make_producer(f"{name}-first")
        producer.begin_transaction()
        self.send_offset(f"{name}-first", self.events, 0, 0)
        producer.commit_transaction(TIMEOUT_S)
        for topic in ("__consumer_offsets", "__transaction_state"):
            self.await_that(
                lambda topic=topic: all(self.leader(topic, i) > 0 for i in range(INTERNAL_PARTITIONS)), topic
            )

    def _name(self, prefix, topic, node):
        """Return a name whose partition of an internal topic is led by a node: Kafka hashes names alike."""
        for number in range(1_000):
            name = f"{prefix}-{number}"
            _, partition = offsets_partition(name, INTERNAL_PARTITIONS)
            if self.leader(topic, partition) == node:
                return name
        raise AssertionError(f"node {node} leads nothing of {topic}")
