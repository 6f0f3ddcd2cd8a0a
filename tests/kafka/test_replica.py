"""A replica from start to stop: what it waits out, what ends it, and how it is called."""

import time
from types import SimpleNamespace

import orjson
import pytest

from driftgauge.app import wall_clock_ms
from driftgauge.errors import AuthorizationError, ClientLost, StateError, TransactionAborted
from driftgauge.kafka import client
from driftgauge.kafka import replica as replica_module
from driftgauge.kafka.replica import Replica
from driftgauge.telemetry.health import Health
from tests.kafka.cluster import TIMEOUT_S, Cluster
from tests.kafka.parts import DECODER, SPEC, Clock, build_settings, build_telemetry, event
from tests.kafka.running import Running


class RunningReplica(Running):
    def __init__(self, cluster, **changes):
        super().__init__(cluster, **changes)
        self.start()

    def run(self):
        replica = Replica(
            self.settings,
            [SPEC],
            DECODER,
            telemetry=self.telemetry,
            health=self.health,
            clock_ms=wall_clock_ms,
        )
        replica.run(self.stopping)

    def sessions_lost(self):
        return self.value("sessions_lost_total")


def publish(cluster):
    for partition in range(cluster.partitions):
        cluster.publish(*(event(place) for place in range(10)), partition=partition)


def count(cluster):
    """The events in the last result of the one window that is looked at, and how many results there are."""
    results = [orjson.loads(value) for _, value in cluster.read(cluster.windows)]
    seconds = [result for result in results if result["window"] == "1s" and "T00:00:00Z" in result["start"]]
    assert len({result["revision"] for result in seconds}) == len(seconds), "each revision once"
    return seconds[-1]["count"] if seconds else 0


@pytest.fixture
def cluster(bootstrap):
    with Cluster(bootstrap) as cluster:
        yield cluster


@pytest.fixture
def outage(kafka_broker):
    """Stops the broker; it runs again after the test."""
    yield kafka_broker.stop
    if not kafka_broker.running:
        kafka_broker.restart()


@pytest.mark.integration
def test_topics_that_are_missing_are_created_or_waited_for(cluster):
    for topic in (cluster.events, cluster.state, cluster.windows, cluster.letters):
        cluster.delete(topic)
    with RunningReplica(cluster) as running:
        cluster.await_that(
            lambda: {cluster.windows, cluster.letters} <= cluster.admin.list_topics(timeout=10).topics.keys(),
            "the topics that are written to",
        )
        topics = cluster.admin.list_topics(timeout=10).topics
        assert cluster.events not in topics, "what is read is not the service's to make"
        cluster.create(cluster.events, 2)
        publish(cluster)
        cluster.await_that(lambda: count(cluster) == 20, "the events to be counted")
    assert running.failure is None
    assert running.sessions_lost() == 0


@pytest.mark.integration
def test_who_waits_for_topics_hears_that_it_is_to_stop(cluster):
    cluster.delete(cluster.events)
    with RunningReplica(cluster) as running:
        assert running.stop() < 5.0
    assert running.failure is None


@pytest.mark.integration
def test_an_outage_is_waited_out_and_nothing_is_counted_twice_or_lost(kafka_broker, cluster, outage):
    with RunningReplica(cluster, replica="one") as running:
        publish(cluster)
        cluster.await_that(lambda: cluster.committed() == {0: 10, 1: 10}, "the first events")
        publish(cluster)
        outage()
        cluster.await_that(
            # If nothing was to be committed just then, it is the group that is missed first.
            lambda: running.sessions_lost() + running.value("consumer_rebalances_total", kind="lost") >= 1,
            "the outage to be noticed",
        )
        assert running.failure is None
        kafka_broker.restart()
        publish(cluster)
        cluster.await_that(lambda: count(cluster) == 60, "all events to be counted", within_s=60)
    assert running.failure is None


@pytest.mark.integration
def test_who_waits_for_the_brokers_hears_that_it_is_to_stop(kafka_broker, cluster, outage):
    outage()
    with RunningReplica(cluster) as running:
        cluster.await_that(lambda: running.health.since_poll_ms() > 100, "the first attempt")
        assert running.stop() < 12.0
    assert running.failure is None


