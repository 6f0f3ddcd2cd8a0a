"""A connection that was lost between two transactions, for a moment or longer, does not hold up the next."""

import time

import pytest

from tests.kafka.cluster import Cluster
from tests.kafka.relay import Relay

pytestmark = pytest.mark.integration

BOUND_S = 10.0


@pytest.mark.parametrize("outage_s", [0.0, 2.0])
def test_the_next_transaction_is_committed_after_a_lost_connection(bootstrap, outage_s):
    with Relay(bootstrap) as relay, Cluster(bootstrap, partitions=1) as cluster:
        transaction = cluster.transaction(**{"bootstrap.servers": relay.bootstrap})
        with cluster.member() as member:

            def commit(position):
                transaction.produce(cluster.windows, key=b"key", value=b"%d" % position)
                began_s = time.monotonic()
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
