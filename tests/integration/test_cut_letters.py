"""Dead letters whose content their topic or a client cannot take."""

import ctypes
from pathlib import Path

import confluent_kafka
import numpy as np
import pytest
from confluent_kafka import Message

from tests.harness.case import HOUR_MS, START_MS, Case, make_events
from tests.harness.service import ReplicaProcess
from tests.harness.topics import TIMEOUT_S
from tests.needed import skip_or_fail

pytestmark = pytest.mark.broker

KEY = b"key \xff"


def headers(letter: Message) -> dict[str, str]:
    return {name: bytes(value or b"").decode(errors="replace") for name, value in letter.headers() or []}


def source(letter: Message) -> tuple[int, int]:
    names = headers(letter)
    return int(names["driftgauge.partition"]), int(names["driftgauge.offset"])


def rejected(service: ReplicaProcess) -> int:
    return int(service.scrape().total("driftgauge_records_rejected_total"))


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


LIMIT = 100_000
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
        producer = case.producer(**{"message.max.bytes": 2_000_000})
        for number, size in enumerate(SIZES):
            # Random bytes, because brokers measure the compressed size.
            value = np.random.default_rng(number).bytes(size)
            producer.produce(case.events_topic, value, key=KEY, headers={"trace": b"1"})
        producer.produce(case.events_topic, b"small")
        assert producer.flush(30) == 0
        # Brokers accept names of headers that are not UTF-8, and the Python client cannot read them.
        send(bootstrap, case.events_topic, b"not json", header=b"\xff\xfe")
        send(bootstrap, case.events_topic, good[0].value, header=b"\xff\xfe")
        case.publish_last(good[1:])

        case.wait_for_counts(service, case.counts_of(good))
        service.wait_for("the bad events to be counted", lambda: rejected(service) == len(SIZES) + 2)
        service.stop()
        cut = service.logged(
            "dead letter cut because it is too large for its topic; its source still holds the record"
        )
        assert "max.message.bytes" in str(cut[0]["remedy"])

    *large, small, unreadable = sorted(case.dead_letters(), key=source)
    assert [source(letter)[1] for letter in [*large, small, unreadable]] == list(range(len(SIZES) + 2))
    for size, letter in zip(SIZES, large, strict=True):
        assert letter.key() is letter.value() is None
        assert int(headers(letter)["driftgauge.omitted"].split()[0]) == size + len(KEY) + len(b"trace1")
    # The broker may have refused several in one batch.
    assert small.value() == b"small"
    assert unreadable.value() == b"not json"
    assert "headers" in headers(unreadable)["driftgauge.omitted"]
    assert {headers(letter)["driftgauge.reason"] for letter in case.dead_letters()} == {"undecodable"}
