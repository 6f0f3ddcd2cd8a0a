"""The relay's slow coordinator: offsets are held, and the next producer is refused, then accepted."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from confluent_kafka import KafkaError, KafkaException

from driftgauge.kafka import client
from tests.harness.cluster import Cluster
from tests.harness.protocol import ApiKey, ProtocolRequest
from tests.harness.relay import Relay
from tests.harness.slow_coordinator import SlowCoordinator
from tests.waiting import PATIENCE_S, wait_for

CALL_S, BUSY_S = 2.0, 10.0
INIT = ProtocolRequest(ApiKey.INIT_PRODUCER_ID, 7, "group.a.count")
OFFSETS = ProtocolRequest(ApiKey.ADD_OFFSETS_TO_TXN, 8, "group.a.count")


@pytest.mark.parametrize(
    ("is_flexible", "answer"),
    [
        (False, "00000014 00000007 00000000 0033 ffffffffffffffff ffff"),
        (True, "00000016 00000007 00 00000000 0033 ffffffffffffffff ffff 00"),
    ],
)
def test_refusal_is_answer_of_version(is_flexible: bool, answer: str) -> None:
    request = ProtocolRequest(ApiKey.INIT_PRODUCER_ID, 7, "txn", is_flexible=is_flexible)
    assert request.refuse_producer(KafkaError.CONCURRENT_TRANSACTIONS) == bytes.fromhex(answer)


@pytest.fixture
def slow() -> Iterator[SlowCoordinator]:
    """Offsets are held, and producers are refused from now on."""
    slow = SlowCoordinator("count", busy_s=600.0)
    assert slow.refusal(INIT) is None, "no offsets are held yet"
    held = threading.Thread(target=slow.wait_while_held, args=(OFFSETS,))
    held.start()
    wait_for("a refusal", lambda: slow.refusal(INIT) is not None)
    assert held.is_alive()
    yield slow
    assert not slow.end(0.0)
    held.join(PATIENCE_S)
    assert not held.is_alive()
    assert slow.refusal(INIT) is None


def test_other_requests_and_roles_pass(slow: SlowCoordinator) -> None:
    assert slow.refusal(replace(INIT, transactional_id="group.a.count.2")) is not None
    for passing in (replace(INIT, transactional_id="group.a.windows"), replace(INIT, api=ApiKey.END_TXN)):
        assert slow.refusal(passing) is None
        slow.wait_while_held(passing)


@pytest.mark.broker
def test_client_sees_slow_and_then_busy_coordinator(bootstrap: str) -> None:
    with Relay(bootstrap) as relay, Cluster(bootstrap) as cluster, cluster.member() as member:
        through = {**cluster.properties, "bootstrap.servers": relay.bootstrap}
        first, second = (
            client.transactional_producer(through, f"{cluster.group}.count", lambda _: None) for _ in range(2)
        )
        first.init_transactions(PATIENCE_S)
        slow = relay.slow_coordinator("count", busy_s=BUSY_S)
        first.begin_transaction()
        with pytest.raises(KafkaException) as held:
            first.send_offsets_to_transaction(cluster.at({0: 7}), member.consumer_group_metadata(), CALL_S)
        assert held.value.args[0].code() == KafkaError._TIMED_OUT
        with pytest.raises(KafkaException) as refused:
            second.init_transactions(CALL_S)
        assert refused.value.args[0].code() == KafkaError.CONCURRENT_TRANSACTIONS
        second.init_transactions(PATIENCE_S)
        assert slow.end(0.0), "the second producer was accepted"
        second.begin_transaction()
        second.send_offsets_to_transaction(cluster.at({0: 9}), member.consumer_group_metadata(), PATIENCE_S)
        second.commit_transaction(PATIENCE_S)
        assert cluster.committed() == {0: 9}
