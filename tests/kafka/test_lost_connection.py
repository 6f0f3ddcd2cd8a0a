"""A lost connection, for a moment or longer, holds up no transaction, and its producer is replaced."""

import time

import pytest
from confluent_kafka import KafkaError

from driftgauge.kafka import client
from tests.kafka.cluster import Cluster
from tests.kafka.relay import Relay

pytestmark = pytest.mark.broker

BOUND_S = 10.0


@pytest.mark.parametrize("outage_s", [0.0, 2.0])
def test_the_next_transaction_is_committed_after_a_lost_connection(bootstrap, outage_s):
    with Relay(bootstrap) as relay, Cluster(bootstrap, partitions=1) as cluster:
        transaction = cluster.transaction(**{"bootstrap.servers": relay.bootstrap})
        with cluster.member() as member:

            def commit(position):
                began_s = time.monotonic()
                transaction.begin(BOUND_S)
                transaction.produce(cluster.windows, -1, b"key", b"%d" % position)
                transaction.commit(cluster.at({0: position}), member, BOUND_S)
                # Beyond it the call hangs, as librdkafka's own way of recovery leaves it.
                assert time.monotonic() - began_s < BOUND_S

            commit(1)
            relay.cut()
            time.sleep(outage_s)
            relay.mend()
            commit(2)
        assert cluster.committed() == {0: 2}
        assert [value for _, value in cluster.read(cluster.windows)] == [b"1", b"2"]


def test_producer_that_lost_its_connection_within_a_transaction_is_replaced(bootstrap):
    """Though the client repeats what was under way and says that the commit succeeded."""
    with Relay(bootstrap) as relay, Cluster(bootstrap, partitions=1) as cluster:
        transaction = cluster.transaction(**{"bootstrap.servers": relay.bootstrap})
        with cluster.member() as member:
            epochs = []
            for position in range(1, 5):
                transaction.begin(BOUND_S)
                epochs.append(transaction.epoch)
                transaction.produce(cluster.windows, -1, b"key", b"%d" % position)
                if position == 2:
                    relay.cut()
                    relay.mend()
                transaction.commit(cluster.at({0: position}), member, BOUND_S)
        assert epochs[0] == epochs[1] < epochs[2] == epochs[3]
        assert cluster.committed() == {0: 4}
        assert [value for _, value in cluster.read(cluster.windows)] == [b"1", b"2", b"3", b"4"]


def test_connection_that_is_lost_and_restored_at_once_is_told(bootstrap):
    """The client calls back only where all brokers are gone or one cannot be connected to."""
    with Relay(bootstrap) as relay, Cluster(bootstrap, partitions=1) as cluster:
        heard = []
        properties = {**cluster.properties, "bootstrap.servers": relay.bootstrap}
        producer = client.transactional_producer(properties, cluster.group, heard.append)
        producer.init_transactions(BOUND_S)
        producer.poll(0)
        assert heard == []
        relay.cut()
        relay.mend()

        def is_told():
            producer.poll(0.05)
            return any(
                error.code() == KafkaError._TRANSPORT and "in state UP" in error.str() for error in heard
            )

        cluster.await_that(is_told, "the lost connection")
