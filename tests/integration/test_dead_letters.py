"""Dead letters: written also where their topic or a client cannot take them, and sent back after a mend."""

import ctypes
import re
from pathlib import Path

import confluent_kafka
import numpy as np
import orjson
import pytest
from confluent_kafka import Message

from tests.builders.page import record_tree
from tests.harness.broker import Broker
from tests.harness.case import DAY_MS, DIMENSION, HOUR_MS, START_MS, Case, make_events
from tests.harness.fixtures import running
from tests.harness.service import driftgauge
from tests.harness.topics import TIMEOUT_S
from tests.needed import skip_or_fail

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
    case.send(None, topic=case.dead_letters_topic, headers={f"driftgauge.{each}": own[each] for each in own})

    requeue = ("requeue", "--reason", "unknown_stream")
    ends = case.ends()
    wanted = {"is_sent": False, "sent": {}, "left": 0, "passed_by": [f"{topic}[0]@7"], "times": []}
    again = {"refused_again": {"unknown_stream": REFUSED + STRANGE}}
    assert orjson.loads(dead_letters(case, *requeue, "--json")) == wanted | again
    # Nothing is sent before the mend, and nothing is left behind.
    unmended = dead_letters(case, *requeue, "--send")
    said = (f"would refuse them again: {REFUSED + STRANGE} unknown_stream", "sent none")
    assert all(each in unmended for each in said)
    assert case.ends() == ends
    # The mend.
    case.streams = ["alpha", "beta"]
    case.fit("beta")
    case.write_config()
    planned = dead_letters(case, *requeue)
    assert f"would send {REFUSED} to {topic}; start the service with this configuration first," in planned
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
    with case.ready() as service:
        assert "there is nothing to send" in dead_letters(case, "requeue", "--reason", "undecodable")
        assert "no such record in the range" in dead_letters(case, "list")
        case.send(VALUE, key=KEY, partition=1, headers=[("trace", b"\xff")])
        service.wait_for("the dead letter", lambda: len(case.dead_letters()) == 1)
        record = {"topic": topic, "reason": "undecodable", "records": 1}
        assert orjson.loads(dead_letters(case, "list", "--json")) == {"refused": [record]}
        (as_json,) = orjson.loads(dead_letters(case, "show", "--json"))["records"]
        assert (as_json["origin"], as_json["parts"][0]) == (f"{topic}[1]@0", ["key", "key"])
        assert as_json["parts"][-1] == ["value", VALUE.decode()]
        assert "undecodable        1" in dead_letters(case, "list")
        shown = dead_letters(case, "show", "--reason", "undecodable")
        head, *fields = shown.splitlines()
        assert head.startswith(f"{topic}[1]@0: undecodable: ")
        assert fields == ["  key    key", "  trace  \\xff", f"  value  {'{' * 200}… (500 characters)"]
        assert "no such record in the range" in dead_letters(case, "show", "--reason", "invalid")
        # The configuration is mended, and the service is not restarted.
        embedding = {"record": "value", "dtype": "int8", "dimension": DIMENSION}
        mapping = {"stream": {"constant": "alpha"}, "timestamp": {"record": "timestamp"}, "encoding": "bytes"}
        case.settings = {"inputs": {topic: {**mapping, "embedding": embedding}}}
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
    for number, (hour, partition) in enumerate(hours):
        (event,) = make_events("alpha", 1, start_ms=START_MS + hour * HOUR_MS, span_ms=1, seed=hour)
        own = {"reason": "unknown_stream", "topic": topic, "partition": "0", "offset": f"{number}"}
        headers = {f"driftgauge.{name}": text for name, text in own.items()}
        case.send(event.value, topic=letters, partition=partition, headers=headers)
    planned = dead_letters(case, *requeue)
    assert f"would send 6 to {topic}; start the service with this configuration first, then" in planned
    assert "events are from 2025-11-03T00:00:00Z to 2025-11-03T05:00:00Z, and are sent in this" in planned
    assert f"it is not known how many come too late: topic {case.windows_topic} does not exist" in planned
    # The window of the hour from three to four is published.
    case.create(case.windows_topic, 1)
    case.send(orjson.dumps(record_tree(3, stream="alpha", segments=[])), topic=case.windows_topic)
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


def offset(letter: Message) -> int:
    return int(headers(letter)["driftgauge.offset"])


# From rdkafka.h. The Python client sends names as UTF-8 only, so the test calls its C library.
RD_KAFKA_PRODUCER = 0
VTYPE_END, VTYPE_TOPIC, VTYPE_VALUE, VTYPE_FLAGS, VTYPE_HEADER = 0, 1, 4, 7, 9
MSG_F_COPY = 2


def librdkafka() -> ctypes.CDLL:
    packages = Path(confluent_kafka.__file__).parents[1]
    # Its folders in the wheels for Linux and macOS.
    patterns = ("confluent_kafka.libs/librdkafka*", "confluent_kafka/.dylibs/librdkafka*")
    found = [path for pattern in patterns for path in packages.glob(pattern)]
    if not found:
        skip_or_fail(f"confluent-kafka in {packages} carries no librdkafka of its own: install its wheel")
    return ctypes.CDLL(str(found[0]))


