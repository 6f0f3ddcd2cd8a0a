"""End offsets are known again soon after a broker crash."""

import time
from collections.abc import Callable
from functools import partial

import pytest
from confluent_kafka.admin import NewTopic

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.kafka import client
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.shared_admin import SharedAdmin
from tests.kafka.broker import Broker
from tests.kafka.fixtures import ExternalCluster

pytestmark = pytest.mark.broker

TIMEOUT_S = 20.0
TOPIC = "offsets-after-restart"


def test_offsets_are_answered_after_leader_epoch_grows(
    kafka_broker: Broker | ExternalCluster,
) -> None:
    properties = {"bootstrap.servers": kafka_broker.bootstrap, "reconnect.backoff.max.ms": 500}
    admin = SharedAdmin(partial(client.admin, properties), SYSTEM_CLOCK)
    admin.client.create_topics([NewTopic(TOPIC, 2)])[TOPIC].result(TIMEOUT_S)
    offsets = LogOffsets(admin)
    expected = {(TOPIC, 0): 0, (TOPIC, 1): 0}
    wait_for(offsets, lambda answers: answers == expected, [*expected])
    kafka_broker.kill()
    kafka_broker.restart()
    wait_for(offsets, lambda answers: answers == expected, [*expected])


def wait_for(
    offsets: LogOffsets, is_so: Callable[[dict[tuple[str, int], int]], bool], asked: list[tuple[str, int]]
) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    answers: dict[tuple[str, int], int] | None = None
    offsets.request(asked)
    while answers is None or not is_so(answers):
        assert time.monotonic() < deadline, f"still {answers} after {TIMEOUT_S:g} s"
        time.sleep(0.1)
        answers = offsets.collect()
        if answers is not None and not is_so(answers):
            offsets.request(asked)
