"""One life of a replica's clients on a real broker, in a thread of its own."""

import os
import time

import orjson
import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from driftgauge.app import wall_clock_ms
from driftgauge.errors import AuthorizationError, BrokerError, ClientLost, StateError
from driftgauge.kafka import client
from driftgauge.kafka.session import Session
from driftgauge.telemetry.health import Condition
from tests.kafka.cluster import TIMEOUT_S, Cluster
from tests.kafka.parts import DECODER, SPEC, STREAM, event
from tests.kafka.running import Running

pytestmark = pytest.mark.integration

# Far ahead: it closes what there is.
CLOSING = event(100_000)


class RunningSession(Running):
    def __init__(self, cluster, name="name", *, kafka=None, **changes):
        super().__init__(cluster, kafka=kafka, **changes)
        self.session = Session(
            self.settings,
            [SPEC],
            DECODER,
            transactional_id=f"{cluster.group}.{name}",
            established=set(),
            telemetry=self.telemetry,
            health=self.health,
            clock_ms=wall_clock_ms,
        )
        self.start()

    def run(self):
        self.session.run(self.stopping)

    def held(self):
        return self.value("consumer_assigned_partitions", topic=self.cluster.events)

    def is_ready(self):
        assert self.failure is None, self.failure
        return Condition.RESTORED not in self.health.missing()

    def await_ready(self):
        self.cluster.await_that(self.is_ready, "the session to be ready")


@pytest.fixture
def cluster(bootstrap):
    with Cluster(bootstrap) as cluster:
        yield cluster


def publish(cluster, number, time_ms=0):
    """Publish so many events of one second to each partition."""
    for partition in range(cluster.partitions):
        cluster.publish(*(event(time_ms + place) for place in range(number)), partition=partition)


def close_windows(cluster):
    for partition in range(cluster.partitions):
        cluster.publish(CLOSING, partition=partition)


def published(cluster):
    """Every result of one-second windows: (second, revision, count)."""
    records = [orjson.loads(value) for _, value in cluster.read(cluster.windows)]
    assert {record["stream"] for record in records} <= {STREAM}
    return [
        (record["start"][14:19], record["revision"], record["count"])
        for record in records
        if record["window"] == "1s"
    ]


def counts(cluster):
    """The count last published of each one-second window, no revision having been published twice."""
    results = published(cluster)
    assert len({result[:2] for result in results}) == len(results)
    return {second: count for second, _, count in results}


def await_counts(cluster, expected):
    found = []

    def is_so():
        found[:] = [counts(cluster)]
        return found == [expected]

    try:
        cluster.await_that(is_so, "the counts")
    except AssertionError as error:
        error.add_note(f"expected {expected}, found {found}")
        raise


def ends(cluster):
    partitions = [(cluster.events, index) for index in range(cluster.partitions)]
    return {index: end for (_, index), end in cluster.ask(partitions).items()}


def test_what_is_published_is_counted_once_and_the_offsets_go_with_it(cluster):
    with RunningSession(cluster) as session:
        publish(cluster, 10)
        cluster.publish(b"junk")
        close_windows(cluster)
        await_counts(cluster, {"00:00": 20})
        assert session.held() == 2
        assert session.value("events_total", stream=STREAM, outcome="accepted") == 22
        assert session.stop() < 5.0
    assert session.failure is None
    assert cluster.committed() == ends(cluster)
    assert [value for _, value in cluster.read(cluster.letters)] == [b"junk"]
    assert cluster.members() == 0
    assert session.held() == 0


def test_whoever_leaves_commits_first_what_was_counted(cluster):
    publish(cluster, 10)
    with RunningSession(cluster, commit_interval="5s") as session:
        session.await_ready()
        cluster.await_that(
            lambda: (
                (owner := session.session._ownership) is not None
                and {*owner._assignment.positions.values()} == {10}
            ),
            "the events to be counted",
        )
    assert session.failure is None
    assert cluster.committed() == {0: 10, 1: 10}


def test_who_follows_goes_on_where_the_last_one_left(cluster):
    publish(cluster, 10)
    with RunningSession(cluster, "first") as session:
        cluster.await_that(lambda: cluster.committed() == {0: 10, 1: 10}, "the first half")
    publish(cluster, 5)
    close_windows(cluster)
    with RunningSession(cluster, "second"):
        await_counts(cluster, {"00:00": 30})
    assert session.failure is None


