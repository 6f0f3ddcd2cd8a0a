"""Fixtures of the tests that need a real broker.

`DRIFTGAUGE_TEST_BOOTSTRAP=host:port` makes the tests use a running cluster. Without a broker they skip;
with `CI=true` they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.kafka.broker import Broker
from tests.kafka.jars import BrokerUnavailable
from tests.kafka.nodes import KafkaCluster
from tests.needed import skip_or_fail

BOOTSTRAP_VARIABLE = "DRIFTGAUGE_TEST_BOOTSTRAP"
CONNECT_TIMEOUT_S = 15.0
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
# The minimum of the tests' own broker; the default minimum of other brokers is 6 s.
SHORT_SESSION: dict[str, str | int | float | bool] = (
    {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 1_500}
    if os.environ.get(BOOTSTRAP_VARIABLE)
    else {"session.timeout.ms": 1_500, "heartbeat.interval.ms": 300}
)


@dataclass(frozen=True)
class ExternalCluster:
    """A cluster that the tests did not start; tests that stop brokers skip on it."""

    bootstrap: str

    def stop(self) -> NoReturn:
        self._skip()

    def kill(self) -> NoReturn:
        self._skip()

    def restart(self) -> NoReturn:
        self._skip()

    @property
    def pid(self) -> int:
        self._skip()

    def _skip(self) -> NoReturn:
        pytest.skip(
            f"This test stops the broker, and {BOOTSTRAP_VARIABLE}={self.bootstrap} is not the "
            f"tests' own: unset {BOOTSTRAP_VARIABLE} to run it."
        )


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Broker | ExternalCluster]:
    """The broker of this run. A test that stops the broker restarts it before the test ends."""
    external = os.environ.get(BOOTSTRAP_VARIABLE)
    if external:
        require_answer(external)
        yield ExternalCluster(external)
        return
    broker = Broker()
    reason = None
    try:
        broker.start()
    except BrokerUnavailable as error:
        reason = str(error)
    if reason is not None:
        skip_or_fail(reason)
    try:
        yield broker
    finally:
        broker.close()


@contextmanager
def running_cluster(
    roles: Sequence[str], *, replication: int = 1, min_insync: int = 1, version: str | None = None
) -> Iterator[KafkaCluster]:
    """Yield a new cluster that runs until the context ends."""
    cluster = KafkaCluster(roles, replication=replication, min_insync=min_insync, version=version)
    try:
        cluster.start()
    except BrokerUnavailable as error:
        skip_or_fail(str(error))
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """`host:port` of a broker that allows everything without an ACL, except creating topics."""
    broker = Broker(settings=AUTHORIZER)
    try:
        broker.start()
    except BrokerUnavailable as error:
        skip_or_fail(str(error))
    yield broker.bootstrap
    broker.close()


@pytest.fixture(scope="session")
def bootstrap(kafka_broker: Broker | ExternalCluster) -> str:
    """`host:port` of the broker, for `bootstrap.servers`."""
    return kafka_broker.bootstrap


def require_answer(address: str) -> None:
    """Fail the run if the external cluster does not answer."""
    try:
        AdminClient({"bootstrap.servers": address}).list_topics(timeout=CONNECT_TIMEOUT_S)
    except KafkaException as error:
        pytest.fail(
            f"No Kafka cluster answers at {BOOTSTRAP_VARIABLE}={address} within "
            f"{CONNECT_TIMEOUT_S:.0f} s ({error}): start it, or unset the variable to let the "
            "tests start their own.",
            pytrace=False,
        )
