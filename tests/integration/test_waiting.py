"""What the service waits for: it says so, and SIGTERM ends it in each of these states.

For partitions that cannot be written to, see `test_unwritable`.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from tests.harness.broker import Broker
from tests.harness.case import SHARDS, Case
from tests.harness.fixtures import running
from tests.harness.internal_topics import AclCluster
from tests.harness.node import HOST, free_ports
from tests.harness.service import ReplicaProcess
from tests.harness.topics import TIMEOUT_S
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.broker

_log = logging.getLogger(__name__)

# Ten seconds behind the brokers' clock.
WRONG_CLOCK = """
from driftgauge.clock import SYSTEM_CLOCK
wall_ms = SYSTEM_CLOCK.wall_ms
object.__setattr__(SYSTEM_CLOCK, "wall_ms", lambda: wall_ms() - 10_000)
from driftgauge.cli import main
main()
"""
# Usually less than 5 s.
STOP_S = 15.0
# One client loses its pulse. A minute takes too long for a test.
WITHOUT_PULSE = """
from driftgauge.kafka import pulse
pulse._LONGEST_S = 15
beat = pulse.Pulse.beat
pulse.Pulse.beat = lambda self, statistics: {name!r} in self._client or beat(self, statistics)
from driftgauge.cli import main
main()
"""


@dataclass(frozen=True)
class Listeners:
    """The addresses of one broker: without a login, and with one."""

    bootstrap: str
    login: str

    def kafka(self, password: str) -> dict[str, object]:
        """Return the properties of a client that logs in."""
        return {
            "bootstrap.servers": self.login,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "driftgauge",
            "sasl.password": password,
        }


@pytest.fixture(scope="module")
def listeners() -> Iterator[Listeners]:
    login = f"{HOST}:{free_ports(1)[0]}"
    settings = {
        "listeners": f"LOGIN://{login}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.login.plain.sasl.jaas.config": (
            "org.apache.kafka.common.security.plain.PlainLoginModule required user_driftgauge=right;"
        ),
    }
    with running(lambda: Broker(settings=settings)) as broker:
        yield Listeners(broker.bootstrap, login)


@contextmanager
def no_broker(case: Case, _: Listeners) -> Iterator[ReplicaProcess]:
    case.kafka = {"bootstrap.servers": f"{HOST}:{free_ports(1)[0]}"}
    case.write_config()
    with case.serve() as service:
        assert "check bootstrap.servers" in str(service.wait_for_log("waiting for the cluster")["error"])
        assert [service.get(path)[0] for path in ("/livez", "/readyz")] == [200, 503]
        yield service
        assert len(service.log_tail().splitlines()) < 20, "librdkafka must not flood the log"


@contextmanager
def wrong_password(case: Case, listeners: Listeners) -> Iterator[ReplicaProcess]:
    case.kafka = listeners.kafka("wrong")
    case.write_config()
    with case.serve() as service:
        service.wait_for_log("waiting for the cluster")
        yield service


@contextmanager
def wrong_clock(case: Case, _: Listeners) -> Iterator[ReplicaProcess]:
    with case.serve(program=("-c", WRONG_CLOCK)) as service:
        assert "clock differs" in str(
            service.wait_for_log("session lost; the Kafka clients are replaced")["error"]
        )
        yield service


@contextmanager
def restoring(case: Case, _: Listeners) -> Iterator[ReplicaProcess]:
    with case.serve_ready("a"):
        pass
    writer = case.producer(**{"transactional.id": case.name, "transaction.timeout.ms": 600_000})
    writer.init_transactions(TIMEOUT_S)
    writer.begin_transaction()
    for shard in range(SHARDS):
        writer.produce(case.changelog_topic, b"", b"", partition=shard)
    assert writer.flush(TIMEOUT_S) == 0
    with case.serve("a") as service:
        service.wait_for_log("restore is waiting")
        yield service


@contextmanager
def without_schema(case: Case, _: Listeners) -> Iterator[ReplicaProcess]:
    case.settings = {
        "inputs": {
            case.events_topic: {
                "encoding": "avro",
                "stream": "stream",
                "timestamp": {"record": "timestamp"},
                "embedding": "vector",
            }
        },
        "schema_registry": {"url": f"http://{HOST}:{free_ports(1)[0]}"},
    }
    case.write_config()
    with case.serve() as service:
        publish(case, bytes([0, 0, 0, 0, 1, 0]))
        service.wait_for_log("partitions wait for a schema; nothing is lost, the others go on")
        yield service


@contextmanager
def without_topic(case: Case, _: Listeners) -> Iterator[ReplicaProcess]:
    case.delete(case.events_topic)
    with case.serve() as service:
        service.wait_for_log("waiting for topics to be created")
        yield service


State = Callable[[Case, Listeners], AbstractContextManager[ReplicaProcess]]
STATES: list[State] = [
    no_broker,
    wrong_password,
    wrong_clock,
    restoring,
    without_schema,
    without_topic,
]


def publish(case: Case, value: bytes) -> None:
    producer = case.producer()
    producer.produce(case.events_topic, value)
    assert producer.flush(TIMEOUT_S) == 0


@pytest.mark.parametrize("state", STATES)
def test_sigterm_ends_a_service_that_waits(tmp_path: Path, listeners: Listeners, state: State) -> None:
    case = Case(tmp_path, listeners.bootstrap, partitions=2)
    with state(case, listeners) as service:
        took_s = service.stop()
        _log.info("%s: ended %.1f s after SIGTERM", case.name, took_s)
        assert took_s < STOP_S


@pytest.mark.parametrize("name", ["the consumer of the group", "the reader of"])
def test_client_without_a_pulse_ends_the_process(tmp_path: Path, listeners: Listeners, name: str) -> None:
    case = Case(tmp_path, listeners.bootstrap)
    with case.serve(program=("-c", WITHOUT_PULSE.format(name=name))) as service:
        assert service.wait_for_exit(within_s=PATIENCE_S) == 1
        (entry,) = service.logged("a Kafka client is dead, so the process ends; nothing is lost")
        assert name in str(entry["client"])


def test_failed_login_is_told_from_an_outage(tmp_path: Path, listeners: Listeners) -> None:
    case = Case(tmp_path, listeners.bootstrap)
    with wrong_password(case, listeners) as service:
        entry = service.wait_for_log("waiting for the cluster")
        assert "Invalid username or password" in str(entry["error"])
        assert entry["reason"] == "_AUTHENTICATION"
        status, body = service.get("/readyz")
        assert status == 503
        assert "Invalid username or password" in json.loads(body)["reasons"]["count"]
        waiting = service.scrape().value("driftgauge_waiting", role="count", reason="_AUTHENTICATION")
        assert waiting == 1
    case.kafka = listeners.kafka("right")
    case.write_config()
    with case.serve() as service:
        service.wait_until_ready()
        assert service.scrape().total("driftgauge_waiting") == 0


def test_missing_right_is_named_and_waited_for(tmp_path: Path, guarded: str) -> None:
    case = Case(tmp_path, guarded)
    topic = ResourceType.TOPIC, case.events_topic
    AclCluster(guarded).set_rules(*topic, allow=[AclOperation.DESCRIBE])
    reason = "TOPIC_AUTHORIZATION_FAILED"
    with case.serve() as service:
        service.wait_for(
            "the reason",
            lambda: service.scrape().total("driftgauge_waiting", role="count", reason=reason) == 1,
        )
        assert f"grant Read and Describe on the topic {case.events_topic}" in service.get("/readyz")[1]
        rules = (ResourcePatternType.LITERAL, None, None, AclOperation.ANY, AclPermissionType.ANY)
        case.admin.delete_acls([AclBindingFilter(*topic, *rules)])
        service.wait_until_ready()
        assert service.scrape().total("driftgauge_waiting") == 0
        assert service.stop() < STOP_S
