"""The readers of topics by their settings."""

import sys

import pytest

from driftgauge.config.inputs import InputSettings
from driftgauge.errors import ConfigError
from driftgauge.events.inputs import build_readers, missing_libraries
from driftgauge.events.records import StoredRecord
from tests.events.mapped import read_record
from tests.events.schema_records import Schemas


def inputs(*encodings):
    return {
        f"topic-{encoding}": InputSettings.model_validate(
            {
                "encoding": encoding,
                "stream": {"header": "stream"},
                "timestamp": {"record": "timestamp"},
                "embedding": {"record": "value"},
            }
        )
        for encoding in encodings
    }


@pytest.mark.parametrize("encoding", ["avro", "protobuf"])
def test_encoding_with_schemas_needs_their_source(encoding):
    problem = f"inputs.topic-{encoding}: encoding {encoding} needs a schema registry; set schema_registry.url"
    with pytest.raises(ConfigError, match=problem):
        build_readers(inputs(encoding))


@pytest.mark.parametrize(
    ("encoding", "library"),
    [
        ("avro", "fastavro"),
        ("protobuf", "google.protobuf"),
        ("inference", "google.protobuf"),
        ("inference", "google"),
    ],
)
def test_missing_library_is_reported_with_its_remedy(monkeypatch, encoding, library):
    monkeypatch.setitem(sys.modules, library, None)
    if library == "google":
        monkeypatch.delitem(sys.modules, "google.protobuf", raising=False)
    with pytest.raises(ConfigError, match=rf"encoding {encoding} needs .*pip install driftgauge\[registry\]"):
        build_readers(inputs(encoding), Schemas())


def test_other_encodings_need_no_extra(monkeypatch):
    for library in ("fastavro", "google.protobuf"):
        monkeypatch.setitem(sys.modules, library, None)
    assert missing_libraries(inputs("json", "bytes", "cloudevents").values()) == []


def test_numbers_of_vector_are_other_fields_as_well():
    """A parser that leaves the vector's numbers as bytes must not be used where a path leads into it."""
    settings = InputSettings.model_validate(
        {
            "stream": {"constant": "images"},
            "embedding": "v",
            "timestamp": {"record": "timestamp"},
            "event_id": "v[0]",
            "where": [{"path": "v[1]", "in": [2]}],
        }
    )
    reader = build_readers({"topic": settings})["topic"]
    record = StoredRecord(b'{"v": [1, 2]}', stored_ms=1)
    ((*_, event_id, _, _, _),) = read_record(reader, record)
    assert event_id == "1"


@pytest.mark.parametrize("path", ["a.v", "a.b[0].v", "a.b[k=x].v", "w[0]", 'a["v"]'])
def test_vector_is_read_wherever_it_stands(path):
    settings = InputSettings.model_validate(
        {"stream": {"constant": "images"}, "timestamp": {"record": "timestamp"}, "embedding": path}
    )
    raw = b'{"a": {"v": [1, 2], "b": [{"k": "x", "v": [1, 2]}]}, "w": [[1, 2]]}'
    ((_, _, vector, number, *_),) = read_record(
        build_readers({"topic": settings})["topic"], StoredRecord(raw, stored_ms=1)
    )
    assert number.to_float32(vector).tolist() == [1, 2]
