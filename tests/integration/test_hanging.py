"""KAFKA-20734 under the service: a commit hangs in one shard, which is named, and cured by one command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftgauge.core.counting.partial import shard_of
from driftgauge.kafka.internal_topics import CHANGELOG_SETTINGS, PARTIALS_SETTINGS
from tests.integration.case import (
    HOUR_MS,
    SHARDS,
    START_MS,
    TIMEOUT_S,
    Case,
    SourceEvent,
    WindowKey,
    make_events,
)
from tests.integration.placed import place, prepare_cluster
from tests.integration.service import ServiceProcess, driftgauge, wait_for
from tests.kafka.fixtures import running_cluster
from tests.kafka.nodes import BROKER, COMBINED, KafkaCluster
from tests.kafka.relay import Relay

pytestmark = pytest.mark.broker

AFFECTED = "4.3.1"
KEPT, AWAY = 1, 2  # the node that stays, and the one that is stopped
STREAMS = ("alpha", "beta")
# Whose shard is on the node that is stopped.
HUNG, SOUND = sorted(STREAMS, key=lambda stream: shard_of(stream, SHARDS))
# The service takes a transaction for hanging after 40 s.
NAMED_S = 120.0
UNWRITABLE = "partitions cannot be written to; nothing is lost, the role waits for them"
TOLD = "a transaction does not end; records after it in the partition cannot be read"


@pytest.fixture
def cluster() -> Iterator[KafkaCluster]:
    with running_cluster([COMBINED, BROKER], version=AFFECTED) as cluster:
        yield cluster


def make_case(folder: Path, cluster: KafkaCluster) -> Case:
    """All topics are on the node that stays, the cluster's own too, but for the first shard's partials."""
    case = Case(
        folder,
        cluster.bootstrap,
        streams=STREAMS,
        partitions=None,
        stream_settings={"allowed_disorder": "10m", "idle_timeout": "1h"},
        # A commit without events, which says only that there are none, comes no more often.
        settings={"commit_interval": "2s"},
    )
    place(case, case.events_topic, [[KEPT], [KEPT]])
    case.partitions = 2
    prepare_cluster(cluster, case)
    place(case, case.windows_topic, [[KEPT]])
    place(case, case.dead_letters_topic, [[KEPT]])
    place(case, case.partials_topic, [[AWAY], [KEPT]], PARTIALS_SETTINGS)
    place(case, case.changelog_topic, [[KEPT], [KEPT]], CHANGELOG_SETTINGS)
    return case


def leader(case: Case) -> int:
    """The node that leads the partials of the first shard; -1: none."""
    topic = case.partials_topic
    return int(case.admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions[0].leader)


def hours(first: int, last: int) -> list[SourceEvent]:
    """Events of both streams on both partitions, over some hours."""
    span_ms = (last - first) * HOUR_MS
    return [
        SourceEvent(event.stream, event.time_ms, event.vector, partition)
        for stream in STREAMS
        for event in make_events(
            stream, 40 * (last - first), start_ms=START_MS + first * HOUR_MS, span_ms=span_ms, seed=first
        )
        for partition in range(2)
    ]


def stalled(service: ServiceProcess, case: Case) -> set[str]:
    """The partitions of the partials whose stable offset is known to stand still."""
    return {
        dict(labels)["partition"]
        for (name, labels), value in service.scrape().samples.items()
        if name == "driftgauge_stable_offset_stalled_seconds" and dict(labels)["topic"] == case.partials_topic
    }


def of(stream: str, case: Case) -> dict[WindowKey, int]:
    """The counts of a stream's windows."""
    return {key: count for key, count in case.final_counts().items() if key[0] == stream}


def test_a_commit_that_hangs_is_named_holds_up_its_shard_alone_and_is_resolved(
    tmp_path: Path, cluster: KafkaCluster
) -> None:
    case = make_case(tmp_path, cluster)
    first, second = hours(0, 3), hours(3, 6)
    with Relay(cluster.bootstrap) as relay:
        through_relay = {"DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": relay.bootstrap}
        with case.serve("one", through_relay) as service:
            case.publish(first)
            service.wait_for("the first hours to be counted", lambda: service.counted() == len(first))
            before = case.positions()
            commits = relay.stop_commits(".count")
            case.publish(second)
            commits.wait_until_one_has_come()
            cluster.nodes[AWAY].stop()
            wait_for("the shard's partials to have no leader", lambda: leader(case) == -1)
            # In this moment the broker ends the transaction, and forgets its marker for this partition.
            commits.let_go()
            wait_for("the offsets to be committed", lambda: case.positions() != before)
            # By its next marker the same producer would end it; it is replaced where it cannot write.
            service.wait_for("the producer to be replaced", lambda: bool(service.logged(UNWRITABLE)))
            cluster.nodes[AWAY].start()
            wait_for("the shard's partials to have their leader back", lambda: leader(case) == AWAY)
            third = hours(6, 9)
            published = len(first) + len(second) + case.publish_last(third)
            service.wait_for("all to be counted", lambda: service.counted() == published)
            truth = case.truth([*first, *second, *third])

            sound = {key: count for key, count in truth.items() if key[0] == SOUND}
            service.wait_for("the windows of the other shard", lambda: of(SOUND, case) == sound)
            service.wait_for(
                "the shard to be named", lambda: stalled(service, case) == {"0"}, within_s=NAMED_S
            )
            service.wait_for("whose it is to be told", lambda: bool(service.logged(TOLD)))
            told = service.logged(TOLD)[0]
            assert str(told["producer"]).endswith(".count")
            assert str(told["partition"]).startswith(f"{case.partials_topic}[0]@")
            assert of(HUNG, case).items() < truth.items()

            listed = driftgauge("kafka", "transactions", "list", "--config", case.config)
            assert (listed.returncode, f"{case.partials_topic}[0] from offset" in listed.stdout) == (1, True)
            resolved = driftgauge("kafka", "transactions", "resolve", "--apply", "--config", case.config)
            assert resolved.returncode == 0, resolved.stdout + resolved.stderr
            assert "commit: the same transaction is committed in" in resolved.stdout
            case.wait_for_counts(service, truth)
            service.wait_for("the shard to go on", lambda: stalled(service, case) == set())
            assert service.chain() == {"gap": 0, "overlap": 0, "orphans": 0}
    assert not any(record["incomplete"] for record in case.final_results().values())
    assert case.dead_letters() == []