def test_two_share_the_partitions_and_count_what_one_would(cluster):
    with RunningSession(cluster, "first") as first:
        publish(cluster, 10)
        first.await_ready()
        with RunningSession(cluster, "second") as second:
            cluster.await_that(lambda: first.held() == second.held() == 1, "a partition each")
            publish(cluster, 10)
            cluster.await_that(lambda: first.is_ready() and second.is_ready(), "both to be ready")
            publish(cluster, 10, time_ms=1_000)
        cluster.await_that(lambda: first.held() == 2, "the first to have both again")
        publish(cluster, 10, time_ms=1_000)
        close_windows(cluster)
        await_counts(cluster, {"00:00": 40, "00:01": 40})
        accepted = sum(
            each.value("events_total", stream=STREAM, outcome="accepted") for each in (first, second)
        )
        assert accepted == 82
        assert first.value("commits_total", outcome="aborted") == 0
    assert first.failure is second.failure is None


def hold_up(cluster):
    """Return a producer with an open transaction that may yet commit an offset of the group."""
    writer = cluster.writer(**{"transaction.timeout.ms": 60_000})
    writer.begin_transaction()
    with cluster.stranger() as owner:
        writer.send_offsets_to_transaction(cluster.at({0: 5}), owner.consumer_group_metadata(), TIMEOUT_S)
    return writer


def is_restoring(*sessions):
    return all(each.session._restore is not None for each in sessions)


def test_a_rebalance_during_a_restore_begins_it_anew(cluster):
    # Where there is state the topics are looked after without the group's offsets.
    publish(cluster, 10)
    writer = hold_up(cluster)
    with RunningSession(cluster, "first") as first:
        cluster.await_that(lambda: is_restoring(first), "the first at the barrier")
        with RunningSession(cluster, "second") as second:
            cluster.await_that(
                lambda: is_restoring(first) and first.held() == second.held() == 1, "a partition each"
            )
            assert not first.is_ready()
            assert cluster.read(cluster.windows) == []
        cluster.await_that(lambda: first.held() == 2 and is_restoring(first), "the first to be alone")
        writer.abort_transaction(TIMEOUT_S)
        close_windows(cluster)
        await_counts(cluster, {"00:00": 20})
    assert first.failure is second.failure is None


def test_who_is_stopped_at_the_barrier_leaves_at_once(cluster):
    writer = hold_up(cluster)
    with RunningSession(cluster) as session:
        cluster.await_that(lambda: is_restoring(session), "the session at the barrier")
        assert session.stop() < 5.0
    assert session.failure is None
    assert cluster.members() == 0
    writer.abort_transaction(TIMEOUT_S)


def test_who_is_fenced_by_another_of_its_name_ends_and_holds_nothing(cluster):
    with RunningSession(cluster) as session:
        publish(cluster, 10)
        session.await_ready()
        cluster.transaction(f"{cluster.group}.name")
        publish(cluster, 10)
        session.await_end()
        assert isinstance(session.failure, ClientLost)
        assert "another process uses this replica's name" in str(session.failure)
        assert session.held() == 0, "as the metrics say"
        assert Condition.RESTORED in session.health.missing()
        assert cluster.members() == 0
    close_windows(cluster)
    with RunningSession(cluster):
        await_counts(cluster, {"00:00": 40})


def test_who_stands_still_for_too_long_loses_its_partitions_and_gets_them_again(cluster):
    with RunningSession(cluster, kafka={"max.poll.interval.ms": 1_500}) as session:
        publish(cluster, 10)
        session.await_ready()
        follow = session.session._follower.poll
        # The loop stands still between two polls, with events counted and not committed.
        session.session._follower.poll = lambda: (
            setattr(session.session._follower, "poll", follow),
            time.sleep(3.0),
        )
        publish(cluster, 10)
        cluster.await_that(
            # By whichever comes first: the group's word, or the refusal of what was counted.
            lambda: (
                session.value("consumer_rebalances_total", kind="lost")
                or session.value("commits_total", outcome="aborted")
            ),
            "the loss to be heard of",
        )
        close_windows(cluster)
        await_counts(cluster, {"00:00": 40})
    assert session.failure is None


