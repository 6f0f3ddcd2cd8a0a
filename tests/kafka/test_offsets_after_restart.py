"""End offsets are known again soon after a broker crash."""

from functools import partial

import pytest
from confluent_kafka.admin import NewTopic

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.kafka import client
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.shared_admin import SharedAdmin
from tests.harness.broker import Broker
from tests.harness.fixtures import ExternalCluster
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

TIMEOUT_S = 20.0
TOPIC = "offsets-after-restart"
EXPECTED = {(TOPIC, 0): 0, (TOPIC, 1): 0}


def test_offsets_are_answered_after_leader_epoch_grows(
    kafka_broker: Broker | ExternalCluster,
) -> None:
    properties = {"bootstrap.servers": kafka_broker.bootstrap, "reconnect.backoff.max.ms": 500}
    admin = SharedAdmin(partial(client.admin, properties), SYSTEM_CLOCK)
    admin.client.create_topics([NewTopic(TOPIC, 2)])[TOPIC].result(TIMEOUT_S)
    offsets = LogOffsets(admin)
    await_offsets(offsets)
    kafka_broker.kill()
    kafka_broker.restart()
    await_offsets(offsets)


def await_offsets(offsets: LogOffsets) -> None:
    offsets.request([*EXPECTED])

    def are_expected() -> bool:
        answers = offsets.collect()
        if answers is not None and answers != EXPECTED:
            offsets.request([*EXPECTED])
        return answers == EXPECTED

    wait_for("the end offsets", are_expected, within_s=TIMEOUT_S)
