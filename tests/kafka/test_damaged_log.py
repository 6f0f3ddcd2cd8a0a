"""Partials that are damaged on a broker's disk are not applied."""

import pytest

from driftgauge.kafka.changelog_reader import DAMAGED_REMEDY
from driftgauge.telemetry.health import Role
from tests.builders.clocks import MONDAY_MS
from tests.builders.events import build_event
from tests.harness.running_service import SHARDS, STREAM, RunningService

pytestmark = pytest.mark.broker


def test_damaged_partials_stop_their_shard_alone(kafka_broker, cluster, caplog):
    cluster.publish(*(build_event(MONDAY_MS + index, stream=STREAM) for index in range(10)))
    with RunningService(cluster, [Role.COUNT]) as running:
        cluster.await_that(lambda: running.counted() == 10, "the events to be counted")
        partials = running.settings.partials_topic
    kafka_broker.stop()
    (segment,) = kafka_broker.data.glob(f"{partials}-0/*.log")
    content = bytearray(segment.read_bytes())
    content[100] ^= 1  # in the records of the first batch, after its header
    segment.write_bytes(content)
    kafka_broker.restart()
    with RunningService(cluster, [Role.WINDOWS]) as running:
        cluster.await_that(lambda: running.restored() == SHARDS, "both shards")
        cluster.await_that(
            lambda: running.value("blocked_partitions", topic=partials, reason="stopped") == 1,
            "one shard to stop",
        )
    (line,) = [record for record in caplog.records if record.getMessage().startswith("shard stopped")]
    assert (line.shard, line.reason.endswith(DAMAGED_REMEDY)) == (0, True)
