"""Tests of `driftgauge.config.inputs`."""

import pytest
import yaml
from pydantic import ValidationError

from driftgauge.config.inputs import InputSettings, Source, StreamSource
from driftgauge.events.contract import MAX_SEGMENTS, MAX_TEXT
from tests.builders.configs import MINIMAL

VECTOR = {"stream": {"constant": "images"}, "embedding": "vector"}
VALID = {**VECTOR, "timestamp": {"record": "timestamp"}}


def read(**changes):
    return InputSettings.model_validate({**VALID, **changes})


def with_inputs(**topics):
    return f"{MINIMAL}topics: {{events: [embeddings, orders]}}\n" + yaml.safe_dump({"inputs": topics})


def test_printed_mapping_can_be_loaded_again(load):
    inputs = {
        "orders": {
            "encoding": "cloudevents",
            "where": [
                {"path": "type", "in": ["response"]},
                {"path": "v", "not_in": ["?"]},
                {"path": "old", "exists": False},
            ],
            "timestamp": {"path": "time", "unit": "s", "or": "record"},
            "segments": {"country": {"path": "data.country"}},
            "vectors": [{"stream": {"constant": "images"}, "embedding": {"path": "v", "dtype": "f16"}}],
        }
    }
    settings = load(with_inputs(**inputs))
    dumped = settings.model_dump(mode="json")["inputs"]
    absent = dict.fromkeys(("event_id", "model_version", "snippet"))
    assert dumped == {"orders": {**inputs["orders"], **absent}}
    assert load(with_inputs(**dumped)) == settings


def test_text_is_short_form_of_path_and_stream_of_one_vector():
    settings = read(stream="model.name", event_id="id", segments={"country": "user.country"})
    (vector,) = settings.vectors
    assert (vector.stream, vector.embedding.path) == (StreamSource(path="model.name"), "vector")
    assert settings.event_id == Source(path="id")
    assert settings.segments == {"country": Source(path="user.country")}
    plain = read()
    assert plain == InputSettings.model_validate({"timestamp": VALID["timestamp"], "vectors": [VECTOR]})
    assert (plain.encoding, plain.where, plain.segments) == ("json", (), {})
    assert (plain.timestamp.record, plain.event_id, plain.model_version) == ("timestamp", None, None)