def test_a_transaction_that_is_refused_is_done_again(cluster):
    """The dead letters' topic takes less than it was asked to at the start."""
    with RunningSession(cluster) as session:
        publish(cluster, 10)
        cluster.await_that(lambda: cluster.committed() == {0: 10, 1: 10}, "the first events")
        limit = ConfigEntry("max.message.bytes", "3000", incremental_operation=AlterConfigOpType.SET)
        topic = ConfigResource(ConfigResource.Type.TOPIC, cluster.letters, incremental_configs=[limit])
        cluster.admin.incremental_alter_configs([topic])[topic].result(TIMEOUT_S)
        cluster.publish(os.urandom(20_000))
        publish(cluster, 10)
        close_windows(cluster)
        await_counts(cluster, {"00:00": 40})
        assert session.value("commits_total", outcome="aborted") >= 1
    assert session.failure is None
    assert cluster.read(cluster.letters) == [(None, None)], "once, and cut"
    assert session.value("events_total", stream="", outcome="undecodable") == 1


def test_partitions_that_are_added_are_counted(cluster):
    with RunningSession(cluster, kafka={"topic.metadata.refresh.interval.ms": 500}) as session:
        publish(cluster, 10)
        session.await_ready()
        cluster.grow(cluster.events, 3)
        cluster.partitions = 3
        cluster.await_that(lambda: session.held() == 3, "the new partition")
        publish(cluster, 10)
        close_windows(cluster)
        await_counts(cluster, {"00:00": 50})
    assert session.failure is None
    assert cluster.committed() == ends(cluster)


def test_offsets_without_their_state_stop_the_partition_and_readiness(cluster):
    cluster.commit({0: 5})
    publish(cluster, 10)
    with RunningSession(cluster) as session:
        cluster.await_that(
            lambda: session.value("consumer_stopped_partitions", topic=cluster.events) == 1, "the stop"
        )
        cluster.await_that(lambda: cluster.committed() == {0: 5, 1: 10}, "the other to be counted")
        assert not session.is_ready()


def test_a_record_that_is_not_state_ends_it(cluster):
    producer = client.producer(cluster.properties)
    producer.produce(cluster.state, b"value", b"strange", partition=1)
    assert producer.flush(TIMEOUT_S) == 0
    with RunningSession(cluster) as session:
        session.await_end()
    assert isinstance(session.failure, StateError)
    assert str(session.failure).startswith(f"{cluster.state}[1] at offset 0: ")


def test_a_state_topic_that_is_deleted_under_it_ends_it(cluster):
    with RunningSession(cluster) as session:
        publish(cluster, 10)
        cluster.await_that(lambda: cluster.committed() == {0: 10, 1: 10}, "the first events")
        cluster.await_that(session.health.is_fresh, "the table to be known as fresh")
        cluster.admin.delete_topics([cluster.state])[cluster.state].result(TIMEOUT_S)
        publish(cluster, 10)
        session.await_end()
    # It depends on whether the broker makes the topic anew when it is next written to.
    assert isinstance(session.failure, StateError | BrokerError)


@pytest.fixture
def outage(kafka_broker):
    """Stops the broker; it runs again after the test."""
    yield kafka_broker.stop
    if not kafka_broker.running:
        kafka_broker.restart()


def test_who_is_stopped_while_the_brokers_are_away_ends_within_what_supervisors_grant(
    kafka_broker, cluster, outage
):
    with RunningSession(cluster) as session:
        publish(cluster, 10)
        session.await_ready()
        publish(cluster, 10)
        outage()
        assert session.stop() < 20.0
    assert session.failure is None or isinstance(session.failure, ClientLost)
    assert session.held() == 0


DENIED = {
    "group": (ResourceType.GROUP, AclOperation.READ),
    "events": (ResourceType.TOPIC, AclOperation.READ),
    "state": (ResourceType.TOPIC, AclOperation.READ),
    "windows": (ResourceType.TOPIC, AclOperation.WRITE),
}


@pytest.mark.parametrize("what", DENIED)
def test_what_is_forbidden_ends_it_and_is_named(guarded, what):
    cluster = Cluster(guarded)
    resource, operation = DENIED[what]
    # What there is a rule for is open to nobody but by a rule.
    rules = [(AclOperation.ALL, AclPermissionType.ALLOW), (operation, AclPermissionType.DENY)]
    acls = [
        AclBinding(
            resource,
            getattr(cluster, what),
            ResourcePatternType.LITERAL,
            "User:ANONYMOUS",
            "*",
            operation,
            permission,
        )
        for operation, permission in rules
    ]
    publish(cluster, 10)
    close_windows(cluster)
    for done in cluster.admin.create_acls(acls).values():
        done.result(TIMEOUT_S)
    with RunningSession(cluster) as session:
        session.await_end()
    assert isinstance(session.failure, AuthorizationError), session.failure
    assert "check the client's rights" in str(session.failure)
