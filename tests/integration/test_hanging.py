"""KAFKA-20734 under the service: a hanging commit stalls one shard; one command resolves it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftgauge.core.counting.partial import shard_of
from driftgauge.kafka.internal_topics import CHANGELOG_SETTINGS, PARTIALS_SETTINGS
from tests.harness.case import (
    HOUR_MS,
    SHARDS,
    START_MS,
    Case,
    SourceEvent,
    make_events,
)
from tests.harness.fixtures import running_cluster
from tests.harness.nodes import BROKER, COMBINED, KafkaCluster
from tests.harness.placement import keep_coordinators_on_first_node, place
from tests.harness.relay import Relay
from tests.harness.service import NO_CHAIN_FAULTS, ReplicaProcess, driftgauge
from tests.harness.topics import TIMEOUT_S
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

AFFECTED = "4.3.1"
KEPT, AWAY = 1, 2  # the node that runs throughout, and the one that is stopped
STREAMS = ("alpha", "beta")
# The stream whose shard is on the stopped node, and the other one.
HUNG, SOUND = sorted(STREAMS, key=lambda stream: shard_of(stream, SHARDS))
# The service reports a hanging transaction after 40 s.
NAMED_S = 120.0
UNWRITABLE = "partitions cannot be written to; nothing is lost, the role waits for them"
STALLED = "a transaction does not end; records after it in the partition cannot be read"


@pytest.fixture
def cluster() -> Iterator[KafkaCluster]:
    with running_cluster([COMBINED, BROKER], version=AFFECTED) as cluster:
        keep_coordinators_on_first_node(cluster)
        yield cluster


def make_case(folder: Path, cluster: KafkaCluster) -> Case:
    """Return a case with all topics on the running node, except for the first shard's partials."""
    case = Case(
        folder,
        cluster.bootstrap,
        streams=STREAMS,
        partitions=None,
        stream_settings={"allowed_disorder": "10m", "idle_timeout": "1h"},
        # COUNT also commits progress without events, once in this interval.
        settings={"commit_interval": "2s"},
    )
    place(case, case.events_topic, [[KEPT], [KEPT]])
    case.partitions = 2
    place(case, case.windows_topic, [[KEPT]])
    place(case, case.dead_letters_topic, [[KEPT]])
    place(case, case.partials_topic, [[AWAY], [KEPT]], PARTIALS_SETTINGS)
    place(case, case.changelog_topic, [[KEPT], [KEPT]], CHANGELOG_SETTINGS)
    return case


def leader(case: Case) -> int:
    """Return the leader of the first shard's partials; -1 without one."""
    topic = case.partials_topic
    return int(case.admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions[0].leader)


def hours(first: int, last: int) -> list[SourceEvent]:
    """Return events of both streams on both partitions, over some hours."""
    span_ms = (last - first) * HOUR_MS
    return [
        SourceEvent(event.stream, event.time_ms, event.vector, partition)
        for stream in STREAMS
        for event in make_events(
            stream, 40 * (last - first), start_ms=START_MS + first * HOUR_MS, span_ms=span_ms, seed=first
        )
        for partition in range(2)
    ]


def stalled(service: ReplicaProcess, case: Case) -> set[str]:
    """Return the partitions of the partials topic whose last stable offset is reported as stalled."""
    return {
        dict(labels)["partition"]
        for (name, labels), value in service.scrape().samples.items()
        if name == "driftgauge_stable_offset_stalled_seconds" and dict(labels)["topic"] == case.partials_topic
    }


def test_hanging_commit_stalls_one_shard_until_resolved(tmp_path: Path, cluster: KafkaCluster) -> None:
    case = make_case(tmp_path, cluster)
    first, second = hours(0, 3), hours(3, 6)
    with Relay(cluster.bootstrap) as relay:
        through_relay = {"DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": relay.bootstrap}
        with case.serve("one", through_relay) as service:
            case.publish(first)
            service.wait_for("the first hours to be counted", lambda: service.counted() == len(first))
            before = case.positions()
            commits = relay.block_commits(".count")
            case.publish(second)
            commits.wait_until_blocked()
            cluster.nodes[AWAY].stop()
            wait_for("the shard's partials to have no leader", lambda: leader(case) == -1)
            # The broker ends the transaction now, and drops its marker for the partition without a leader.
            commits.release()
            wait_for("the offsets to be committed", lambda: case.positions() != before)
            # The next marker of the same producer would end the transaction; a replaced producer sends none.
            service.wait_for("the producer to be replaced", lambda: bool(service.logged(UNWRITABLE)))
            cluster.nodes[AWAY].start()
            wait_for("the shard's partials to have their leader back", lambda: leader(case) == AWAY)
            third = hours(6, 9)
            published = len(first) + len(second) + case.publish_last(third)
            service.wait_for("all to be counted", lambda: service.counted() == published)
            expected = case.counts_of([*first, *second, *third])

            sound = {key: count for key, count in expected.items() if key[0] == SOUND}
            service.wait_for("the windows of the other shard", lambda: case.final_counts(SOUND) == sound)
            service.wait_for(
                "the shard to be named", lambda: stalled(service, case) == {"0"}, within_s=NAMED_S
            )
            service.wait_for("the log to name the transaction", lambda: bool(service.logged(STALLED)))
            stall = service.logged(STALLED)[0]
            assert str(stall["producer"]).endswith(".count")
            assert str(stall["partition"]).startswith(f"{case.partials_topic}[0]@")
            assert case.final_counts(HUNG).items() < expected.items()

            listed = driftgauge("kafka", "transactions", "list", "--config", case.config)
            assert (listed.returncode, f"{case.partials_topic}[0] from offset" in listed.stdout) == (1, True)
            resolved = driftgauge("kafka", "transactions", "resolve", "--apply", "--config", case.config)
            assert resolved.returncode == 0, resolved.stdout + resolved.stderr
            assert "commit: the same transaction is committed in" in resolved.stdout
            case.wait_for_counts(service, expected)
            service.wait_for("the shard to go on", lambda: stalled(service, case) == set())
            assert service.chain_faults() == NO_CHAIN_FAULTS
    assert not any(record["incomplete"] for record in case.final_results().values())
    assert case.dead_letters() == []
