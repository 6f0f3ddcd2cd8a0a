"""Transactions after a lost connection: they commit, and the producer is replaced."""

import time

import pytest
from confluent_kafka import KafkaError

from driftgauge.kafka import client
from tests.kafka.cluster import Cluster
from tests.kafka.relay import Relay

pytestmark = pytest.mark.broker

BOUND_S = 10.0


@pytest.mark.parametrize("outage_s", [0.0, 2.0])
def test_next_transaction_commits_after_lost_connection(bootstrap, outage_s):
    with Relay(bootstrap) as relay, Cluster(bootstrap, partitions=1) as cluster:
        transaction = cluster.transaction(**{"bootstrap.servers": relay.bootstrap})
        with cluster.member() as member:

            def commit(position):
                began_s = time.monotonic()
                transaction.begin(BOUND_S)
                transaction.produce(cluster.windows, -1, b"key", b"%d" % position)
                cluster.commit_for(member, transaction, cluster.at({0: position}), BOUND_S)
                # A longer call hangs, as with librdkafka's own recovery of metadata.
                assert time.monotonic() - began_s < BOUND_S

            commit(1)
            relay.cut()
            time.sleep(outage_s)
            relay.reconnect()
            commit(2)
        assert cluster.committed() == {0: 2}
        assert [value for _, value in cluster.read(cluster.windows)] == [b"1", b"2"]


def test_producer_is_replaced_after_lost_connection_in_transaction(bootstrap):
    """The client repeats its requests and reports that the commit succeeded, but is still replaced."""
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
                    relay.reconnect()
                cluster.commit_for(member, transaction, cluster.at({0: position}), BOUND_S)
        assert epochs[0] == epochs[1] < epochs[2] == epochs[3]
        assert cluster.committed() == {0: 4}
        assert [value for _, value in cluster.read(cluster.windows)] == [b"1", b"2", b"3", b"4"]


def test_connection_restored_at_once_is_still_reported(bootstrap):
    """By default the client reports only that all brokers are down, or that a connection fails."""
    with Relay(bootstrap) as relay, Cluster(bootstrap, partitions=1) as cluster:
        errors = []
        properties = {**cluster.properties, "bootstrap.servers": relay.bootstrap}
        producer = client.transactional_producer(properties, cluster.group, errors.append)
        producer.init_transactions(BOUND_S)
        producer.poll(0)
        assert errors == []
        relay.cut()
        relay.reconnect()

        def is_reported():
            producer.poll(0.05)
            return any(
                error.code() == KafkaError._TRANSPORT and "in state UP" in error.str() for error in errors
            )

        cluster.await_that(is_reported, "the lost connection")
