"""Partitions without a leader: dependent work waits, reports the reason and loses nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from driftgauge.core.counting.partial import shard_of
from tests.harness.broker import BROKER, COMBINED, KafkaCluster
from tests.harness.case import HOUR_MS, SHARDS, START_MS, Case, SourceEvent, make_events
from tests.harness.fixtures import running
from tests.harness.service import NO_CHAIN_FAULTS, ReplicaProcess
from tests.harness.topics import TIMEOUT_S, committed
from tests.waiting import wait_for

Nodes = list[list[int]]
"""The nodes of each partition."""


def keep_coordinators_on_first_node(cluster: KafkaCluster) -> None:
    """Create the cluster's own topics, for offsets and transactions, while only the first node runs."""
    cluster.nodes[2].stop()
    address = cluster.nodes[1].bootstrap
    producer = Producer({"bootstrap.servers": address, "transactional.id": "first"})
    producer.init_transactions(TIMEOUT_S)
    assert committed(address, "first", "none", [0]) == {}
    cluster.nodes[2].restart()


pytestmark = pytest.mark.broker

STREAMS = ("alpha", "beta")
BOTH: Nodes = [[1], [2]]
FIRST_ONLY: Nodes = [[1], [1]]
# The shard whose partition only the second node has.
AWAY = shard_of("beta", SHARDS)


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Two nodes; only the first holds the cluster's own topics."""
    with running(lambda: KafkaCluster([COMBINED, BROKER])) as cluster:
        keep_coordinators_on_first_node(cluster)
        yield cluster


def make_case(
    cluster: KafkaCluster, folder: Path, *, partials: Nodes = FIRST_ONLY, changelog: Nodes = FIRST_ONLY
) -> Case:
    """Return a case whose topics are on the first node, unless placed otherwise."""
    case = Case(
        folder,
        cluster.nodes[1].bootstrap,
        partitions=None,
        streams=STREAMS,
        stream_settings={"idle_timeout": "1h", "allowed_lateness": "1d"},
        # A rebalance must not hide the effect of the missing leader.
        kafka={"session.timeout.ms": 10_000},
    )
    assert shard_of("alpha", SHARDS) != AWAY
    case.partitions = 2
    kept = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1", "retention.bytes": "-1"}
    for topic, nodes, config in (
        (case.events_topic, FIRST_ONLY, {}),
        (case.windows_topic, FIRST_ONLY, {}),
        (case.dead_letters_topic, FIRST_ONLY, {}),
        (case.partials_topic, partials, kept),
        (case.changelog_topic, changelog, {"cleanup.policy": "compact"}),
    ):
        new = NewTopic(topic, len(nodes), replica_assignment=nodes, config=config)
        case.admin.create_topics([new])[topic].result(TIMEOUT_S)
    return case


def events_of(stream: str, part: int) -> list[SourceEvent]:
    return make_events(stream, 200, start_ms=START_MS + part * 2 * HOUR_MS, span_ms=2 * HOUR_MS, seed=part)


def unwritable(service: ReplicaProcess, topic: str) -> Callable[[], bool]:
    return lambda: (
        service.scrape().value("driftgauge_blocked_partitions", topic=topic, reason="unwritable") == 1
    )


def test_sigterm_ends_a_service_that_cannot_write(cluster: KafkaCluster, tmp_path: Path) -> None:
    case = make_case(cluster, tmp_path, partials=BOTH)
    with case.serve() as service:
        service.wait_until_ready()
        cluster.nodes[2].stop()
        case.publish(events_of("beta", 0))
        service.wait_for("the partition to be reported", unwritable(service, case.partials_topic))
        took_s = service.stop()
        cluster.nodes[2].restart()
    # Usually 3 s; the bound of a commit is 12 s.
    assert took_s < 12


def test_unwritable_changelog_partition_pauses_its_shard_alone(cluster: KafkaCluster, tmp_path: Path) -> None:
    case = make_case(cluster, tmp_path, changelog=BOTH)

    def is_blocked() -> bool:
        # If the broker ends within a commit, the shard is being restored, and cannot read its changelog.
        return unwritable(service, case.changelog_topic)() or (
            service.scrape().value(
                "driftgauge_blocked_partitions", topic=case.partials_topic, reason="restore"
            )
            == 1
        )

    parts = [[event for stream in STREAMS for event in events_of(stream, part)] for part in range(2)]
    with case.ready() as service:
        case.publish(parts[0])
        service.wait_for(
            "both shards to publish", lambda: {key[0] for key in case.final_counts()} == {*STREAMS}
        )
        cluster.nodes[2].stop()
        published = len(parts[0]) + case.publish_last(parts[1])
        service.wait_for("the partition to be reported", is_blocked)
        alpha = [event for part in parts for event in part if event.stream == "alpha"]
        wait_for(
            "the other stream's windows",
            lambda: case.final_counts("alpha") == case.counts_of(alpha),
        )
        assert is_blocked()
        service.wait_for("counting to go on", lambda: service.counted() == published)
        held = service.logged("changelog cannot be written to; the shard waits, the others go on")
        assert {entry["shard"] for entry in held} <= {AWAY}
        cluster.nodes[2].restart()
        case.wait_for_counts(service, case.counts_of(parts[0] + parts[1]))
        assert service.chain_faults() == NO_CHAIN_FAULTS
        service.wait_for("the partition to be writable", lambda: not is_blocked())
