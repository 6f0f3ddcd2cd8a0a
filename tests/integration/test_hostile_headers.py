"""Headers whose name is not UTF-8: brokers accept them, the Python client cannot read them."""

import ctypes
from pathlib import Path

import confluent_kafka
import pytest

from tests.integration.case import HOUR_MS, START_MS, TIMEOUT_S, Case, make_events
from tests.needed import skip_or_fail

pytestmark = pytest.mark.broker

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


def test_unreadable_header_affects_no_event(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=1,
        stream_settings={"idle_timeout": "1h"},
    )
    good = make_events("alpha", 100, start_ms=START_MS, span_ms=HOUR_MS, seed=40)
    with case.serve() as service:
        send(bootstrap, case.events_topic, b"not json", header=b"\xff\xfe")
        send(bootstrap, case.events_topic, good[0].value, header=b"\xff\xfe")
        case.publish_last(good[1:])

        case.wait_for_counts(service, case.counts_of(good))
        assert service.outcomes("undecodable") == 1
        service.stop()
    (letter,) = case.dead_letters()
    headers = dict(letter.headers() or [])
    assert letter.value() == b"not json"
    assert headers["driftgauge.reason"] == b"undecodable"
    assert headers["driftgauge.offset"] == b"0"
    assert b"headers" in headers["driftgauge.omitted"]
