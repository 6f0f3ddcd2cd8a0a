"""What the service waits for: it says so, and SIGTERM ends it in each of these states.

For partitions that cannot be written to, see `test_unwritable`; for a refused login, `test_secured`.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.harness.case import SHARDS, Case
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
from driftgauge import watchdog
watchdog._SILENT_S = 15
beat = watchdog.Pulse.beat
watchdog.Pulse.beat = lambda self, statistics="": {name!r} in self._client or beat(self, statistics)
from driftgauge.cli import main
main()
"""
# A call waits with the interpreter's lock, as calls of a deadlocked client do.
FROZEN = """
import ctypes, threading
from driftgauge import watchdog
watchdog._SILENT_S = 15
threading.Timer(10, lambda: ctypes.PyDLL(None).sleep(3_600)).start()
from driftgauge.cli import main
main()
"""

# New clients replace a member that stays outside its group sooner than after three minutes.
IMPATIENT = """
from driftgauge import watchdog
watchdog._JOIN_S = 15
from driftgauge.cli import main
main()
"""
# Closing a consumer never ends.
STUCK = """
import threading
from driftgauge.kafka import client
client.Consumer = type("Stuck", (client.Consumer,), {"close": lambda self: threading.Event().wait()})
from driftgauge.cli import main
main()
"""


@contextmanager
def no_broker(case: Case) -> Iterator[ReplicaProcess]:
    case.kafka = {"bootstrap.servers": f"{HOST}:{free_ports(1)[0]}"}
    case.write_config()
    with case.serve() as service:
        assert "check bootstrap.servers" in str(service.wait_for_log("waiting for the cluster")["error"])
        assert [service.get(path)[0] for path in ("/livez", "/readyz")] == [200, 503]
        yield service
        assert len(service.log_tail().splitlines()) < 20, "librdkafka must not flood the log"


@contextmanager
def wrong_clock(case: Case) -> Iterator[ReplicaProcess]:
    with case.serve(program=("-c", WRONG_CLOCK)) as service:
        assert "clock differs" in str(
            service.wait_for_log("session lost; the Kafka clients are replaced")["error"]
        )
        yield service


@contextmanager
def restoring(case: Case) -> Iterator[ReplicaProcess]:
    with case.serve_ready("a"):
        pass
    writer = case.producer(**{"transactional.id": case.name, "transaction.timeout.ms": 600_000})
    writer.init_transactions(TIMEOUT_S)
    writer.begin_transaction()
    for shard in range(SHARDS):
        writer.produce(case.changelog_topic, b"", b"", partition=shard)
    assert writer.flush(TIMEOUT_S) == 0
    with case.serve("a") as service:
        service.wait_for_log("partitions wait for their start")
        yield service


@contextmanager
def without_schema(case: Case) -> Iterator[ReplicaProcess]:
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
def without_topic(case: Case) -> Iterator[ReplicaProcess]:
    case.delete(case.events_topic)
    with case.serve() as service:
        service.wait_for_log("waiting for topics to be created")
        yield service


@contextmanager
def refused_by_topic(case: Case) -> Iterator[ReplicaProcess]:
    with case.serve() as service:
        service.wait_until_ready()
        case.configure(case.dead_letters_topic, max_message_bytes="100")
        publish(case, b"junk")
        service.wait_for(
            "the topic to be named", lambda: f"of {case.dead_letters_topic}" in service.get("/readyz")[1]
        )
        yield service


@contextmanager
def topic_deleted(case: Case) -> Iterator[ReplicaProcess]:
    with case.serve(program=("-c", IMPATIENT)) as service:
        service.wait_until_ready()
        case.delete(case.events_topic)
        service.wait_for_log("waiting for topics to be created")
        yield service


@contextmanager
def stuck_in_close(case: Case) -> Iterator[ReplicaProcess]:
    with case.serve(program=("-c", STUCK)) as service:
        service.wait_until_ready()
        yield service
        assert service.logged("Kafka clients were left behind")


State = Callable[[Case], AbstractContextManager[ReplicaProcess]]
STATES: list[State] = [
    no_broker,
    wrong_clock,
    restoring,
    without_schema,
    without_topic,
    refused_by_topic,
    topic_deleted,
    stuck_in_close,
]


def publish(case: Case, value: bytes) -> None:
    producer = case.producer()
    producer.produce(case.events_topic, value)
    assert producer.flush(TIMEOUT_S) == 0


@pytest.mark.parametrize("state", STATES)
def test_sigterm_ends_a_service_that_waits(tmp_path: Path, bootstrap: str, state: State) -> None:
    case = Case(tmp_path, bootstrap, partitions=2)
    with state(case) as service:
        took_s = service.stop()
        _log.info("%s: ended %.1f s after SIGTERM", case.name, took_s)
        assert took_s < STOP_S


@pytest.mark.parametrize("name", ["the consumer of the group", "the reader of"])
def test_client_without_a_pulse_ends_the_process(tmp_path: Path, bootstrap: str, name: str) -> None:
    case = Case(tmp_path, bootstrap)
    with case.serve(program=("-c", WITHOUT_PULSE.format(name=name))) as service:
        assert service.wait_for_exit(within_s=PATIENCE_S) == 1
        (entry,) = service.logged("a Kafka client is dead, so the process ends; nothing is lost")
        assert name in str(entry["client"])


def test_frozen_interpreter_ends_the_process(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap)
    with case.serve(program=("-c", FROZEN)) as service:
        assert service.wait_for_exit(within_s=PATIENCE_S) == 1
        assert "line 5 in <lambda>" in service.log_text, "the stacks of all threads"
