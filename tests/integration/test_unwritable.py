"""A partition that nobody can write to, or read: what depends on it waits, says so, and loses nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftgauge.core.counting.partial import shard_of
from tests.integration.case import HOUR_MS, SHARDS, START_MS, Case, SourceEvent, make_events
from tests.integration.placed import Nodes, place, prepare_cluster
from tests.integration.service import ServiceProcess, wait_for
from tests.kafka.fixtures import running_cluster
from tests.kafka.nodes import BROKER, COMBINED, KafkaCluster

pytestmark = pytest.mark.broker

STREAMS = ("alpha", "beta")
BOTH: Nodes = ((1,), (2,))
FIRST_ONLY: Nodes = ((1,), (1,))
# As the first node's, and that of shard 1, which only the second node has.
AWAY = shard_of("beta", SHARDS)
UNWRITABLE = "driftgauge_unwritable_partitions"


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Two nodes, of which the first alone holds what the cluster keeps about itself."""
    with running_cluster([COMBINED, BROKER]) as cluster:
        yield cluster


def make_case(
    cluster: KafkaCluster, folder: Path, *, partials: Nodes = FIRST_ONLY, changelog: Nodes = FIRST_ONLY
) -> Case:
    """A case whose topics are on the first node, but for those partitions that are placed elsewhere."""
    case = Case(
        folder,
        cluster.nodes[1].bootstrap,
        partitions=None,
        streams=STREAMS,
        stream_settings={"allowed_lateness": "1d"},
        # A rebalance would be another trouble than the one that is looked at.
        kafka={"session.timeout.ms": 10_000},
    )
    assert shard_of("alpha", SHARDS) != AWAY
    place(case, case.events_topic, FIRST_ONLY)
    prepare_cluster(cluster, case)
    case.partitions = 2
    place(case, case.windows_topic, FIRST_ONLY)
    place(case, case.dead_letters_topic, FIRST_ONLY)
    place(
        case,
        case.partials_topic,
        partials,
        {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1", "retention.bytes": "-1"},
    )
    place(case, case.changelog_topic, changelog, {"cleanup.policy": "compact"})
    return case


def events_of(stream: str, part: int) -> list[SourceEvent]:
    return make_events(stream, 200, start_ms=START_MS + part * 2 * HOUR_MS, span_ms=2 * HOUR_MS, seed=part)


def unwritable(service: ServiceProcess, topic: str) -> Callable[[], bool]:
    return lambda: service.scrape().value(UNWRITABLE, topic=topic) == 1


def test_while_a_partials_partition_cannot_be_written_to_counting_waits_and_says_so(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    case = make_case(cluster, tmp_path, partials=BOTH)
    events = [event for part in range(2) for stream in STREAMS for event in events_of(stream, part)]
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(events[:400])
        service.wait_for("the first part to be counted", lambda: service.counted() == 400)
        cluster.nodes[2].stop()
        case.publish(events[400:])
        service.wait_for("it to say so", unwritable(service, case.partials_topic))
        assert service.counted() == 400
        assert any(
            f"{case.partials_topic}[{AWAY}]" in str(entry["partitions"])
            for entry in service.logged(
                "partitions cannot be written to; nothing is lost, the role waits for them"
            )
        )
        cluster.nodes[2].restart()
        case.wait_for_counts(service, case.truth(events))
        assert service.counted() == 800
        assert service.chain() == {"gap": 0, "overlap": 0, "orphans": 0}
        service.wait_for("it to be over", lambda: not unwritable(service, case.partials_topic)())
        service.stop()
    assert case.dead_letters() == []


def test_while_a_changelog_partition_cannot_be_written_to_its_streams_alone_wait(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    case = make_case(cluster, tmp_path, changelog=BOTH)
    parts = [[event for stream in STREAMS for event in events_of(stream, part)] for part in range(2)]
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(parts[0])
        case.wait_for_counts(service, case.truth(parts[0]))
        cluster.nodes[2].stop()
        case.publish(parts[1])
        service.wait_for("it to say so", unwritable(service, case.changelog_topic))
        alpha = [event for part in parts for event in part if event.stream == "alpha"]
        wait_for(
            "the other stream's windows",
            lambda: (
                {key: count for key, count in case.final_counts().items() if key[0] == "alpha"}
                == case.truth(alpha)
            ),
        )
        assert unwritable(service, case.changelog_topic)()
        assert service.counted() == 800, "counting does not wait"
        held = service.logged("changelog cannot be written to; the shard waits, the others go on")
        assert {entry["shard"] for entry in held} == {AWAY}
        cluster.nodes[2].restart()
        case.wait_for_counts(service, case.truth(parts[0] + parts[1]))
        assert service.chain() == {"gap": 0, "overlap": 0, "orphans": 0}
        service.wait_for("it to be over", lambda: not unwritable(service, case.changelog_topic)())
        service.stop()


def test_a_source_partition_without_a_leader_holds_up_no_other(cluster: KafkaCluster, tmp_path: Path) -> None:
    case = make_case(cluster, tmp_path)
    other = f"{case.name}.other"
    place(case, other, BOTH)
    topics = {"windows": case.windows_topic, "dead_letters": case.dead_letters_topic}
    case.settings = {"topics": {"events": [case.events_topic, other], **topics}}
    case.write_config()
    alpha, beta = events_of("alpha", 0), events_of("beta", 0)
    cluster.nodes[2].stop()
    with case.serve() as service:
        # What has no leader is assigned all the same, and waited for.
        service.wait_for("all to be held", lambda: service.assigned_partitions() == 4)
        case.publish(alpha)
        service.wait_for("the others to be counted", lambda: service.counted("alpha") == 200)
        cluster.nodes[2].restart()
        case.publish(beta, topic=other)
        case.wait_for_counts(service, case.truth(alpha + beta))
        assert service.chain() == {"gap": 0, "overlap": 0, "orphans": 0}
        service.stop()
