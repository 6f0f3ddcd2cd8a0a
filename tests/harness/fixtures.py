"""Fixtures of the tests that need a real broker.

`TEST_BOOTSTRAP=host:port` makes the tests use a running cluster. Without a broker they skip;
with `CI=true` they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.harness.broker import Broker
from tests.harness.cluster import Cluster
from tests.harness.jars import BrokerUnavailable
from tests.harness.topics import BOOTSTRAP_VARIABLE
from tests.needed import skip_or_fail

CONNECT_TIMEOUT_S = 15.0
_Server = TypeVar("_Server")
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


@dataclass(frozen=True)
class ExternalCluster:
    """A cluster that the tests did not start; tests that stop brokers skip on it."""

    bootstrap: str

    @property
    def node(self) -> NoReturn:
        pytest.skip(
            f"This test stops the broker, and {BOOTSTRAP_VARIABLE}={self.bootstrap} is not the "
            f"tests' own: unset {BOOTSTRAP_VARIABLE} to run it."
        )


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Broker | ExternalCluster]:
    """The broker of this run. A test that stops the broker restarts it before the test ends."""
    external = os.environ.get(BOOTSTRAP_VARIABLE)
    if external:
        try:
            AdminClient({"bootstrap.servers": external}).list_topics(timeout=CONNECT_TIMEOUT_S)
        except KafkaException as error:
            pytest.fail(
                f"No Kafka cluster answers at {BOOTSTRAP_VARIABLE}={external} within "
                f"{CONNECT_TIMEOUT_S:.0f} s ({error}): start it, or unset the variable to let the "
                "tests start their own.",
                pytrace=False,
            )
        yield ExternalCluster(external)
        return
    with running(Broker) as broker:
        yield broker


@contextmanager
def running(make: Callable[[], AbstractContextManager[_Server]]) -> Iterator[_Server]:
    """Yield a server that runs until the context ends; skip, or fail in CI, without what it needs."""
    with ExitStack() as open_servers:
        try:
            server = open_servers.enter_context(make())
        except BrokerUnavailable as error:
            skip_or_fail(str(error))
        yield server


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """`host:port` of a broker that allows everything without an ACL, except creating topics."""
    with running(lambda: Broker(settings=AUTHORIZER)) as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def bootstrap(kafka_broker: Broker | ExternalCluster) -> str:
    """`host:port` of the broker, for `bootstrap.servers`."""
    return kafka_broker.bootstrap


@pytest.fixture
def cluster(bootstrap: str) -> Iterator[Cluster]:
    """The test's own topics on the broker."""
    with Cluster(bootstrap) as cluster:
        yield cluster
