"""KAFKA-20734 on two nodes: a transaction hangs, is named, is ended as it was decided; all content is read."""

import time

import pytest

from driftgauge.kafka.hanging.evidence import decide_all
from driftgauge.kafka.hanging.model import Outcome
from driftgauge.kafka.hanging.survey import survey
from tests.kafka.hanging.commits import TIMEOUT_S, Stage
from tests.kafka.jars import BrokerUnavailable
from tests.kafka.nodes import BROKER, COMBINED, KafkaCluster
from tests.needed import skip_or_fail

kafka_python = pytest.importorskip("kafka")

from driftgauge.kafka.hanging.client import OperatorClient  # noqa: E402

pytestmark = pytest.mark.integration

AFFECTED = "4.3.1"


def start(version=None):
    # Both nodes hold internal topics; which of them holds what is of the essence here.
    cluster = KafkaCluster([COMBINED, BROKER], version=version)
    try:
        cluster.start()
    except BrokerUnavailable as error:
        skip_or_fail(str(error))
    return cluster


@pytest.fixture(scope="module")
def affected():
    cluster = start(AFFECTED)
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def sound():
    cluster = start()
    yield cluster
    cluster.close()


def look(stage):
    """What hangs, as places and decisions."""
    with OperatorClient({"bootstrap.servers": stage.cluster.bootstrap}) as client:
        found = survey(client, stage.topics, time.time_ns() // 1_000_000)
        assert not found.unasked
        decisions = decide_all(client, stage.topics, found.hangs)
        return {
            hang.transaction.partition: (hang, decision)
            for hang, decision in zip(found.hangs, decisions, strict=True)
        }


def resolve(stage, found):
    with OperatorClient({"bootstrap.servers": stage.cluster.bootstrap}) as client:
        for hang, decision in found.values():
            client.end(hang.transaction, decision.outcome)


def test_committed_count_hangs_and_is_committed_by_its_other_shard(affected):
    stage = Stage(affected)
    first = stage.count(0, 10)
    stage.producer.commit_transaction(TIMEOUT_S)
    second = stage.count(10, 25)
    stage.end_while_leaderless(stage.internal.partials, commit=True)
    time.sleep(2)
    assert stage.hangs(stage.internal.partials, 0)
    assert stage.committed(stage.internal.group, stage.events, 0) == 25
    assert stage.values(stage.internal.partials) == {0: first[0], 1: first[1] + second[1]}

    found = look(stage)
    print(found)
    assert found.keys() == {(stage.internal.partials, 0)}
    ((hang, decision),) = found.values()
    assert hang.coordinator.transactional_id == stage.name
    assert decision.outcome is Outcome.COMMIT
    assert f"committed in {stage.internal.partials}[1]" in decision.reason

    resolve(stage, found)
    assert not stage.hangs(stage.internal.partials, 0)
    assert stage.values(stage.internal.partials) == {0: first[0] + second[0], 1: first[1] + second[1]}
    assert look(stage) == {}
