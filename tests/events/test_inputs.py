"""The readers of topics by their settings."""

import sys

import pytest

from driftgauge.config.inputs import InputSettings
from driftgauge.errors import ConfigError
from driftgauge.events.inputs import build_readers, missing_libraries
from tests.events.schema_records import Schemas

ENCODINGS = ["json", "bytes", "avro", "protobuf", "cloudevents", "inference"]


def inputs(*encodings):
    return {
        f"topic-{encoding}": InputSettings.model_validate(
            {"encoding": encoding, "stream": {"header": "stream"}, "embedding": {"record": "value"}}
        )
        for encoding in encodings
    }


def test_every_encoding_has_a_reader():
    assert build_readers(inputs(*ENCODINGS), Schemas()).keys() == inputs(*ENCODINGS).keys()


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
