"""Tests of `driftgauge.cli.topic_vectors` without a broker."""

from types import SimpleNamespace

import numpy as np
import pytest

from driftgauge import record_files
from driftgauge.baseline.stream_decoder import TopicEvents
from driftgauge.cli import topic_vectors
from driftgauge.cli.topic_vectors import read_topic
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import BrokerError
from driftgauge.events.refusals import Refusals
from driftgauge.progress import ignore_progress
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.configs import settings_in
from tests.builders.messages import FakeMessage
from tests.events.schema_records import ID, avro, framed
from tests.harness.registry_server import serve_schemas

SCHEMA = {
    "type": "record",
    "name": "Embedded",
    "fields": [{"name": "vector", "type": {"type": "array", "items": "float"}}],
}
AVRO = {
    "encoding": "avro",
    "stream": {"constant": "images"},
    "timestamp": {"record": "timestamp"},
    "embedding": "vector",
}
ALWAYS = 1_000_000


def messages(*vectors):
    values = [framed(avro({"vector": vector}, SCHEMA)) for vector in vectors]
    return [FakeMessage(value, offset=offset) for offset, value in enumerate(values)]


@pytest.fixture
def read(tmp_path, monkeypatch):
    def read(batches, url, **inputs):
        class Range:
            offsets = sum(map(len, batches))
            partitions = (SimpleNamespace(index=0),)

            def __enter__(self):
                return SimpleNamespace(
                    offsets=self.offsets, partitions=self.partitions, batches=lambda: iter(batches)
                )

            def __exit__(self, *_):
                pass

        monkeypatch.setattr(topic_vectors, "TopicRange", lambda *_: Range())
        settings = settings_in(
            tmp_path,
            topics={"events": ["embeddings", *inputs]},
            inputs={"embeddings": AVRO, **inputs},
            schema_registry={"url": url},
        )
        wanted = TopicEvents(
            *("embeddings", "images", MONDAY_MS, MONDAY_MS + HOUR_MS, 0, None, DistanceMetric.EUCLIDEAN)
        )
        return read_topic(
            settings,
            wanted,
            SYSTEM_CLOCK,
            lambda _: None,
            track=ignore_progress,
            refusals=Refusals(),
        )

    return read


@pytest.mark.parametrize("failures", [0, 1])
def test_records_in_avro_wait_for_their_schema(read, failures):
    with serve_schemas({ID: SCHEMA}, failures=failures) as url:
        found = read([messages([1, 2], [3, 4]), messages([5, 6])], url)
    np.testing.assert_array_equal(found.vectors, [[1, 2], [3, 4], [5, 6]])


def test_silent_registry_is_reported(read, monkeypatch):
    monkeypatch.setattr(record_files, "_PENDING_S", 0.3)
    with (
        serve_schemas({}, failures=ALWAYS) as url,
        pytest.raises(BrokerError, match=r"embeddings\[0\]@0: the schema registry has not answered"),
    ):
        read([messages([1, 2])], url)