@pytest.mark.parametrize(
    ("mapping", "part"),
    [
        ({**VALID, "vectors": [VECTOR]}, "short form of vectors; give one of them"),
        ({"embedding": "vector"}, "vectors.0.stream\n  Field required"),
        (
            {**VALID, "stream": {"constant": "images", "rename": {"a": "b"}}},
            "rename is for names in records; write the stream itself as constant",
        ),
        (
            {**VALID, "stream": {"path": "s", "rename": {"a": "b c"}}},
            "stream.rename.a\n  String should match",
        ),
        ({"stream": "s"}, "vectors.0.embedding\n  Field required"),
        ({}, "vectors\n  Field required"),
        ({"vectors": []}, "must name at least one"),
        *(
            ({**VALID, "stream": source}, "give exactly one of path, header, record and constant")
            for source in ({}, {"path": "a", "header": "b"}, {"record": "key", "constant": "c"})
        ),
        *(
            ({**VALID, **changes}, part)
            for changes, part in (
                ({"stream": "a..b"}, "is no path"),
                ({"stream": 5}, "valid dictionary"),
                ({"stream": {"constant": 5}}, "valid string"),
                ({"stream": {"record": "offset"}}, "'key', 'value' or 'timestamp'"),
                ({"embedding": {"path": "v", "dtype": "f8"}}, "'f32', 'f16', 'bf16', 'f64' or 'int8'"),
                ({"embedding": {"path": "v", "shape": "a[x]"}}, "is no path"),
                ({"embedding": {"path": "v", "shape": "s", "dimension": 4}}, "give only one"),
                ({"embedding": {"path": "v", "dimension": 0}}, "greater than or equal to 1"),
                ({"embedding": {"path": "v", "scale": 0.5}}, "scale and zero_point belong to dtype int8"),
                ({"embedding": {"path": "v", "dtype": "int8", "scale": 0}}, "scale"),
                ({"embedding": {"path": "v", "dtype": "int8", "scale": 1e300}}, "scale"),
                ({"embedding": {"path": "v", "dtype": "int8", "scale": float("nan")}}, "scale"),
                ({"embedding": {"path": "v", "dtype": "int8", "zero_point": 128}}, "zero_point"),
                ({"timestamp": {"path": "t", "unit": "m"}}, "'s', 'ms', 'us' or 'ns'"),
                ({"timestamp": {"record": "timestamp", "unit": "s"}}, "leave unit, assume_utc and or out"),
                ({"timestamp": {"record": "timestamp", "or": "record"}}, "leave unit, assume_utc and or out"),
                ({"timestamp": {"path": "t", "or": "now"}}, "timestamp.or\n  Input should be 'record'"),
                ({"timestamp": None}, "timestamp\n  Value error, say where the event time is"),
                ({"encoding": "xml"}, "encoding"),
                ({"where": [{"path": "op"}]}, "give exactly one of in, not_in and exists"),
                ({"where": [{"path": "op", "in": ["c"], "exists": True}]}, "give exactly one of in, not_in"),
                ({"where": [{"path": "op", "in": ["c"], "not_in": ["d"]}]}, "give exactly one of in, not_in"),
                ({"where": [{"path": "op", "not_in": []}]}, "must name at least one"),
                ({"where": [{"path": "op", "in": []}]}, "must name at least one"),
                ({"where": [{"path": "op", "in": [1.5]}]}, "where"),
                ({"where": [{"path": "op", "values": ["c"]}]}, "Extra inputs"),
                ({"vector": "v"}, "Extra inputs"),
                ({"segments": {f"key{index}": "a" for index in range(MAX_SEGMENTS + 1)}}, "segments"),
                ({"segments": {"k" * (MAX_TEXT + 1): "a"}}, "segments"),
                ({"encoding": "bytes"}, "encoding bytes has no paths (vector)"),
                ({"encoding": "bytes", "embedding": {"record": "value", "shape": "s"}}, "has no paths (s)"),
                (
                    {
                        "encoding": "bytes",
                        "embedding": {"record": "value"},
                        "where": [{"path": "a.b", "in": ["c"]}],
                    },
                    "has no paths (a.b)",
                ),
            )
        ),
    ],
)
def test_wrong_mapping_is_refused(mapping, part):
    with pytest.raises(ValidationError) as caught:
        InputSettings.model_validate(mapping)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "encoding": "bytes",
            "stream": {"header": "model"},
            "timestamp": {"header": "time", "unit": "us"},
            "event_id": {"record": "key"},
            "embedding": {"record": "value", "dtype": "int8", "scale": 0.5, "zero_point": -3},
        },
        {"segments": {f"key{index}": "a" for index in range(MAX_SEGMENTS)}},
        {"segments": {"k" * MAX_TEXT: "a"}},
    ],
)
def test_mapping_at_its_limits_is_accepted(changes):
    assert read(**changes).vectors


def test_inputs_are_loaded_from_file_and_environment(load):
    settings = load(with_inputs(orders={**VALID, "where": [{"header": "type", "in": ["a", 1, True]}]}))
    (condition,) = settings.inputs["orders"].where
    assert (condition.header, condition.values) == ("type", ("a", 1, True))
    text = f"{MINIMAL}topics: {{events: [embeddings, orders]}}\n"
    settings = load(text, DRIFTGAUGE_INPUTS='{"orders": {"stream": "s", "timestamp": "t", "embedding": "v"}}')
    assert settings.inputs["orders"].vectors[0].stream.path == "s"
