"""A topic that is deleted and created again while it is read."""

from pathlib import Path

import pytest

from tests.harness.case import HOUR_MS, START_MS, Case, make_events
from tests.harness.service import NO_CHAIN_FAULTS

pytestmark = pytest.mark.broker


def test_topic_recreated_while_read_affects_no_other(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        streams=("alpha", "beta"),
        partitions=2,
        kafka={"topic.metadata.refresh.interval.ms": 500},
        # Windows may close before the recreated topic has the rest of their events.
        stream_settings={"allowed_lateness": "1d"},
    )
    other = f"{case.name}.other"
    case.create(other, 2)
    case.further_topics = [other]
    case.write_config()
    alpha = make_events("alpha", 600, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=32)
    beta = make_events("beta", 600, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=33)
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(alpha[:300])
        case.publish(beta[:300], topic=other)
        service.wait_for("the first halves to be counted", lambda: service.counted() == 600)

        case.delete(other)
        service.wait_for("the topic to be revoked", lambda: service.assigned_partitions() == 2)
        case.publish(alpha[300:])
        service.wait_for("the rest of the other", lambda: service.counted("alpha") == 600)

        case.create(other, 2)
        case.publish(beta[300:], topic=other)
        case.wait_for_counts(service, case.counts_of(alpha + beta))
        assert service.counted() == 1_200
        assert service.chain_faults() == NO_CHAIN_FAULTS
        assert not service.logged("session lost; the Kafka clients are replaced")
        service.stop()