def send(bootstrap: str, topic: str, value: bytes, *, header: bytes) -> None:
    library = librdkafka()
    library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = ctypes.c_void_p
    error = ctypes.create_string_buffer(512)
    size = ctypes.c_size_t
    conf = ctypes.c_void_p(library.rd_kafka_conf_new())
    assert library.rd_kafka_conf_set(conf, b"bootstrap.servers", bootstrap.encode(), error, size(512)) == 0
    producer = ctypes.c_void_p(library.rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, size(512)))
    assert producer.value, error.value
    record = [VTYPE_TOPIC, topic.encode(), VTYPE_VALUE, value, size(len(value)), VTYPE_FLAGS, MSG_F_COPY]
    assert library.rd_kafka_producev(producer, *record, VTYPE_HEADER, header, b"v", size(1), VTYPE_END) == 0
    assert library.rd_kafka_flush(producer, int(TIMEOUT_S * 1_000)) == 0
    library.rd_kafka_destroy(producer)


LIMIT, BINARY = 100_000, b"key \xff"
# Too large for the dead-letter topic; for the client with their headers; and for the client alone.
SIZES = (300_000, 999_900, 1_800_000)


def test_unwritable_content_of_dead_letters_is_omitted(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=1,
        topic_config={"max.message.bytes": "2000000"},
        stream_settings={"idle_timeout": "1h"},
    )
    case.create(case.dead_letters_topic, 1, max_message_bytes=str(LIMIT))
    good = make_events("alpha", 50, start_ms=START_MS, span_ms=HOUR_MS, seed=10)
    with case.serve() as service:
        # Random bytes, because brokers measure the compressed size.
        large = [np.random.default_rng(number).bytes(size) for number, size in enumerate(SIZES)]
        case.send(*large, key=BINARY, headers={"trace": b"1"})
        case.send(b"small")
        # Brokers accept names of headers that are not UTF-8, and the Python client cannot read them.
        send(bootstrap, case.events_topic, b"not json", header=b"\xff\xfe")
        send(bootstrap, case.events_topic, good[0].value, header=b"\xff\xfe")
        case.publish_last(good[1:])

        case.wait_for_counts(service, case.counts_of(good))
        service.wait_for("the bad events to be counted", lambda: len(case.dead_letters()) == len(SIZES) + 2)
        service.stop()
        logged = service.logged(
            "dead letter cut because it is too large for its topic; its source still holds the record"
        )
        assert "max.message.bytes" in str(logged[0]["remedy"])

    *cut, small, unreadable = sorted(case.dead_letters(), key=offset)
    assert [offset(letter) for letter in [*cut, small, unreadable]] == list(range(len(SIZES) + 2))
    for size, letter in zip(SIZES, cut, strict=True):
        assert letter.key() is letter.value() is None
        assert int(headers(letter)["driftgauge.omitted"].split()[0]) == size + len(BINARY) + len(b"trace1")
    # The broker may have refused several in one batch.
    assert small.value() == b"small"
    assert unreadable.value() == b"not json"
    assert b"headers" in headers(unreadable)["driftgauge.omitted"]
    assert {headers(letter)["driftgauge.reason"] for letter in case.dead_letters()} == {b"undecodable"}


LIMIT_MIB = 400
MB = 1_000_000
# Below what the topic of dead letters accepts, so that these are written whole.
SMALLER = 990_000


def sound(size: int) -> bytes:
    """Return an event of this size, most of it a field that the service does not read."""
    (event,) = make_events("alpha", 1, start_ms=START_MS + DAY_MS, span_ms=1, seed=1)
    return orjson.dumps({**orjson.loads(event.value), "prompt": "x" * size})


CASES = {
    "sound": (1_000, sound(SMALLER), "accepted"),
    "garbage": (1_000, np.random.default_rng(1).bytes(SMALLER), "undecodable"),
    "largest": (60, np.random.default_rng(1).bytes(10 * MB), "too_large"),
}


@pytest.mark.parametrize(("number", "value", "outcome"), CASES.values(), ids=CASES)
def test_backlog_of_large_records_stays_below_limit_of_memory(
    tmp_path: Path, number: int, value: bytes, outcome: str
) -> None:
    with running(lambda: Broker(settings={"message.max.bytes": 11 * MB})) as broker:
        case = Case(tmp_path, broker.bootstrap, stream_settings={"idle_timeout": "1h"})
        for _ in range(number // 20):
            case.send(*[value] * 20)
        with case.serving() as service:
            service.wait_for(
                "all records to be read", lambda: service.scrape().outcomes().get(outcome) == number
            )
            # The largest resident memory that the process has had so far, in KiB.
            (peak,) = re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{service.pid}/status").read_text())
        assert int(peak) < LIMIT_MIB * 1024
        assert len(case.dead_letters()) == (0 if outcome == "accepted" else number)
