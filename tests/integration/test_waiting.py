"""What the service waits for: it says so, on page, API and `driftgauge status`. SIGTERM ends it at once.

For partitions that cannot be written to, see `test_unwritable`; for a refused login, `test_secured`.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builders.html import Elements
from tests.harness.case import HOUR_MS, SHARDS, START_MS, Case, make_events
from tests.harness.node import HOST, free_ports
from tests.harness.service import ReplicaProcess, driftgauge
from tests.harness.topics import TIMEOUT_S
from tests.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.broker

# Usually less than 5 s.
STOP_S = 15.0
# Ten seconds behind the brokers' clock.
WRONG_CLOCK = """
from driftgauge.clock import SYSTEM_CLOCK
wall_ms = SYSTEM_CLOCK.wall_ms
object.__setattr__(SYSTEM_CLOCK, "wall_ms", lambda: wall_ms() - 10_000)
"""
# One client loses its pulse. A minute takes too long for a test.
WITHOUT_PULSE = """
from driftgauge import watchdog
watchdog._SILENT_S = 15
beat = watchdog.Pulse.beat
watchdog.Pulse.beat = lambda self, statistics="": {name!r} in self._client or beat(self, statistics)
"""
# A call waits with the interpreter's lock, as calls of a deadlocked client do.
FROZEN = """
import ctypes, threading
from driftgauge import watchdog
watchdog._SILENT_S = 15
threading.Timer(10, lambda: ctypes.PyDLL(None).sleep(3_600)).start()
"""
# New clients replace a member that stays outside its group sooner than after three minutes.
IMPATIENT = "from driftgauge import watchdog; watchdog._JOIN_S = 15"
# Closing a consumer never ends.
STUCK = """
import threading
from driftgauge.kafka import client
client.Consumer = type("Stuck", (client.Consumer,), {"close": lambda self: threading.Event().wait()})
"""


def after(change: str) -> tuple[str, str]:
    """Return the program of a service with a change."""
    return "-c", f"{change}\nfrom driftgauge.cli import main\nmain()"


def lose_broker(case: Case) -> None:
    case.kafka = {"bootstrap.servers": f"{HOST}:{free_ports(1)[0]}"}
    case.write_config()


def lose_registry(case: Case) -> None:
    mapping = {"encoding": "avro", "stream": "stream", "embedding": "vector"}
    own = {case.events_topic: {**mapping, "timestamp": {"record": "timestamp"}}}
    case.settings = {"inputs": own, "schema_registry": {"url": f"http://{HOST}:{free_ports(1)[0]}"}}
    case.write_config()
    case.send(bytes([0, 0, 0, 0, 1, 0]))


def leave_changelog_open(case: Case) -> None:
    with case.serving("a") as service:
        service.wait_until_ready()
    writer = case.begin_transaction()
    for shard in range(SHARDS):
        writer.produce(case.changelog_topic, b"", b"", partition=shard)
    assert writer.flush(TIMEOUT_S) == 0


def delete_topic(case: Case) -> None:
    case.delete(case.events_topic)


def refuse_letters(case: Case) -> None:
    case.configure(case.dead_letters_topic, max_message_bytes="100")
    case.send(b"junk")


@dataclass(frozen=True)
class State:
    """A state in which the service waits.

    Attributes:
        event, error: The message that it logs, and a part of that entry's error.
        unready: A part of what `/readyz` says; {} is the topic of dead letters.
        status: The status of `/readyz`, if the state decides it.
        change: How its program is changed.
        before, later: What happens before it starts, or once it is ready.
        last: What it logs after SIGTERM.
        most_lines: How many lines its log has at most.
    """

    event: str = ""
    error: str = ""
    unready: str = ""
    status: int | None = None
    change: str = ""
    before: Callable[[Case], None] | None = None
    later: Callable[[Case], None] | None = None
    last: str = ""
    most_lines: int = 1_000


NO_TOPIC = "waiting for topics to be created"
NO_SCHEMA = "partitions wait for a schema; nothing is lost, the others go on"
STATES = {
    "no broker": State(
        "waiting for the cluster", "check bootstrap.servers", status=503, before=lose_broker, most_lines=20
    ),
    "wrong clock": State("session lost; the Kafka clients are replaced", "clock differs", change=WRONG_CLOCK),
    "restoring": State("partitions wait for their start", before=leave_changelog_open),
    "without schema": State(NO_SCHEMA, before=lose_registry),
    "without topic": State(NO_TOPIC, before=delete_topic),
    "refused by topic": State(unready="of {}", later=refuse_letters),
    "topic deleted": State(NO_TOPIC, change=IMPATIENT, later=delete_topic),
    "stuck in close": State(change=STUCK, later=lambda _: None, last="Kafka clients were left behind"),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_sigterm_ends_a_service_that_waits(tmp_path: Path, bootstrap: str, state: State) -> None:
    case = Case(tmp_path, bootstrap, partitions=2)
    if state.before is not None:
        state.before(case)
    with case.serve("a", program=after(state.change)) as service:
        if state.later is not None:
            service.wait_until_ready()
            state.later(case)

        def is_waiting() -> bool:
            errors = [str(entry.get("error")) for entry in service.logged(state.event)]
            is_logged = not state.event or any(state.error in error for error in errors)
            status, said = service.get("/readyz")
            is_told = state.unready.format(case.dead_letters_topic) in said
            return is_logged and is_told and state.status in {None, status}

        service.wait_for("the state", is_waiting)
        assert service.get("/livez")[0] == 200
        assert service.stop() < STOP_S
        assert not state.last or service.logged(state.last)
        assert len(service.log_tail().splitlines()) < state.most_lines, "librdkafka must not flood the log"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(
            (
                WITHOUT_PULSE.format(name=name),
                rf'a Kafka client is dead, so the process ends; nothing is lost.*"client": "[^"]*{name}',
            )
            for name in ("the consumer of the group", "the reader of")
        ),
        # The stacks of all threads.
        (FROZEN, "line 5 in <lambda>"),
    ],
    ids=["consumer", "reader", "frozen"],
)
def test_dead_client_or_frozen_interpreter_ends_the_process(
    tmp_path: Path, bootstrap: str, change: str, said: str
) -> None:
    with Case(tmp_path, bootstrap).serve(program=after(change)) as service:
        assert service.wait_for_exit(within_s=PATIENCE_S) == 1
        assert re.search(said, service.log_text)


def api(page: ReplicaProcess) -> Any:
    return json.loads(page.get("/api/v1/streams")[1])


def faults(answer: Any) -> dict[str, str]:
    return {each["name"]: each["text"].partition(" (replica ")[0] for each in answer["faults"]}


def assert_told_alike(case: Case, page: ReplicaProcess, wanted: dict[str, str]) -> None:
    """Wait until the page of another process has these faults, and no others; check page, API and status."""
    page.wait_for(f"the faults {wanted}", lambda: faults(api(page)) == wanted)
    shown = Elements(page.get("/")[1]).text
    for text in wanted.values():
        assert f"{text[0].upper()}{text[1:]}" in shown
    done = driftgauge("status", "--config", case.config, "--json")
    assert faults(json.loads(done.stdout)) == wanted, done.stderr


def test_cause_of_a_stall_is_told_by_a_page_that_counts_nothing(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=2, further_topics=[missing := f"{tmp_path.name}.missing"])
    with case.serve() as service, ReplicaProcess(case.config, tmp_path / "page.log", role=None) as page:
        page.wait_for("the missing topic", lambda: "missing_topic" in faults(api(page)))
        (stream,) = api(page)["streams"]
        said = f"The topic {missing} does not exist: create it, or correct topics.events."
        assert (stream["state"], stream["next_steps"][0]) == ("waiting", said)
        case.create(missing, 1)
        service.wait_until_ready()
        assert case.count_partitions(f"driftgauge.{case.name}.heartbeats") == 1
        marked = driftgauge("marks", "add", "--config", case.config, "--text", "v2 is live")
        assert marked.returncode == 0, marked.stderr
        service.wait_for("the mark in the metrics", lambda: "v2 is live" in service.get("/metrics")[1])
        (event,) = make_events("alpha", 1, start_ms=START_MS, span_ms=HOUR_MS, seed=1)
        producer = case.begin_transaction()
        producer.produce(case.events_topic, event.value, partition=1)
        assert producer.flush(TIMEOUT_S) == 0
        stalled = "a transaction does not end, and records after it are not read: "
        wanted = {"transaction": f"{stalled}{case.events_topic}[1]"}
        assert_told_alike(case, page, wanted)
        (stream,) = api(page)["streams"]
        assert stream["next_steps"][0].startswith(f"A{stalled[1:]}{case.events_topic}[1] (replica ")
        producer.commit_transaction(TIMEOUT_S)
        assert_told_alike(case, page, {})
        lag = {"topic": case.events_topic, "partition": "1"}
        service.wait_for(
            "no lag behind the mark of the transaction",
            lambda: service.scrape().value("driftgauge_consumer_lag_records", **lag) == 0,
        )
        service.kill()
        assert_told_alike(case, page, {"no_heartbeat": "no replica is known to serve count, windows"})


PARTITIONS = 4


def test_sigterm_leaves_the_groups_and_hands_over_at_once(tmp_path: Path, bootstrap: str) -> None:
    # The group would keep a member that does not leave for 30 s.
    case = Case(tmp_path, bootstrap, partitions=PARTITIONS, kafka={"session.timeout.ms": 30_000})
    with case.serve() as leaving, case.serve() as staying:
        for replica in (leaving, staying):
            replica.wait_for("half", lambda each=replica: each.assigned_partitions() == PARTITIONS / 2)
            replica.wait_until_ready()
        assert case.members() == 4, "two of each group"
        case.publish(case.on_every_partition(START_MS))
        wait_for("both to count", lambda: leaving.counted() == staying.counted() == PARTITIONS / 2)

        terminated_s = time.monotonic()
        stopped_s = leaving.stop()
        case.publish(case.on_every_partition(START_MS + 1))
        ends = case.ends()
        wait_for("all to be counted", lambda: case.positions() == ends)
        took_s = time.monotonic() - terminated_s
        staying.wait_for("the rest", lambda: staying.counted() == PARTITIONS / 2 + PARTITIONS)
        assert case.members() == 2
    # Supervisors wait 30 s.
    assert stopped_s < 25
    assert took_s < 25


def test_replica_without_partitions_leaves_its_groups(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=1, shards=1, kafka={"session.timeout.ms": 30_000})
    with case.serve() as first, case.serve() as second:
        for replica in (first, second):
            replica.wait_until_ready()
        wait_for("two of each group", lambda: case.members() == 4)
        # At least one of its two consumers has nothing.
        min(first, second, key=lambda each: each.assigned_partitions() + each.assigned_shards()).stop()
        assert case.members() == 2
