"""Dead letters that are sent back after a mend: each once, and counted."""

import json
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Message

from tests.builders.page import record_tree
from tests.harness.case import HOUR_MS, START_MS, Case, make_events
from tests.harness.service import driftgauge

pytestmark = pytest.mark.broker

REFUSED, STRANGE = 250, 3
FIRST = "driftgauge.first-origin"
KEY, VALUE = b"key", b"{" * 500


def headers(message: Message) -> dict[str, bytes]:
    return {name: bytes(value or b"") for name, value in message.headers() or []}


def dead_letters(case: Case, command: str, *arguments: str) -> str:
    """Run a command of `driftgauge dead-letters`; return what it prints and says."""
    done = driftgauge("dead-letters", command, "--config", case.config, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_refused_records_are_sent_back_once_and_counted(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=2)
    topic = case.events_topic
    events = make_events("beta", REFUSED, start_ms=START_MS, span_ms=HOUR_MS, seed=1)
    strange = make_events("gamma", STRANGE, start_ms=START_MS, span_ms=HOUR_MS, seed=2)
    with case.serving() as service:
        case.publish([*strange, *events])
        service.wait_for("the dead letters", lambda: len(case.dead_letters()) == REFUSED + STRANGE)
    first = {message.value(): message for message in case.read(topic)}
    own = {"reason": "unknown_stream", "topic": topic, "partition": "0", "offset": "7", "omitted": "5 MB"}
    producer = case.producer()
    producer.produce(
        case.dead_letters_topic, headers={f"driftgauge.{name}": text for name, text in own.items()}
    )
    assert producer.flush(30) == 0

    requeue = ("requeue", "--reason", "unknown_stream")
    ends = case.ends()
    wanted = {"is_sent": False, "sent": {}, "left": 0, "passed_by": [f"{topic}[0]@7"], "times": []}
    again = {"refused_again": {"unknown_stream": REFUSED + STRANGE}}
    assert json.loads(dead_letters(case, *requeue, "--json")) == wanted | again
    # Nothing is sent before the mend, and nothing is left behind.
    unmended = dead_letters(case, *requeue, "--send")
    assert "sent none" in unmended
    assert f"would refuse them again: {REFUSED + STRANGE} unknown_stream" in unmended
    assert case.ends() == ends
    # The mend.
    case.streams = ["alpha", "beta"]
    case.fit("beta")
    case.write_config()
    planned = dead_letters(case, *requeue)
    assert (
        f"would send {REFUSED} to {topic}; start the service with this configuration first, then" in planned
    )
    assert f"would refuse them again: {STRANGE} unknown_stream\n  {topic}[" in planned
    assert f"would send 100 to {topic}, and {REFUSED - 100} more in later runs" in dead_letters(
        case, *requeue, "--most", "100"
    )
    assert case.ends() == ends
    sent_first = dead_letters(case, *requeue, "--send", "--most", "100")
    sent_then = dead_letters(case, *requeue, "--send")
    assert f"sent 100 to {topic}" in sent_first
    assert f"sent {REFUSED - 100} to {topic}" in sent_then
    # Whichever run comes to its partition.
    assert "passed by 1, whose letters do not hold them whole" in unmended + sent_first + sent_then
    assert f": {topic}[0]@7" in unmended + sent_first + sent_then
    assert "sent none" in dead_letters(case, *requeue, "--send")
    with case.serving() as service:
        service.wait_for("the events to be counted", lambda: service.counted() == REFUSED)
    assert len(case.dead_letters()) == REFUSED + STRANGE + 1
    sent = [message for message in case.read(topic) if message.headers()]
    assert sorted(message.value() or b"" for message in sent) == sorted(event.value for event in events)
    for message in sent:
        original = first[message.value()]
        origin = f"{topic}[{original.partition()}]@{original.offset()}".encode()
        assert (message.partition(), headers(message)) == (original.partition(), {FIRST: origin})
        assert message.timestamp() == original.timestamp()


def test_refused_record_is_listed_shown_and_keeps_its_first_origin(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=2)
    topic = case.events_topic
    with case.serving() as service:
        service.wait_until_ready()
        assert "there is nothing to send" in dead_letters(case, "requeue", "--reason", "undecodable")
        assert "no such record in the range" in dead_letters(case, "list")
        producer = case.producer()
        producer.produce(topic, VALUE, KEY, partition=1, headers=[("trace", b"\xff")])
        assert producer.flush(30) == 0
        service.wait_for("the dead letter", lambda: len(case.dead_letters()) == 1)
        record = {"topic": topic, "reason": "undecodable", "records": 1}
        assert json.loads(dead_letters(case, "list", "--json")) == {"refused": [record]}
        (as_json,) = json.loads(dead_letters(case, "show", "--json"))["records"]
        assert (as_json["origin"], as_json["parts"][0]) == (f"{topic}[1]@0", ["key", "key"])
        assert as_json["parts"][-1] == ["value", VALUE.decode()]
        assert "undecodable        1" in dead_letters(case, "list")
        shown = dead_letters(case, "show", "--reason", "undecodable")
        head, *fields = shown.splitlines()
        assert head.startswith(f"{topic}[1]@0: undecodable: ")
        assert fields == ["  key    key", "  trace  \\xff", f"  value  {'{' * 200}… (500 characters)"]
        assert "no such record in the range" in dead_letters(case, "show", "--reason", "invalid")
        # The configuration is mended, and the service is not restarted.
        mapping: dict[str, object] = {"stream": {"constant": "alpha"}, "timestamp": {"record": "timestamp"}}
        embedding = {"record": "value", "dtype": "int8", "dimension": case.dimension}
        mapping |= {"encoding": "bytes", "embedding": embedding}
        case.settings = {"inputs": {topic: mapping}}
        case.write_config()
        for number in (2, 3):
            dead_letters(case, "requeue", "--reason", "undecodable", "--send")
            service.wait_for(
                "it to be refused again", lambda number=number: len(case.dead_letters()) == number
            )
    *_, last = case.read(topic)
    assert (last.value(), last.key(), last.partition()) == (VALUE, KEY, 1)
    assert headers(last) == {"trace": b"\xff", FIRST: f"{topic}[1]@0".encode()}


def test_records_are_sent_in_the_order_of_their_events(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=1)
    topic, letters = case.events_topic, case.dead_letters_topic
    case.create(letters, 2)
    requeue = ("requeue", "--reason", "unknown_stream")
    hours = [(5, 0), (1, 0), (3, 0), (0, 0), (4, 1), (2, 1)]
    producer = case.producer()
    for number, (hour, partition) in enumerate(hours):
        (event,) = make_events("alpha", 1, start_ms=START_MS + hour * HOUR_MS, span_ms=1, seed=hour)
        own = {"reason": "unknown_stream", "topic": topic, "partition": "0", "offset": f"{number}"}
        headers = {f"driftgauge.{name}": text for name, text in own.items()}
        producer.produce(letters, event.value, partition=partition, headers=headers)
    assert producer.flush(30) == 0
    planned = dead_letters(case, *requeue)
    assert f"would send 6 to {topic}; start the service with this configuration first, then" in planned
    assert "events are from 2025-11-03T00:00:00Z to 2025-11-03T05:00:00Z, and are sent in this" in planned
    assert f"it is not known how many come too late: topic {case.windows_topic} does not exist" in planned
    # The window of the hour from three to four is published.
    case.create(case.windows_topic, 1)
    producer.produce(case.windows_topic, orjson.dumps(record_tree(3, stream="alpha", segments=[])))
    assert producer.flush(30) == 0
    late = "come too late, by the newest published windows and allowed_lateness: 3 for windows of 1h;"
    assert late in dead_letters(case, *requeue)
    # Of each partition the first are sent, so that a later run finds the others.
    assert f"sent 3 to {topic}; more are left: run again" in dead_letters(
        case, *requeue, "--send", "--most", "3"
    )
    assert f"sent 3 to {topic}\n" in dead_letters(case, *requeue, "--send")
    assert "there is nothing to send" in dead_letters(case, *requeue)
    sent = [orjson.loads(message.value() or b"")["timestamp"] for message in case.read(topic)]
    assert [(time_ms - START_MS) // HOUR_MS for time_ms in sent] == [2, 4, 5, 0, 1, 3]