@pytest.mark.integration
def test_state_that_cannot_be_used_ends_it(cluster):
    producer = client.producer(cluster.properties)
    producer.produce(cluster.state, b"value", b"strange", partition=1)
    assert producer.flush(TIMEOUT_S) == 0
    with RunningReplica(cluster) as running:
        running.await_end()
    assert isinstance(running.failure, StateError)
    assert running.sessions_lost() == 0


@pytest.mark.integration
def test_a_named_replica_takes_over_from_the_one_before_it_without_waiting(cluster):
    """Its predecessor was killed in mid-transaction, which would stay open for a minute."""
    name = f"driftgauge.{cluster.group}.one"
    predecessor = cluster.writer(name, **{"transaction.timeout.ms": 60_000})
    predecessor.begin_transaction()
    with cluster.stranger() as owner:
        predecessor.send_offsets_to_transaction(
            cluster.at({0: 5}), owner.consumer_group_metadata(), TIMEOUT_S
        )
    publish(cluster)
    started_s = time.monotonic()
    with RunningReplica(cluster, replica="one"):
        cluster.await_that(lambda: count(cluster) == 20, "the events to be counted")
    assert time.monotonic() - started_s < 30


# --- with sessions that end as they are told ---


class Stopping:
    """Is never set by itself; keeps what was waited."""

    def __init__(self):
        self.waited_s = []

    def is_set(self):
        return False

    def wait(self, timeout_s):
        self.waited_s.append(timeout_s)
        return False


def run(monkeypatch, *sessions, replica=None):
    """Run through sessions, each (ms that it lives, how it ends); return the pauses and the names."""
    clock = Clock()
    ends = iter(sessions)
    names = []

    class ToldSession:
        def __init__(self, *_, transactional_id, **__):
            names.append(transactional_id)

        def run(self, _):
            lived_ms, error = next(ends)
            clock.now_ms += lived_ms
            if error is not None:
                raise error

    monkeypatch.setattr(replica_module, "Session", ToldSession)
    monkeypatch.setattr(
        replica_module,
        "topics",
        SimpleNamespace(create_missing_topics=lambda *_: None, missing_topics=lambda *_: []),
    )
    told = Replica(
        build_settings(replica=replica),
        [SPEC],
        DECODER,
        telemetry=build_telemetry(),
        health=Health(),
        clock_ms=clock,
    )
    stopping = Stopping()
    told.run(stopping)
    return stopping.waited_s, names


LOST = ClientLost("lost")


def test_the_pauses_grow_and_do_not_grow_beyond_a_bound(monkeypatch):
    pauses_s, _ = run(monkeypatch, *[(1_000, LOST)] * 7, (0, None))
    assert pauses_s == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_after_a_session_that_was_well_the_pauses_begin_anew(monkeypatch):
    sessions = [(1_000, LOST), (1_000, LOST), (61_000, TransactionAborted("aborted")), (1_000, LOST)]
    pauses_s, _ = run(monkeypatch, *sessions, (0, None))
    assert pauses_s == [0.5, 1.0, 0.5, 1.0]


@pytest.mark.parametrize("error", [AuthorizationError("barred"), StateError("lost")])
def test_what_waiting_will_not_mend_ends_it_at_once(monkeypatch, error):
    with pytest.raises(type(error)):
        run(monkeypatch, (1_000, LOST), (1_000, error), (0, None))


def test_a_named_replica_keeps_its_transactional_id_and_another_has_one_of_its_own(monkeypatch):
    sessions = [(1_000, LOST), (0, None)]
    _, named = run(monkeypatch, *sessions, replica="one")
    assert named == ["driftgauge.g.one"] * 2
    _, unnamed = run(monkeypatch, *sessions)
    _, other = run(monkeypatch, *sessions)
    assert unnamed[0] == unnamed[1], "one process, one id"
    assert len({*unnamed, *other, *named}) == 3
