"""Transactions after a lost connection: they commit, and the producer is replaced."""

import time

import pytest

from tests.harness.cluster import Cluster
from tests.harness.relay import Relay

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
        assert [value for _, value in cluster.pairs(cluster.windows)] == [b"1", b"2"]


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
        assert [value for _, value in cluster.pairs(cluster.windows)] == [b"1", b"2", b"3", b"4"]
