"""The relay's slow coordinator: offsets are held, and the next producer is refused, then accepted."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from driftgauge.kafka import client
from tests.harness.cluster import Cluster
from tests.harness.relay import Relay
from tests.waiting import PATIENCE_S

CALL_S, BUSY_S = 2.0, 10.0


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
